"""V2's repository extension: parses index and load requests, and names the states of versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inference.errors import ValidationFailed
from inference.protocols import json_text
from inference.texts import from_base64

_KNOWN = frozenset({"config", "instances"})
_FILE = "file:"
LONGEST_PATH = 1000
_SLICE = 2**20
"""Base64 characters that are decoded in one call; a multiple of four."""
_SETTINGS = ("labels", "preprocessing", "postprocessing", "options")
STATES = {
    "loaded": "READY", "queued": "LOADING", "loading": "LOADING", "restarting": "LOADING", "unloading": "UNLOADING",
    "failed": "UNAVAILABLE", "unloaded": "UNAVAILABLE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """`files` replace the model, keyed by their path inside the version's folder; `number` is the folder's name.
    `settings` are text, as in a form; the configuration has them as `parameters: {"labels": {"string_value": …}}`, and
    the engine as `backend`. `max_batch` is its `max_batch_size`, None if not set. `instances` is a parameter of the
    load, otherwise the sum of the counts in the configuration's `instance_group`."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    number: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    instances: int = 1
    max_batch: int | None = None


def read_index(body: bytes) -> bool:
    """Whether only ready models are asked for. An empty body counts as an empty object."""
    ready = json_text.read_object(body).get("ready", False) if body else False
    if not isinstance(ready, bool):
        raise ValidationFailed("ready is true or false.")
    return ready


def read_load(body: bytes) -> LoadRequest:
    parameters = json_text.read_object(body).get("parameters") if body else None
    if parameters is None:
        return LoadRequest()
    if not isinstance(parameters, dict):
        raise ValidationFailed("parameters is an object.")
    files = {name: data for name, data in parameters.items() if name.startswith(_FILE)}
    if unknown := sorted(set(parameters) - _KNOWN - set(files)):
        raise ValidationFailed(f"The parameter {unknown[0][:100]} of a load is not known.")
    config = _config(parameters.get("config"))
    if files and config is None:
        raise ValidationFailed("A load with files needs the parameter config, a text with the model's configuration.")
    instances = parameters.get("instances", _instances(config or {}))
    if isinstance(instances, bool) or not isinstance(instances, int) or not 1 <= instances <= 64:
        raise ValidationFailed("instances is a whole number from 1 to 64.")
    numbers = {_number(name.removeprefix(_FILE)) for name in files}
    if len(numbers) > 1:
        raise ValidationFailed("A load makes one version. Send the files of each in a load of its own.")
    contents = {name.partition("/")[2]: _content(name, data) for name, data in files.items()}
    number = next(iter(numbers), None)
    return LoadRequest(contents, number, _settings(config or {}), instances, _max_batch(config or {}))


def _config(text: Any) -> Mapping[str, Any] | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValidationFailed("config is a text with the model's configuration in JSON.")
    return json_text.read_object(text.encode("utf-8", "replace"), "The parameter config")


def _number(path: str) -> int:
    """The version of `<version>/<path>`."""
    folder, _, inside = path.partition("/")
    if not folder.isascii() or not folder.isdigit() or len(folder) > 18 or not inside:
        raise ValidationFailed(f"{path[:100]} is not VERSION/FILE, such as 1/model.keras.")
    if len(inside) > LONGEST_PATH:
        raise ValidationFailed(f"The path {path[:100]}… has more than {LONGEST_PATH:,} characters.")
    return int(folder)


def _content(name: str, data: Any) -> bytes:
    try:
        if not isinstance(data, str):
            raise ValueError
        return _decoded(data)
    except ValueError:
        raise ValidationFailed(f"The content of {name.removeprefix(_FILE)[:100]} is not base64.") from None


def _decoded(text: str) -> bytes:
    """Decode in slices: one call would hold Python's lock for 0.3 s for 60 MB. Raises ValueError."""
    plain = "".join(text.split())
    if plain.find("=", 0, -2) >= 0:
        raise ValueError
    return b"".join(from_base64(plain[start : start + _SLICE]) for start in range(0, len(plain), _SLICE))


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    parameters = config.get("parameters")
    for name in _SETTINGS:
        value = parameters.get(name) if isinstance(parameters, dict) else None
        text = value.get("string_value") if isinstance(value, dict) else value
        if isinstance(text, str):
            found[name] = text
    if isinstance(backend := config.get("backend"), str) and backend:
        found["engine"] = backend
    return found


def _instances(config: Mapping[str, Any]) -> int:
    groups = config.get("instance_group")
    counts = [group.get("count") for group in groups if isinstance(group, dict)] if isinstance(groups, list) else []
    return sum(count for count in counts if type(count) is int and count > 0) or 1


def _max_batch(config: Mapping[str, Any]) -> int | None:
    """The key `max_batch_size`; 0 means not set."""
    size = config.get("max_batch_size")
    return size if type(size) is int and size > 0 else None


def index_row(name: str, version: int | None, state: str, reason: str) -> dict[str, str]:
    """One version, or a model without versions. MLServer's types require state and reason."""
    numbered = {} if version is None else {"version": str(version)}
    return {"name": name, **numbered, "state": STATES.get(state, "UNKNOWN"), "reason": reason}
