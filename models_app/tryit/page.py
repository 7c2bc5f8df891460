"""What the try pages print beside the answers: which version is meant, its state, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from inference.errors import NotFound
from models_app.choices import FileStatus, InstanceState, VersionState
from models_app.models import Instance, ModelVersion, RegisteredModel
from models_app.pages.scaling_hint import lacks_size
from models_app.pages.version_row import VersionRow, version_row
from models_app.pages.wall import silence_banner
from models_app.pages.words import plural, short_seconds
from models_app.rights import Rights
from models_app.services import find
from models_app.services.nodes import slots_free, this_node
from models_app.services.places import queue_places
from models_app.tryit.inputs import input_words, takes_pictures, takes_texts

ON_THE_WAY = frozenset({VersionState.QUEUED, VersionState.LOADING, VersionState.RESTARTING})


@dataclass(frozen=True, slots=True)
class ListRow:
    """One model in the list; `version` is the one that its link opens."""

    name: str
    description: str
    version: VersionRow
    takes: str


@dataclass(frozen=True, slots=True)
class VersionChoice:
    number: int
    words: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """What stands above the form while the version does not answer; empty texts print nothing."""

    heading: str = ""
    text: str = ""
    load_word: str = ""


def list_rows(user: Any, search: str = "") -> tuple[list[ListRow], int]:
    """The models whose names hold `search`, and how many there are in all; models without a version do not count.

    Four queries for any number of models.
    """
    by_model: dict[RegisteredModel, list[ModelVersion]] = {}
    for version in find.versions().order_by("model__name", "-number"):
        by_model.setdefault(version.model, []).append(version)
    places, now, rights = queue_places(), timezone.now(), Rights.of(user)
    rows = []
    for model, versions in by_model.items():
        if search.lower() in model.name.lower() and (shown := preferred(versions)) is not None:
            row = version_row(shown, rights, places=places, now=now)
            rows.append(ListRow(model.name, model.description, row, input_words(shown)))
    return rows, len(by_model)


def preferred(versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """Of versions, newest first: the newest that is loaded, else on its way, else ready, else the newest."""

    def rank(version: ModelVersion) -> int:
        if version.state is VersionState.LOADED:
            return 0
        if version.state in ON_THE_WAY:
            return 1
        return 2 if version.status == FileStatus.READY else 3

    return min(versions, key=rank, default=None)


def find_versions(name: str, number: int | None) -> tuple[ModelVersion, list[ModelVersion]]:
    """The version that is meant and all of its model, newest first. Raises NotFound."""
    versions = list(find.versions().filter(model__name=name).order_by("-number"))
    chosen = preferred(versions) if number is None else next((v for v in versions if v.number == number), None)
    if chosen is None:
        find.find_model(name)
        if number is None:
            raise NotFound(f"{name} has no version yet. Upload a file first.")
        raise NotFound(f"{name} has no version {number}. It was deleted, or the address is wrong.")
    return chosen, versions


def version_choices(versions: Sequence[ModelVersion], chosen: ModelVersion) -> list[VersionChoice]:
    newest = next((v for v in versions if v.state is VersionState.LOADED), None)
    return [
        VersionChoice(v.number, "newest loaded" if v is newest else _state_word(v), v.pk == chosen.pk) for v in versions
    ]


def _state_word(version: ModelVersion) -> str:
    return str(version.state if version.status == FileStatus.READY else version.status)


def panel(version: ModelVersion, row: VersionRow) -> Panel:
    """Texts for a version that does not answer yet; empty for a loaded one."""
    if row.state == VersionState.LOADED:
        return Panel()
    if row.is_on_the_way:
        what = "pictures" if takes_pictures(version) else "texts" if takes_texts(version) else "the numbers"
        verb = "choose" if what == "pictures" else "write"
        is_ready = not lacks_size(version)
        later = f"You can {verb} {what} already; they are sent as soon as it is ready." if is_ready else ""
        word = {"restarting": "is being started again", "queued": "waits to be loaded"}.get(row.state, "is loading")
        return Panel(f"{row} {word}", f"{row.state_detail} {later}".strip())
    if row.state == FileStatus.CHECKING:
        return Panel(f"{row} is being checked", f"{row.state_detail} It can be loaded when the check has ended.")
    if row.state == FileStatus.REJECTED:
        return Panel(f"{row} was rejected", f"{row.state_detail} Choose another version, or upload the model again.")
    if row.state == VersionState.UNLOADING:
        return Panel(f"{row} is being unloaded", row.state_detail)
    heading = f"{row} could not be loaded" if row.state == VersionState.FAILED else f"{row} is not loaded"
    if not row.can_load:
        return Panel(heading, f"{row.state_detail} Ask somebody who may load models.".strip())
    word = f"Load {row} again" if row.state == VersionState.FAILED else f"Load {row}"
    return Panel(heading, f"{row.state_detail} {_load_hint(version)}".strip(), word)


def _load_hint(version: ModelVersion) -> str:
    node = this_node()
    if banner := silence_banner(node, timezone.now()):
        return banner
    free = slots_free(node)
    if not free:
        waiting = Instance.objects.filter(node=node, state=InstanceState.QUEUED).count()
        taken = "The slot is" if node.slots == 1 else f"All {node.slots} slots are"
        return f"{taken} taken. It will wait as place {waiting + 1}; or unload one on the wall."
    verb = "is" if free == 1 else "are"
    room = f"{free} of {plural(node.slots, 'slot')} {verb} free; no other model is touched."
    if version.state is VersionState.FAILED:  # how long a load took that went well is beside the point
        return room
    last = version.last_load_seconds
    takes = "some seconds" if last is None else "about a second" if last < 1.5 else f"about {short_seconds(last)}"
    return f"Loading takes {takes}. {room}"
