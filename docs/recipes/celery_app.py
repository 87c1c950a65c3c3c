"""Celery: the processes of the prefork pool share one server, and none of them forks for a command.

celery --app celery_app worker
"""

import os

from celery import Celery

from sockproc import run

# Any broker will do; this one is a directory.
directory = os.environ.get("CELERY_DIRECTORY", "/tmp/celery")
app = Celery(broker="filesystem://", backend=f"file://{directory}")
app.conf.broker_transport_options = {
    "data_folder_in": directory,
    "data_folder_out": directory,
    "control_folder": directory,
}


@app.task
def checksum(text: str) -> str:
    done = run("sha256sum | cut -d ' ' -f 1", text, text=True, check=True, timeout=60)
    return done.stdout.strip()
