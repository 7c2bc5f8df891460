"""Settings that are valid but probably a mistake: each is reported at every start, with what to do.

E: the portal would not work, so it does not start. W: it starts.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from portal import env


@register()
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return [*_data_directory(), *_reachable_from_outside(), *_names(), *_import_directory(), *_slots()]


def _data_directory() -> Iterator[CheckMessage]:
    directory: Path = settings.PORTAL_DATA_DIR
    if not directory.is_dir():
        yield Error(
            "PORTAL_DATA_DIR is not a folder.",
            hint="Name a folder that the portal may make and write to.",
            id="portal.E001",
        )
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield Error(
            "The portal may not write to PORTAL_DATA_DIR.",
            hint="Give the folder to the user that runs the portal, or name another one.",
            id="portal.E001",
        )


def _reachable_from_outside() -> Iterator[CheckMessage]:
    if _is_loopback(settings.PORTAL_HOST):
        return
    if not env.text("PORTAL_ALLOWED_HOSTS"):
        yield Warning(
            f"PORTAL_HOST is {settings.PORTAL_HOST}, but PORTAL_ALLOWED_HOSTS is not set: who uses another name of "
            "this machine is answered 400.",
            hint="Set PORTAL_ALLOWED_HOSTS to the names that people type, separated by commas.",
            id="portal.W001",
        )
    if not settings.PORTAL_HTTPS:
        yield Warning(
            f"PORTAL_HOST is {settings.PORTAL_HOST} without PORTAL_HTTPS: passwords and keys can be read on the way.",
            hint="Put a proxy with TLS in front and set PORTAL_HTTPS=1.",
            id="portal.W002",
        )


def _names() -> Iterator[CheckMessage]:
    if wrong := [name for name in env.words("PORTAL_ALLOWED_HOSTS", []) if not _is_name_of_host(name)]:
        yield Warning(
            f"PORTAL_ALLOWED_HOSTS holds what nobody can ask for: {', '.join(wrong)}.",
            hint="Write names without scheme, port and path; .example.org stands for all below it, * for every name.",
            id="portal.W006",
        )


def _is_name_of_host(text: str) -> bool:
    is_ipv6 = text.startswith("[") and text.endswith("]")
    return text == "*" or not set("/* " if is_ipv6 else "/* :") & set(text)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _import_directory() -> Iterator[CheckMessage]:
    directory: Path | None = settings.PORTAL_IMPORT_DIR
    if directory is None:
        return
    if not directory.is_dir():
        yield Warning(
            "PORTAL_IMPORT_DIR is not a folder: every model_path is refused.",
            hint="Make the folder, or leave the variable out.",
            id="portal.W003",
        )
        return
    imports, data = directory.resolve(), settings.PORTAL_DATA_DIR.resolve()
    if imports.is_relative_to(data) or data.is_relative_to(imports):
        yield Warning(
            "Of PORTAL_IMPORT_DIR and PORTAL_DATA_DIR one lies in the other: nothing is imported from the data.",
            hint="Name a folder that holds the files to import and nothing else.",
            id="portal.W005",
        )


def _slots() -> Iterator[CheckMessage]:
    if settings.PORTAL_SLOTS == 0:
        yield Warning(
            "PORTAL_SLOTS is 0: models can be registered here and none can be loaded.",
            hint="Set it to the number of models that the memory holds at once.",
            id="portal.W004",
        )
