"""gunicorn: any kind of worker. With gevent, other requests go on while a command runs.

gunicorn --workers 4 gunicorn_app:app
gunicorn --worker-class gevent gunicorn_app:app
"""

from collections.abc import Callable, Iterable
from typing import Any

from sockproc import Error, run


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    try:
        done = run("sleep 0.5; uname -s", check=True, timeout=10)
    except Error as error:
        start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
        return [f"{error}\n".encode()]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [done.stdout]
