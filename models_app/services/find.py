"""Finding versions by the names that people use."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from inference.errors import InUse, NotFound, NotLoaded, NotReady, Unavailable
from models_app.choices import LIVE, FileStatus, InstanceState, VersionState
from models_app.models import Instance, ModelVersion, RegisteredModel, Transition


def find_model(name: str) -> RegisteredModel:
    model = RegisteredModel.objects.filter(name=_stored(name)).first()
    if model is None:
        raise NotFound(f"There is no model called {name[:100]}.")
    return model


def exists(name: str) -> bool:
    return RegisteredModel.objects.filter(name=_stored(name)).exists()


def _stored(name: str) -> str:
    """The name as the database can hold it: PostgreSQL takes no NUL, and no model has the character put for it."""
    return name.replace("\x00", "\ufffd")


def versions() -> QuerySet[ModelVersion]:
    """Versions with all that showing one needs: a constant number of queries for any number of rows."""
    return ModelVersion.objects.select_related("model", "model__owner", "created_by").prefetch_related(
        "instances__node", "jobs"
    )


def find_version(name: str, number: int) -> ModelVersion:
    version = versions().filter(model__name=_stored(name), number=number).first()
    if version is None:
        find_model(name)
        raise NotFound(f"{name[:100]} has no version {number}.")
    return version


def history(version: ModelVersion) -> QuerySet[Transition]:
    """What happened to it, newest first; an earlier model of the same name has a history of its own.

    It begins with the last upload, by the order of rows, not time: clocks may go back.
    """
    rows = Transition.objects.filter(model_name=version.model.name, version_number=version.number)
    last_upload = rows.filter(after="uploaded").values("pk")[:1]
    return rows.filter(pk__gte=Coalesce(last_upload, 0))


def again(version: ModelVersion) -> ModelVersion:
    """The version as it is now. Raises NotFound where it was deleted meanwhile."""
    return _still_there(versions(), version)


def lock(version: ModelVersion) -> ModelVersion:
    """The version as it is now, locked until the transaction ends. Raises NotFound where it was deleted meanwhile."""
    return _still_there(ModelVersion.objects.select_for_update(of=("self",)).select_related("model"), version)


def lock_unused(version: ModelVersion) -> ModelVersion:
    """`lock` for what may be changed only while nothing runs. Raises InUse while it is loaded, NotReady while it is
    checked."""
    locked = lock(version)
    if locked.instances.filter(state__in=LIVE).exists():
        raise InUse(f"{locked} is in use. Unload it first.")
    if locked.status == FileStatus.CHECKING:
        raise NotReady(_why_not_ready(locked, locked.model.name))
    return locked


def _still_there(rows: QuerySet[ModelVersion], version: ModelVersion) -> ModelVersion:
    found = rows.filter(pk=version.pk).first()
    if found is None:
        raise NotFound(f"{version} was deleted meanwhile.")
    return found


def what_to_unload(model: RegisteredModel) -> list[ModelVersion]:
    """What an unload without a version means: all that is loaded or on its way there, newest first.

    One to be loaded after its check is on its way too. If there is none, the newest, if any.
    """
    known = list(model.versions.select_related("model").prefetch_related("instances").order_by("-number"))
    return [v for v in known if v.replaces_older or v.state is not VersionState.UNLOADED] or known[:1]


def newest_ready(name: str) -> ModelVersion:
    """What a load without a version means: the newest ready one. Raises NotReady, NotFound."""
    known = ModelVersion.objects.select_related("model").filter(model__name=_stored(name)).order_by("-number")
    version = known.filter(status=FileStatus.READY).first()
    if version is None:
        find_model(name)
        raise NotReady(_why_not_ready(known.first(), name))
    return version


def _why_not_ready(version: ModelVersion | None, name: str) -> str:
    if version is None:
        return f"{name} has no version yet. Upload a file."
    if version.status == FileStatus.CHECKING:
        return f"{version} is still being checked."
    return f"{version} was rejected: {version.status_detail}"


def check_ready(version: ModelVersion) -> None:
    """Raises NotReady unless the file of the version was checked and found good."""
    if version.status != FileStatus.READY:
        raise NotReady(_why_not_ready(version, version.model.name))


def loaded_version(name: str, number: int | None) -> tuple[ModelVersion, Sequence[Instance]]:
    """The version that answers (without a number: the newest loaded one) and its ready instances."""
    ready = ModelVersion.objects.filter(model__name=_stored(name), instances__state=InstanceState.READY)
    if number is not None:
        ready = ready.filter(number=number)
    version = ready.select_related("model").prefetch_related("instances").order_by("-number").first()
    # Two queries: between them the last instance may have ended.
    instances = [i for i in version.shown_instances if i.state == InstanceState.READY] if version is not None else []
    if version is None or not instances:
        raise why_not_loaded(name, number)
    return version, instances


def why_not_loaded(name: str, number: int | None) -> NotFound | NotReady | NotLoaded | Unavailable:
    """The error that says why nobody answers for this model."""
    if number is not None:
        version = find_version(name, number)
    else:
        known = list(versions().filter(model=find_model(name)).order_by("-number"))
        if not known:
            return NotLoaded(f"{name} has no version yet. Upload a file.")
        held_off = [v for v in known if v.state in {VersionState.RESTARTING, VersionState.FAILED}]
        version = (held_off or known)[0]
    if version.status != FileStatus.READY:
        return NotReady(_why_not_ready(version, name))
    state = version.state
    detail = " ".join(i.state_detail for i in version.shown_instances if i.state_detail)
    if state is VersionState.RESTARTING:
        return Unavailable(f"{version} is being started again. {detail}".strip(), retry_after_s=2)
    if state is VersionState.FAILED:
        return Unavailable(f"{version} has failed. {detail}".strip(), retry_after_s=30)
    if state in {VersionState.QUEUED, VersionState.LOADING}:
        return NotLoaded(f"{version} is still being loaded.", retry_after_s=2)
    if state is VersionState.UNLOADING:
        return NotLoaded(f"{version} is being unloaded.")
    return NotLoaded(f"{version} is not loaded. Load it first.")
