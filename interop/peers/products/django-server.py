"""django-oauth-toolkit on loopback, in one file, mounted at /o as its documentation does.

PORT=9301 AT_TTL=6 DB=/tmp/x.sqlite3; DOT='{"DCR_ENABLED": true}': more settings of it. The person is
test-user@localhost, password verysecure; the clients are "pub" and, for introspection, "mcp" (secret "secret").
"""
import json
import os

import django
from django.conf import settings

port = int(os.environ["PORT"])
provider = {
    "SCOPES": {"mcp:read": "read", "introspection": "ask about tokens"},
    "DEFAULT_SCOPES": ["mcp:read"],
    "ACCESS_TOKEN_EXPIRE_SECONDS": int(os.environ["AT_TTL"]),
    **json.loads(os.environ.get("DOT", "{}")),
}
settings.configure(
    SECRET_KEY="only for loopback " * 3, ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, LOGIN_URL="/login/", USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages", "oauth2_provider"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware", "django.contrib.messages.middleware.MessageMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "DIRS": [os.path.dirname(os.path.abspath(__file__))],
                "OPTIONS": {"context_processors": ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth"]}}],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DB"], "OPTIONS": {"timeout": 20}}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # of a client's secret too, which is sent with each question about a token
    STATIC_URL="/static/", OAUTH2_PROVIDER=provider,
)
django.setup()

from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

from django.contrib.auth import get_user_model
from django.contrib.auth.views import LoginView
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path
from oauth2_provider.models import get_application_model

urlpatterns = [
    path("login/", LoginView.as_view(template_name="login.html")),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
]
call_command("migrate", verbosity=0)
person = get_user_model().objects.create_user("test-user@localhost", password="verysecure")
clients = get_application_model().objects
clients.create(name="pub", client_id="pub", client_type="public", authorization_grant_type="authorization-code", redirect_uris="http://127.0.0.1/callback", user=person)
clients.create(name="mcp", client_id="mcp", client_secret="secret", client_type="confidential", authorization_grant_type="client-credentials", user=person)


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


make_server("127.0.0.1", port, get_wsgi_application(), server_class=Server).serve_forever()
