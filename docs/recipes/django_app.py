"""Django in threads: a view waits for its command, the other threads go on.

gunicorn --threads 8 django_app:application
"""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from sockproc import TimeoutExpired, run


def word_count(request: HttpRequest) -> HttpResponse:
    try:
        done = run(["wc", "-w"], request.body, check=True, timeout=10)
    except TimeoutExpired:
        return HttpResponse("too slow\n", status=503)
    return HttpResponse(done.stdout, content_type="text/plain")


def sleep(request: HttpRequest) -> HttpResponse:
    run("sleep 0.5")
    return HttpResponse("slept\n", content_type="text/plain")


urlpatterns = [path("words", word_count), path("sleep", sleep)]

# In a project of several files this stands in its settings.
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="change me")
application = get_wsgi_application()
