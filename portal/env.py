"""Typed readers of the environment: each names its variable when the value cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

_DATABASE_ENGINES = {"django.db.backends.postgresql", "django.db.backends.sqlite3"}
_QUOTED = ", with / # ? in a password as %2F %23 %3F"


def text(name: str, default: str = "") -> str:
    value = os.environ.get(name, "").strip()
    try:
        value.encode()
    except UnicodeEncodeError:  # neither a path of the database nor a password can hold it
        raise ImproperlyConfigured(f"{name} is no text in UTF-8; write it in UTF-8.") from None
    return value or default


def flag(name: str, default: bool = False) -> bool:
    """True for 1, true, yes, on; False for 0, false, no, off."""
    value = text(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; set it to 1 or 0.")


def number(name: str, default: int, *, at_least: int = 0, at_most: int | None = None) -> int:
    value = text(name)
    if not value:
        return default
    try:
        result = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to a whole number.") from None
    if result < at_least or (at_most is not None and result > at_most):
        limits = f"at least {at_least}" if at_most is None else f"between {at_least} and {at_most}"
        raise ImproperlyConfigured(f"{name} is {result}; set it to {limits}.")
    return result


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to one of {', '.join(allowed)}.")
    return value


def words(name: str, default: list[str]) -> list[str]:
    """A list separated by commas."""
    value = text(name)
    return [word.strip() for word in value.split(",") if word.strip()] if value else default


def path(name: str, default: Path) -> Path:
    return optional_path(name) or default


def optional_path(name: str) -> Path | None:
    value = text(name)
    try:
        return Path(value).expanduser().resolve() if value else None
    except RuntimeError as error:  # `~` of nobody, a loop of links
        raise ImproperlyConfigured(f"{name} is {value!r}, which leads nowhere ({str(error).rstrip('.')}).") from None


def database(name: str, default: str) -> dj_database_url.DBConfig:
    """Django's settings for the address of a PostgreSQL database or an SQLite file."""
    try:
        found = dj_database_url.parse(text(name, default), conn_max_age=60, conn_health_checks=True)
        if found["ENGINE"] in _DATABASE_ENGINES and found["NAME"] not in {"", ":memory:"}:
            return found
    except ValueError:
        pass
    raise ImproperlyConfigured(
        f"{name} is no address of a database that the portal can use; set it to something like "
        f"postgres://user:password@host/name or sqlite:////folder/file{_QUOTED}."
    )


def redis(name: str) -> str:
    """The address of a Redis server, or nothing."""
    value = text(name)
    if value and not _is_redis(value):
        raise ImproperlyConfigured(
            f"{name} is no address of Redis; set it to something like redis://:password@host:6379/0{_QUOTED}."
        )
    if not value or "socket_timeout=" in value:
        return value
    # Without a timeout a silent server blocks its callers for ever; django-q itself waits one second for a task.
    return f"{value}{'&' if '?' in value else '?'}socket_timeout=10"


def _is_redis(value: str) -> bool:
    try:
        address = urlsplit(value)
        _ = address.port  # raises where it is no number
    except ValueError:
        return False
    number = address.path.strip("/")
    return address.scheme == "unix" or (address.scheme in {"redis", "rediss"} and (not number or number.isdecimal()))
