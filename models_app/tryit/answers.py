"""Answers for people: the likeliest label large, bars, what the model saw; vectors and pictures for other models."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import texts
from inference.errors import BadInput, PortalError
from inference.postprocessing import DEFAULT_TOP, choose_output
from inference.preprocessing import shown
from inference.signature import CHANNEL_COUNTS
from models_app.models import Instance, ModelVersion
from models_app.pages.scaling_hint import NO_SIZE, lacks_size
from models_app.pages.words import milliseconds_words, percent_words, plural
from models_app.services.predict import Picture, ask_pictures, predict_tensors, see_picture
from models_app.tryit import drawings
from models_app.tryit.inputs import rows_of_texts, seen_words

NUMBERS_SHOWN = 8
MOST_EXAMPLES_APART = 8
JSON_SHOWN = 4000
TEXT_SHOWN = 400
MOST_SCORES_READ = 200_000
"""Up to so many scores are all checked for lying in 0–1; of more, only the best of each picture."""
DRAWING_LIMIT_S = 20.0
"""After this the pictures that are left get their answers without thumbnails."""


@dataclass(frozen=True, slots=True)
class Score:
    """`text` is a per cent or the plain number; `bar` lies in 0–1."""

    label: str
    text: str
    bar: float


@dataclass(frozen=True, slots=True)
class Output:
    """One output without scores of classes: its first numbers, and a line or a picture where it can be drawn."""

    name: str
    kind: str
    numbers: str
    single: str = ""
    more: str = ""
    points: str = ""
    words: str = ""
    drawing: drawings.Drawing | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """For one picture, for one text, or for one row of tensors. With `error` nothing else is set but `file`."""

    file: str
    text: str = ""
    error: str = ""
    src: str = ""
    pixels: str = ""
    note: str = ""
    top: Sequence[Score] = ()
    is_plain: bool = False
    outputs: Sequence[Output] = ()
    sees: str = ""
    sees_words: str = ""
    json: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds as text."""

    total: str
    queue: str
    decode: str
    inference: str
    count: str


@dataclass(frozen=True, slots=True)
class Answered:
    version: str
    answers: Sequence[Answer] = field(default_factory=tuple)
    timing: Timing | None = None


def answer_pictures(version: ModelVersion, instances: Sequence[Instance], pictures: Sequence[Picture]) -> Answered:
    """One answer a picture, in their order; those that cannot be read are named and the others answered.

    Raises PortalError where none could be asked: the process is gone, its queue is full, the model refuses pictures.
    """
    if lacks_size(version):
        raise BadInput(f"{NO_SIZE} It has to be set in the preprocessing before pictures can be asked about.")
    prediction, bad = ask_pictures(version, instances, pictures, top=_scores_to_read(version, len(pictures)))
    rows = prediction["predictions"]
    are_shares = are_all_shares(version, [score["score"] for row in rows for score in row.get("top", ())])
    good = iter(rows)
    until = time.monotonic() + DRAWING_LIMIT_S
    words = _seen_words(version)
    answers = [
        Answer(str(picture.name), error=bad[i])
        if i in bad
        else _answer(version, instances, picture, next(good), are_shares, words, until)
        for i, picture in enumerate(pictures)
    ]
    return Answered(str(version), answers, _timing(prediction["timing_ms"], len(rows), len(pictures)))


def answer_texts(version: ModelVersion, instances: Sequence[Instance], lines: Sequence[str]) -> Answered:
    """One answer a text where the model gives scores of classes, else as answer_tensors."""
    body = {"instances": rows_of_texts(version, lines)}
    prediction = predict_tensors(version, instances, body, top=_scores_to_read(version, len(lines)) or DEFAULT_TOP)
    rows = prediction["predictions"]
    if not all("top" in row for row in rows):
        return _answered_tensors(version, prediction)
    are_shares = are_all_shares(version, [score["score"] for row in rows for score in row["top"]])
    most = version.postprocessing.top or DEFAULT_TOP
    answers = [
        Answer("", text=line[:TEXT_SHOWN], top=shown_scores(row["top"][:most], are_shares), is_plain=not are_shares)
        for line, row in zip(lines, rows, strict=True)
    ]
    return Answered(str(version), answers, _timing(prediction["timing_ms"], 0, 0))


def answer_tensors(version: ModelVersion, instances: Sequence[Instance], body: Mapping[str, Any]) -> Answered:
    """One answer with all outputs. Raises PortalError as predict_tensors does."""
    return _answered_tensors(version, predict_tensors(version, instances, body))


def _answered_tensors(version: ModelVersion, prediction: Mapping[str, Any]) -> Answered:
    outputs = prediction["predictions"][0]["outputs"]
    text = json.dumps(outputs, ensure_ascii=False)
    if len(text) > JSON_SHOWN:
        text = f"{text[:JSON_SHOWN]}\n… the first {JSON_SHOWN:,} of {len(text):,} characters"
    answer = Answer("", outputs=[shown for output in outputs for shown in _shown_rows(output)], json=text)
    return Answered(str(version), [answer], _timing(prediction["timing_ms"], 0, 0))


def _answer(
    version: ModelVersion,
    instances: Sequence[Instance],
    picture: Picture,
    row: Mapping[str, Any],
    are_shares: bool,
    sees_words: str,
    until: float,
) -> Answer:
    small, sees = drawings.Drawing("", ""), ""
    if time.monotonic() < until:
        try:
            seen = see_picture(version, instances, picture.data)
            small, sees = drawings.thumbnail(seen), drawings.as_model(seen)
        except PortalError:  # the answer stands without its pictures
            pass
    top = row.get("top", ())[: version.postprocessing.top or DEFAULT_TOP]
    return Answer(
        str(picture.name),
        src=small.src,
        pixels=small.words,
        note=row.get("note", ""),
        top=shown_scores(top, are_shares),
        is_plain=not are_shares,
        outputs=[shown_output(output, has_batch=False) for output in row.get("outputs", ())],
        sees=sees,
        sees_words=sees_words,
    )


def _scores_to_read(version: ModelVersion, pictures: int) -> int | None:
    chosen = choose_output(version.signature, version.postprocessing, version.labels)
    classes = chosen.shape[-1] if chosen is not None and len(chosen.shape) > 1 else None
    # An output (N, 1) with two labels gives two scores, and both are wanted.
    return classes if classes and classes > 1 and classes * pictures <= MOST_SCORES_READ else None


def are_all_shares(version: ModelVersion, scores: Sequence[float | str]) -> bool:
    """Whether all scores lie in 0–1: only then a per cent says something."""
    if version.postprocessing.activation in {"softmax", "sigmoid"}:
        return True
    return all(isinstance(score, int | float) and 0 <= score <= 1 for score in scores)


def shown_scores(top: Sequence[Mapping[str, Any]], are_shares: bool) -> list[Score]:
    numbers = [float(score["score"]) for score in top]
    bars = [_inside(n) for n in numbers] if are_shares else _relative(numbers)
    texts = [
        str(score["score"]) if not np.isfinite(n) else _share(n) if are_shares else shown(n, 4)
        for score, n in zip(top, numbers, strict=True)
    ]
    return [Score(score["label"], text, bar) for score, text, bar in zip(top, texts, bars, strict=True)]


def _share(number: float) -> str:
    """Small ones with three digits: of 1,000 classes that are about equally likely all would read 0.1 %."""
    if not 0 < number < 0.01:
        return percent_words(number)
    return f"{100 * number:.3g} %" if number >= 0.00001 else "< 0.001 %"


def _inside(number: float) -> float:
    return round(min(1.0, max(0.0, number)), 4) if np.isfinite(number) else 0.0


def _relative(numbers: Sequence[float]) -> list[float]:
    """Relative to the largest; where none is above 0, between the least that is shown and the largest."""
    finite = [n for n in numbers if np.isfinite(n)]
    least, most = min(finite, default=0.0), max(finite, default=0.0)
    if most > 0:
        return [_inside(n / most) for n in numbers]
    return [_inside((n - least) / (most - least) if most > least else 1.0) for n in numbers]


def shown_output(output: Mapping[str, Any], *, has_batch: bool) -> Output:
    shape = tuple(output["shape"])
    kind = f"{' × '.join(map(str, shape)) or 'one value'}, {output['dtype']}"
    if output["dtype"] == texts.DTYPE:
        words = _flat(output["data"])
        return Output(output["name"], kind, ", ".join(words[:NUMBERS_SHOWN])[:400], more=_more(len(words)))
    values = np.asarray(output["data"], dtype=np.float64)
    flat = values.reshape(-1)
    result = Output(
        output["name"],
        kind,
        ", ".join(shown(float(n), 4) for n in flat[:NUMBERS_SHOWN]),
        single=shown(float(flat[0]), 6) if flat.size == 1 else "",
        more=_more(flat.size),
    )
    inner = values[0] if has_batch and values.ndim and len(values) == 1 else values
    return _with_figure(result, inner)


def _shown_rows(output: Mapping[str, Any]) -> list[Output]:
    """An output for tensors: few examples each by itself, so that each has its line or picture; many in one."""
    shape, data = tuple(output["shape"]), output["data"]
    is_few = len(shape) > 1 and 1 < shape[0] <= MOST_EXAMPLES_APART and isinstance(data, list)
    if not is_few or len(data) != shape[0]:
        return [shown_output(output, has_batch=True)]
    rows = [shown_output({**output, "shape": shape[1:], "data": row}, has_batch=False) for row in data]
    return [replace(row, kind=f"{row.kind}, example {i} of {shape[0]}") for i, row in enumerate(rows, start=1)]


def _with_figure(output: Output, values: NDArray[np.float64]) -> Output:
    drawing, points, words = None, "", ""
    picture = _as_picture(values)
    if picture is not None:
        drawing = drawings.drawn(picture)
    elif values.ndim == 1 and values.size > 2:
        finite = values[np.isfinite(values)]
        points = drawings.plot_points(values)
        words = f"{plural(values.size, 'number')}"
        if finite.size:
            words += f" from {shown(float(finite.min()), 4)} to {shown(float(finite.max()), 4)}"
        if finite.size < values.size:
            words += f", {values.size - finite.size:,} of them not finite"
    return Output(output.name, output.kind, output.numbers, output.single, output.more, points, words, drawing)


def _as_picture(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Channels last, where an output of three axes has the channels of a picture; None for all else."""
    if values.ndim != 3:
        return None
    if values.shape[2] in CHANNEL_COUNTS and min(values.shape[:2]) > 1:
        return values
    if values.shape[0] in CHANNEL_COUNTS and min(values.shape[1:]) > 1:
        return np.moveaxis(values, 0, 2)
    return None


def _more(count: int) -> str:
    return f"and {count - NUMBERS_SHOWN:,} more" if count > NUMBERS_SHOWN else ""


def _flat(value: Any) -> list[str]:
    return [text for item in value for text in _flat(item)] if isinstance(value, list) else [str(value)]


def _seen_words(version: ModelVersion) -> str:
    plan = version.image_plan
    return seen_words(plan) if plan is not None else ""


def _timing(timing: Mapping[str, float], answered: int, asked: int) -> Timing:
    asked_words = plural(asked, "picture") if answered == asked else f"{answered} of {plural(asked, 'picture')}"
    count = f"{asked_words} answered" if asked else ""
    is_timed = answered or not asked  # nothing was computed where no picture could be read
    names = ("total", "queue", "decode", "inference")
    return Timing(**{name: milliseconds_words(timing[name]) if is_timed else "" for name in names}, count=count)
