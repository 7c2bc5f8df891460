"""Turns a model's outputs into what clients get: labels with scores, or nested numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from inference import texts
from inference.errors import EngineFailed, ValidationFailed
from inference.json_object import JsonObject, given_fields, is_text
from inference.signature import Signature, TensorSpec

Array = NDArray[Any]

ACTIVATIONS = ("none", "softmax", "sigmoid")
KINDS = ("classes", "vector")
DEFAULT_TOP = 5
MAX_TOP = 100_000
FEW = 10
"""Up to this many best scores are found one by one."""
MAX_LABELS = 1_000_000
MAX_LABEL_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Postprocessing:
    """What the owner set; None means not set. `output` names the output that is the answer."""

    activation: Literal["none", "softmax", "sigmoid"] | None = None
    top: int | None = None
    output: str | None = None
    kind: Literal["classes", "vector"] | None = None

    def as_json(self) -> dict[str, Any]:
        return given_fields(self)


def parse_postprocessing(value: object) -> Postprocessing:
    """Postprocessing from decoded JSON. Raises ValidationFailed on "postprocessing"."""
    given = JsonObject.read("postprocessing", value, [field.name for field in fields(Postprocessing)])
    return Postprocessing(
        activation=cast(Any, given.choice("activation", ACTIVATIONS)),
        top=given.integer("top", 1, MAX_TOP),
        output=given.text("output", 1000),
        kind=cast(Any, given.choice("kind", KINDS)),
    )


def choose_output(signature: Signature, postprocessing: Postprocessing, labels: Sequence[str]) -> TensorSpec | None:
    """The output that is the answer: the named one, the only one, or the only one with as many scores as labels.

    None if several outputs are possible. Raises ValidationFailed on "postprocessing" for an unknown name.
    """
    if postprocessing.output is not None:
        for spec in signature.outputs:
            if spec.name == postprocessing.output:
                return spec
        names = ", ".join(spec.name for spec in signature.outputs)
        raise ValidationFailed.of(
            "postprocessing", f"The model has no output “{postprocessing.output}”. Its outputs are {names}."
        )
    if len(signature.outputs) == 1:
        return signature.outputs[0]
    fitting = [spec for spec in signature.outputs if len(spec.shape) == 2 and spec.shape[1] == len(labels)]
    return fitting[0] if labels and len(fitting) == 1 else None


def check_labels(labels: Sequence[str], signature: Signature, postprocessing: Postprocessing) -> str | None:
    """What to say if the number of labels does not fit the scores; None if it fits or cannot be checked.

    Raises ValidationFailed on "postprocessing" for an unknown output name.
    """
    chosen = choose_output(signature, postprocessing, labels)
    if not labels:
        return None
    given = "1 label was given" if len(labels) == 1 else f"{len(labels):,} labels were given"
    if chosen is None:
        counts = {spec.name: spec.shape[1] for spec in signature.outputs if len(spec.shape) == 2}
        if not counts or None in counts.values():
            return None
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return (
            f"{given} and the model has several outputs with scores ({listed}). Name the right one in "
            "postprocessing.output, and give as many labels."
        )
    sizes = chosen.shape[1:] or (1,)
    if None in sizes or (len(sizes) > 1 and len(labels) in sizes):
        return None
    scores = sizes[-1]
    if scores == 1 and len(labels) not in (1, 2):
        return f"{given} and the model has one score. Give two labels, the first for 0 and the second for 1."
    if scores not in (1, len(labels)):
        return f"{given} and the model has {scores:,} scores. Give one label for each score, in the model's order."
    return None


def parse_labels(value: object) -> list[str]:
    """Labels from a list, or from text or UTF-8 bytes with a JSON list or one label a line.

    Spaces around a label and empty lines at the end are dropped; an empty line between others is an empty label, so
    that the indices stay. Raises ValidationFailed on "labels".
    """
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            value = bytes(value).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValidationFailed.of("labels", "The labels are no UTF-8 text. Save the file as UTF-8.") from error
    if isinstance(value, str):
        value = _items(value.removeprefix("\ufeff").rstrip())
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise ValidationFailed.of(
            "labels", "Send the labels as a JSON list of texts, or as text with one label a line."
        )
    if len(value) > MAX_LABELS:
        raise ValidationFailed.of("labels", f"There are {len(value):,} labels; {MAX_LABELS:,} is the limit.")
    return [_label(index, item) for index, item in enumerate(value)]


def _items(text: str) -> object:
    if text.lstrip().startswith(("[", "{")):
        try:
            return cast(object, json.loads(text))
        except (ValueError, RecursionError):
            if re.match(r'\s*\[\s*"', text):  # not “[UNK]”, which may be the first of many lines
                raise ValidationFailed.of("labels", "The labels begin like JSON and are none. Correct them.") from None
    # Not splitlines(), which also splits at characters that may stand inside a label.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if text else []


def _label(index: int, item: object) -> str:
    if isinstance(item, int | float) and not isinstance(item, bool):
        return str(item)
    if not isinstance(item, str) or not is_text(item):
        raise ValidationFailed.of("labels", f"Label {index} is not a text. Send a JSON list of texts.")
    if len(item) > MAX_LABEL_LENGTH:
        raise ValidationFailed.of(
            "labels", f"Label {index} is longer than {MAX_LABEL_LENGTH:,} characters. Shorten it."
        )
    return item.strip()


def image_predictions(
    outputs: Mapping[str, Array],
    signature: Signature,
    postprocessing: Postprocessing,
    labels: Sequence[str],
    top: int | None,
    *,
    pictures: int | None = None,
) -> list[dict[str, Any]]:
    """One element a picture: {"top": [{"index", "label", "score"}…]} or {"outputs": [{"name", "dtype", …}…]}.

    `outputs` have the batch axis first. `top` is the caller's number; else postprocessing.top, else 5. `pictures` is
    their number if known; for a single picture, outputs may lack the batch axis. Raises EngineFailed if the outputs
    cannot be assigned to the pictures.
    """
    chosen = choose_output(signature, postprocessing, labels)
    answers = _answers(outputs, signature, postprocessing, chosen)
    first = next(iter(answers.values()))
    count = pictures if pictures is not None else (len(first) if first.ndim else 1)
    scores: Sequence[Array | None] = [None] * count
    if chosen is not None and (known := _class_scores(answers[chosen.name], postprocessing, labels)) is not None:
        _check_count(answers[chosen.name], count)
        scores = known
    return [
        {"top": _best(own, labels, top, postprocessing)}
        if own is not None
        else {"outputs": _outputs_of(row, answers, count)}
        for row, own in enumerate(scores)
    ]


def _outputs_of(row: int, answers: Mapping[str, Array], pictures: int) -> list[dict[str, Any]]:
    """The outputs of picture number `row`."""
    if pictures == 1:
        return [_tensor(n, a[0] if a.ndim and len(a) == 1 else a) for n, a in answers.items()]
    for answer in answers.values():
        _check_count(answer, pictures)
    return [_tensor(name, answer[row]) for name, answer in answers.items()]


def tensor_prediction(
    outputs: Mapping[str, Array],
    signature: Signature,
    postprocessing: Postprocessing,
    labels: Sequence[str],
    top: int | None,
) -> list[dict[str, Any]]:
    """One element with "outputs", batch included; if `top` is set and the model gives scores, one "top" per row."""
    chosen = choose_output(signature, postprocessing, labels)
    answers = _answers(outputs, signature, postprocessing, chosen)
    if top is not None and chosen is not None:
        scores = _class_scores(answers[chosen.name], postprocessing, labels)
        if scores is not None and all(own is not None for own in scores):
            return [{"top": _best(own, labels, top, postprocessing)} for own in scores if own is not None]
    return [{"outputs": [_tensor(name, answer) for name, answer in answers.items()]}]


def _check_count(answer: Array, pictures: int) -> None:
    rows = len(answer) if answer.ndim else 0
    if rows != pictures:
        raise EngineFailed(f"The model answered {rows} rows for {pictures} pictures. Send the pictures one at a time.")


def _answers(
    outputs: Mapping[str, Array], signature: Signature, postprocessing: Postprocessing, chosen: TensorSpec | None
) -> dict[str, Array]:
    """The outputs to show, in the model's order, by name; the activation applied to the chosen one."""
    shown = [chosen] if chosen is not None and postprocessing.output is not None else signature.outputs
    if missing := [spec.name for spec in shown if spec.name not in outputs]:
        raise EngineFailed(f"The model did not answer the output {missing[0]}.")
    answers = {spec.name: np.asarray(outputs[spec.name]) for spec in shown}
    if chosen is not None:
        answers[chosen.name] = activated(answers[chosen.name], chosen, postprocessing)
    return answers


def activated(scores: Array, spec: TensorSpec, postprocessing: Postprocessing) -> Array:
    """The output `spec` after its activation. No softmax over one number per example: it would compare the examples."""
    if scores.dtype.kind == "O":  # texts
        return scores
    if postprocessing.activation == "softmax":
        return scores if spec.shape in {(None,), (1,)} else softmax(scores)
    return sigmoid(scores) if postprocessing.activation == "sigmoid" else scores


def softmax(scores: Array) -> Array:
    """Over the last axis, computed in float64, returned as float32. NaN and +Infinity give NaN."""
    if not scores.size or not scores.ndim:
        return scores
    wide = scores.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def sigmoid(scores: Array) -> Array:
    """Computed in float64, as float32."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(1 / (1 + np.exp(-scores.astype(np.float64))), dtype=np.float32)


def _class_scores(
    answer: Array, postprocessing: Postprocessing, labels: Sequence[str]
) -> Sequence[Array | None] | None:
    """The class scores of each row, or None if the answer holds none.

    For (N, C) with C ≥ 2 these are the rows; for (N, 1) with two labels both scores, None where not from 0 to 1.
    """
    if postprocessing.kind == "vector" or answer.dtype.kind not in "fiub":
        return None
    if postprocessing.kind == "classes" and answer.ndim > 2 and max(answer.shape[1:]) == np.prod(answer.shape[1:]):
        answer = answer.reshape(len(answer), -1)  # (N, 1, 1, C), as older MobileNets have it
    if answer.ndim != 2:
        return None
    if answer.shape[1] >= 2:
        return list(answer)
    if answer.shape[1] == 1 and len(labels) == 2:
        is_score = postprocessing.activation == "sigmoid"
        return [both if is_score or (both >= 0).all() else None for both in _both(answer.astype(np.float32))]
    return None


def both_scores(scores: Array, labels: Sequence[str]) -> Array:
    """For values (N, 1) from 0 to 1 and two labels: (N, 2), where label 0 gets 1 − value. Others stay unchanged."""
    if scores.shape[1:] != (1,) or len(labels) != 2 or scores.dtype.kind != "f":
        return scores
    is_share = bool(((scores >= 0) & (scores <= 1)).all())
    return _both(scores) if is_share else scores


def _both(shares: Array) -> Array:
    """(N, 2) from (N, 1): scores of label 0 and label 1."""
    return np.concatenate([1 - shares, shares], axis=1)


def _best(
    scores: Array, labels: Sequence[str], top: int | None, postprocessing: Postprocessing
) -> list[dict[str, Any]]:
    count = top if top is not None else postprocessing.top or DEFAULT_TOP
    return [
        {"index": index, "label": labels[index] if index < len(labels) else str(index), "score": _plain(scores[index])}
        for index in best_indices(scores, count)
    ]


def best_indices(scores: Array, count: int) -> list[int]:
    """The indices of the `count` largest of the scores (C,): largest first, lower index first on ties, NaN last."""
    count = max(0, min(count, len(scores)))
    if count <= FEW and scores.dtype.kind == "f" and (few := _one_by_one(scores, count)) is not None:
        return few
    candidates = np.arange(len(scores))
    if 0 < count < len(scores):
        bound = np.partition(scores, len(scores) - count)[-count:].min()  # NaN sorts as largest, so bound may be NaN
        if bound == bound:
            candidates = np.flatnonzero(scores >= bound)  # with all ties at the bound
    chosen = scores[candidates].astype(np.float64)
    order = np.lexsort((candidates, -chosen, np.isnan(chosen)))
    return cast("list[int]", candidates[order][:count].tolist())


def _one_by_one(scores: Array, count: int) -> list[int] | None:
    """As best_indices; None if a NaN or -Infinity is met. After a model has filled the CPU caches, one numpy function
    called repeatedly takes 0.08 ms, eleven different ones 0.16."""
    rest, best = scores.copy(), []
    for _ in range(count):
        index = int(rest.argmax())
        if not rest[index] > -np.inf:
            return None
        best.append(index)
        rest[index] = -np.inf
    return best


def _tensor(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "dtype": _dtype_name(array), "shape": list(array.shape), "data": nested(array)}


def _dtype_name(array: Array) -> str:
    return texts.DTYPE if array.dtype.kind == "O" else array.dtype.name


def nested(array: Array) -> Any:
    """Nested lists for JSON: NaN and infinities as strings, bytes decoded as UTF-8."""
    if array.dtype.kind == "O":
        return texts.as_lists(array)
    if array.dtype.kind in "iub":
        return array.tolist()
    return array.tolist() if np.isfinite(array).all() else _map_nested(array.tolist())


def _map_nested(value: Any) -> Any:
    return [_map_nested(item) for item in value] if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> int | float | str:
    """One number as JSON can hold it."""
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, float) and not np.isfinite(number):
        return "NaN" if np.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return cast(int | float, number)
