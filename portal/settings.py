"""Settings of the portal. Every value that a user may change is read from the environment through portal/env.py."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import quote

from inference.runner.config import MOST_PICTURES
from models_app.cluster_names import models_cluster
from portal import datadir, env

BASE_DIR = Path(__file__).resolve().parent.parent

# ---- what the portal itself can be told ------------------------------------------------------------------------
PORTAL_HOST = env.text("PORTAL_HOST", "127.0.0.1")
PORTAL_PORT = env.number("PORTAL_PORT", 8000, at_least=1, at_most=65535)
PORTAL_DATA_DIR = env.path("PORTAL_DATA_DIR", BASE_DIR / "var")
PORTAL_SLOTS = env.number("PORTAL_SLOTS", 8, at_most=256)
# The other cores are for the models: on two cores a second web process costs 3 % of MobileNetV2's throughput.
_ONE_FOR_EVERY_TWO_CORES = min(4, max(1, len(os.sched_getaffinity(0)) // 2))
PORTAL_WEB_WORKERS = env.number("PORTAL_WEB_WORKERS", _ONE_FOR_EVERY_TWO_CORES, at_least=1, at_most=64)
PORTAL_HTTPS = env.flag("PORTAL_HTTPS")
PORTAL_SAMPLE = env.flag("PORTAL_SAMPLE", default=True)
PORTAL_IMPORT_DIR = env.optional_path("PORTAL_IMPORT_DIR")
PORTAL_PREDICT_TIMEOUT_S = env.number("PORTAL_PREDICT_TIMEOUT_S", 30, at_least=1, at_most=3600)
PORTAL_MAX_UPLOAD_BYTES = env.number("PORTAL_MAX_UPLOAD_BYTES", 5 * 2**30, at_least=1)
PORTAL_MAX_REQUEST_BYTES = env.number("PORTAL_MAX_REQUEST_BYTES", 64 * 2**20, at_least=1024)
PORTAL_STALL_S = 30.0  # a body has to bring 1 KiB within this time, else 408; tests set it lower
PORTAL_FORM_UPLOAD_BYTES = 100 * 10**6  # the upload form without JavaScript
PORTAL_SANDBOX = env.choice("PORTAL_SANDBOX", "auto", ("auto", "require", "off"))
PORTAL_ANONYMOUS_PREDICT = env.flag("PORTAL_ANONYMOUS_PREDICT")
PORTAL_WARM_SPARES = env.number("PORTAL_WARM_SPARES", 0, at_most=64)
# In the environment, so that the children of `serve` keep it where the host gets another name meanwhile.
PORTAL_NODE = os.environ.setdefault("PORTAL_NODE", socket.gethostname().split(".")[0][:60] or "node")

PORTAL_FILES_DIR = PORTAL_DATA_DIR / "models"
PORTAL_UPLOADS_DIR = PORTAL_DATA_DIR / "uploads"
PORTAL_RUN_DIR = PORTAL_DATA_DIR / "run"
PORTAL_LOGS_DIR = PORTAL_DATA_DIR / "logs"
PORTAL_SOCKETS_DIR = datadir.socket_directory(PORTAL_DATA_DIR)

# ---- Django ----------------------------------------------------------------------------------------------------
datadir.make(PORTAL_DATA_DIR)
SECRET_KEY = env.text("PORTAL_SECRET_KEY") or datadir.read_or_create_secret_key(PORTAL_DATA_DIR)
DEBUG = False
HOST_IN_URLS = f"[{PORTAL_HOST}]" if ":" in PORTAL_HOST else PORTAL_HOST
LOOPBACK_NAMES = ["127.0.0.1", "localhost", "[::1]"]
_NAMES = env.words("PORTAL_ALLOWED_HOSTS", [*LOOPBACK_NAMES, HOST_IN_URLS])
if PORTAL_HOST in {"0.0.0.0", "::"} and not env.text("PORTAL_ALLOWED_HOSTS"):
    _NAMES = [*_NAMES, socket.gethostname(), socket.getfqdn()]
# For health checks on this machine. They open no way to DNS rebinding: browsers send the attacker's host name.
ALLOWED_HOSTS = [*_NAMES, *LOOPBACK_NAMES]
_TRUSTED = [name for host in _NAMES for name in ([host[1:], f"*{host}"] if host.startswith(".") else [host])]
CSRF_TRUSTED_ORIGINS = [f"https://{name}" for name in _TRUSTED if PORTAL_HTTPS and name != "*"]

INSTALLED_APPS = [
    "models_app.apps.ModelsAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.forms",  # the templates of form fields, which FORM_RENDERER looks for
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "models_app",
    "portal",
]
MIDDLEWARE = [
    "portal.logging.RequestIdMiddleware",
    "portal.nul_characters.NulCharactersMiddleware",
    "portal.form_charset.FormCharsetMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "portal.static_files.StaticFilesMiddleware",
    "portal.security.SecurityHeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "portal.lost_forms.LostFormMiddleware",
    "portal.browser_zone.BrowserZoneMiddleware",
    "portal.synchronous.OneThreadMiddleware",  # last: keeps the whole stack above it on one thread
]
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "models_app.rights.in_templates",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{quote(str(PORTAL_DATA_DIR / 'portal.sqlite3'))}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # With Django's defaults 534 of 1200 concurrent transactions failed with "database is locked"; with these none.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
    }
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # By default libpq waits for ever for a lost host or a locked row. Options in DATABASE_URL take precedence.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "tcp_user_timeout": 20_000,
        "options": "-c lock_timeout=20s -c idle_in_transaction_session_timeout=60s",
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
FORMAT_MODULE_PATH = "portal.formats"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True  # serves from the apps' folders: no collectstatic step before the first start
WHITENOISE_AUTOREFRESH = False

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}  # django-q's own statistics only
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

DATA_UPLOAD_MAX_MEMORY_SIZE = PORTAL_MAX_REQUEST_BYTES
DATA_UPLOAD_MAX_NUMBER_FILES = MOST_PICTURES + 1
FILE_UPLOAD_PERMISSIONS = 0o600

# ---- security: plain http is the default, else nobody could log in on a fresh machine ---------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = PORTAL_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)\Z"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if PORTAL_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PORTAL_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PORTAL_HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "portal.failures.csrf_failure"

# ---- REST ------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "models_app.api.authentication.KeyAuthentication",
        "models_app.api.authentication.BrowserAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["models_app.api.permissions.VerbPermission"],
    "DEFAULT_RENDERER_CLASSES": ["models_app.api.rendering.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["models_app.api.parsing.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "models_app.api.errors.render_error",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Model portal",
    "DESCRIPTION": "Upload trained models, load each into a process of its own, ask them, unload just one.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,  # else openapi-generator writes `class NullEnum(, Enum)`
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
}

# ---- django-q: every value is set, because `Conf` reads them once at import ---------------------------------------
JOBS_CLUSTER = "jobs"
MODELS_CLUSTER = models_cluster(PORTAL_NODE)
REDIS_URL = env.redis("REDIS_URL")
Q_CLUSTER = {
    "name": "portal",  # the salt of signed task payloads: one for all clusters
    **(
        {"redis": REDIS_URL, "broker_class": "models_app.redis_broker.RedisBroker"}
        if REDIS_URL
        else {"orm": "default", "broker_class": "models_app.broker.NotifiedBroker"}
    ),
    "poll": 0.01,  # seconds that django-q sleeps after it found nothing; the broker waits before: models_app/broker.py
    "save_limit": 50,
    "log_level": "WARNING",
    "scheduler": False,  # nothing is scheduled; a Schedule row could name any function
    "catch_up": False,
    "bulk": 1,
    "max_attempts": 0,
    "workers": 1,
    "timeout": 1800,
    "retry": 3600,
    "ack_failures": True,
    "ALT_CLUSTERS": {  # the key must exist for Q_CLUSTER_NAME to be obeyed
        JOBS_CLUSTER: {
            "workers": 2,  # one for the long jobs, which run one at a time, and one that is free to check
            "timeout": 1800,  # of tasks that set no timeout; jobs do: models_app/queue.py
            "retry": 3600,  # a job that still runs then is delivered again, and its second worker finds it taken
            "ack_failures": True,
            "recycle": 100,
        },
        MODELS_CLUSTER: {
            "workers": max(1, PORTAL_SLOTS),  # one worker for each loaded model; 0 would mean "as many as cores"
            "timeout": 60,
            "retry": 10 * 365 * 24 * 3600,  # a load is delivered once; reconcile takes it up again, not the broker
            "ack_failures": True,
            "recycle": 1,  # a fresh worker for each load
            "queue_limit": 0,  # none: a worker that stops takes no more, and STOP would find no place in a full queue
            "guard_cycle": 0.2,
        },
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request_id": {"()": "portal.logging.RequestIdFilter"},
        "not_now": {"()": "portal.logging.NotNowFilter"},
        "one_line": {"()": "portal.logging.OneLineFilter"},
    },
    "formatters": {
        "line": {
            "class": "portal.logging.LineFormatter",
            "format": "%(asctime)s %(levelname)-7s %(processName)s %(name)s [%(request_id)s] %(message)s",
        },
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
        "django.request": {"level": "ERROR", "filters": ["not_now"]},
        "django.security.DisallowedHost": {"filters": ["one_line"]},
        "django.security.TooManyFilesSent": {"filters": ["one_line"]},
        "django.security.TooManyFieldsSent": {"filters": ["one_line"]},
        "django.security.RequestDataTooBig": {"filters": ["one_line"]},
        "uvicorn.error": {"level": "ERROR"},  # no line for the start or for invalid requests
        "django-q": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}
