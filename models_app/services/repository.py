"""The registry as a repository of V2: its index, load with or without files, unload."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from inference.catalog import ENGINES
from inference.errors import LoadFailed, NotLoaded, NotReady, Unavailable, ValidationFailed
from inference.options import parse_options
from inference.protocols.v2_repository import LoadRequest, index_row
from inference.runner.config import MOST_BATCH
from models_app.choices import FileStatus, VersionState
from models_app.models import ModelVersion, RegisteredModel
from models_app.services import files, find, upload
from models_app.services.actor import Actor
from models_app.services.load import CANCELLED, load, wait_until_loaded
from models_app.services.places import Place, Places, queue_places, waits_for_slot
from models_app.services.replace import await_replacement, wish

LOAD_LIMIT_S = 120.0
SLOT_LIMIT_S = 45.0
"""A load that has no slot by then is answered with its place in the queue: tritonclient waits for 60 s."""
HIGHEST_NUMBER = 99_999_999
"""A version gets the number that the client names up to this one: the next ones are still to have nine digits."""
_WITHOUT_OPTIONS = {"max_batch": MOST_BATCH}


def index(*, only_ready: bool) -> list[dict[str, str]]:
    """One row a version, and one for a model without any."""
    by_model: dict[str, list[ModelVersion]] = {
        name: [] for name in RegisteredModel.objects.values_list("name", flat=True)
    }
    for version in find.versions().order_by("number"):
        by_model.setdefault(version.model.name, []).append(version)
    rows, places = [], queue_places()
    for name, versions in sorted(by_model.items()):
        if only_ready:
            versions = [v for v in versions if v.state is VersionState.LOADED]
        rows += [index_row(name, v.number, v.state, _reason(v, places)) for v in versions]
        if not versions and not only_ready:
            rows.append(index_row(name, None, VersionState.UNLOADED, "no version"))
    return rows


def _reason(version: ModelVersion, places: Places) -> str:
    if version.status == FileStatus.CHECKING:
        return "its file is being checked"
    if version.status == FileStatus.REJECTED:
        return version.status_detail
    if version.state is VersionState.UNLOADED:
        return "unloaded"
    if version.state is VersionState.QUEUED and (place := _place(version, places)) is not None:
        return f"waits for a slot, place {place.number} of {place.total}"
    details = [i.state_detail for i in version.shown_instances if i.state_detail]
    return details[0] if details and version.state is not VersionState.LOADED else ""


def states(name: str, number: int | None) -> list[tuple[int, str, str]]:
    """Number, state and detail of the versions of a model, or of one; newest first. Raises NotFound.

    The state of its file where that is not ready: checking or rejected.
    """
    if number is not None:
        versions = [find.find_version(name, number)]
    else:
        versions = list(find.versions().filter(model=find.find_model(name)).order_by("-number"))
    places = queue_places()
    return [(version.number, _state(version), _reason(version, places)) for version in versions]


def _state(version: ModelVersion) -> str:
    has_moved = version.status == FileStatus.READY or version.state is not VersionState.UNLOADED
    return str(version.state if has_moved else version.status)


def load_model(name: str, request: LoadRequest, *, by: Actor) -> None:
    """Load the newest ready version, or a new one made of the files; returns once it is loaded.

    Raises ValidationFailed where it cannot be loaded, somebody unloads it meanwhile, or a configuration without files
    asks for other settings than it has; NoSlot where there are no slots; Unavailable while its file is checked, and
    where it still waits for a slot after SLOT_LIMIT_S or is still on its way after LOAD_LIMIT_S.
    """
    began = time.monotonic()
    try:
        if request.files:
            version = _uploaded(name, request, by)
            settled = partial(await_replacement, version, by=by)
        else:
            version = find.newest_ready(name)
            _check_same_settings(version, request)
            load(version, by=by, instances=request.instances)
            settled = partial(_await_load, version)
        for limit_s in (SLOT_LIMIT_S, LOAD_LIMIT_S):
            version = settled(deadline=began + limit_s)
            places = queue_places()
            if version.state is VersionState.LOADED or waits_for_slot(version, places):
                break
        if version.status == FileStatus.READY and version.state is VersionState.UNLOADED:
            raise NotLoaded(CANCELLED)
    except (LoadFailed, NotLoaded, NotReady) as error:
        if isinstance(error, NotReady) and not _is_refused(name):
            raise Unavailable(error.message, retry_after_s=2) from None
        raise ValidationFailed(f"failed to load '{name}': {error.message}") from None
    if version.state is VersionState.LOADED:
        return
    if (place := _place(version, places)) is not None:
        raise Unavailable(
            f"{version} waits for a slot: place {place.number} of {place.total}. It is loaded once one is free. Unload "
            "a model that nobody needs.",
            retry_after_s=5,
        )
    raise Unavailable(f"{version} is still on its way. Ask for it again in a while.", retry_after_s=5)


def _await_load(version: ModelVersion, deadline: float) -> ModelVersion:
    return wait_until_loaded(version, deadline - time.monotonic())


def _place(version: ModelVersion, places: Places) -> Place | None:
    """Where in the queue it waits for a slot."""
    found = [place for i in version.shown_instances if (place := places.get(i.pk)) is not None]
    return None if any(place.has_slot for place in found) else min(found, default=None)


def _is_refused(name: str) -> bool:
    """Whether all its files were rejected."""
    return not ModelVersion.objects.filter(model__name=name).exclude(status=FileStatus.REJECTED).exists()


def _check_same_settings(version: ModelVersion, request: LoadRequest) -> None:
    """Raises ValidationFailed where the request has other settings: a load changes none."""
    fields = _fields(request)
    others = [name for name in _differences(version, _settings(fields, request.max_batch)) if name in fields]
    if "options" not in fields and request.max_batch not in {None, version.options.max_batch or MOST_BATCH}:
        others.append("options.max_batch")
    if others:
        raise ValidationFailed(
            f"The configuration asks for other {', '.join(others)} than {version} has, and a load does not change "
            f"them. Send them by PATCH to /api/models/{version.model.name}/versions/{version.number}/ while it is not "
            "loaded."
        )


def _differences(version: ModelVersion, wanted: upload.VersionSettings) -> list[str]:
    """Which settings of the version are others."""
    is_same = {
        "labels": wanted.labels == version.labels,
        "preprocessing": wanted.preprocessing == version.preprocessing.as_json(),
        "postprocessing": wanted.postprocessing == version.postprocessing.as_json(),
        "options": _WITHOUT_OPTIONS | wanted.options == _WITHOUT_OPTIONS | version.options.as_json(),
        "engine": wanted.engine in {version.engine, version.engine_selected},
    }
    return [name for name, same in is_same.items() if not same]


def _fields(request: LoadRequest) -> dict[str, Any]:
    """The settings as form fields; an unknown engine is left out, as it is another server's backend."""
    return {name: text for name, text in request.settings.items() if name != "engine" or text in ENGINES}


def _settings(fields: Mapping[str, Any], max_batch: int | None) -> upload.VersionSettings:
    """`max_batch` counts where the options have none; the default is not stored, so that the load measures the best."""
    settings = upload.VersionSettings.from_fields(fields)
    if max_batch in {None, MOST_BATCH}:
        return settings
    return replace(settings, options=parse_options({"max_batch": max_batch} | settings.options).as_json())


def _uploaded(name: str, request: LoadRequest, by: Actor) -> ModelVersion:
    upload.check_name(name)
    contents = dict(request.files)
    fields = _fields(request)
    for path in [path for path in contents if PurePosixPath(path).name == "labels.txt"]:
        fields.setdefault("labels", contents.pop(path).decode("utf-8", "replace"))
    if not contents:
        raise ValidationFailed("The files hold no model.")
    settings = _settings(fields, request.max_batch)
    received = _received(contents)
    number = request.number if (request.number or 0) <= HIGHEST_NUMBER else None
    try:
        newest = find.versions().filter(model__name=name).order_by("-number").first()
        if newest is not None and _is_sent_again(newest, received, settings, number):
            wish(newest, instances=request.instances)
            return newest
        return upload.register(
            name, received, settings, by=by, number=number, replaces_older=True, instances=request.instances
        )
    finally:
        received.discard()


def _is_sent_again(
    newest: ModelVersion, received: files.ReceivedFile, settings: upload.VersionSettings, number: int | None
) -> bool:
    """Whether the version that is there is meant: a client that repeats its load makes no second one."""
    return (
        newest.sha256 == received.sha256
        and newest.status != FileStatus.REJECTED
        and (number is None or number <= newest.number)
        and not _differences(newest, settings)
    )


def _received(contents: Mapping[str, bytes]) -> files.ReceivedFile:
    """One file as it is, several as the archive of their folder."""
    if len(contents) == 1:
        path, data = next(iter(contents.items()))
        return files.receive_bytes(data, PurePosixPath(path).name)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for path, data in contents.items():
            writer.writestr(zipfile.ZipInfo(path), data)  # without the time: the same files are the same archive
    return files.receive_bytes(archive.getvalue(), "model.zip")
