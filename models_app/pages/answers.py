"""Answers to pictures in words: labels with scores, or the first numbers of a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_app.models import ModelVersion
from models_app.pages.words import percent_words

_NUMBERS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Score:
    """`share` is the length of the bar, 0 to 1."""

    label: str
    text: str
    share: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What one version says to one picture: scores, or a text where the answer is no list of classes, or an error."""

    picture: str
    scores: tuple[Score, ...] = ()
    text: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class VersionAnswers:
    """`error` where the version could not be asked at all."""

    name: str
    error: str = ""
    answers: tuple[Answer, ...] = ()


def answers_of(
    version: ModelVersion, names: Sequence[str], prediction: Mapping[str, Any], bad: Mapping[int, str]
) -> VersionAnswers:
    """Puts the answers back into the order of the pictures, the refused ones in their place."""
    good = iter(prediction["predictions"])
    answers = [
        Answer(name, error=bad[index]) if index in bad else _answer(name, next(good))
        for index, name in enumerate(names)
    ]
    return VersionAnswers(str(version), answers=tuple(answers))


def _answer(name: str, given: Mapping[str, Any]) -> Answer:
    if "top" in given:
        return Answer(name, scores=score_words(given["top"]))
    texts = [f"{output['name']} {output['shape']}: {_begin(output['data'])}" for output in given["outputs"]]
    return Answer(name, text="; ".join(texts))


def score_words(top: Sequence[Mapping[str, Any]]) -> tuple[Score, ...]:
    """Per cent only if all scores lie in 0 to 1; otherwise plain numbers, bars relative to the largest."""
    numbers = [row["score"] if isinstance(row["score"], int | float) else None for row in top]
    known = [number for number in numbers if number is not None]
    is_share = bool(known) and len(known) == len(numbers) and all(0 <= number <= 1 for number in known)
    largest = max((abs(number) for number in known), default=0.0) or 1.0
    scores = []
    for row, number in zip(top, numbers, strict=True):
        if number is None:
            scores.append(Score(row["label"], str(row["score"]), 0.0))
        elif is_share:
            scores.append(Score(row["label"], percent_words(number), round(number, 4)))
        else:
            scores.append(Score(row["label"], f"{number:.4g}".replace("-", "−"), round(max(0.0, number / largest), 4)))
    return tuple(scores)


def _begin(data: Any) -> str:
    numbers: list[Any] = []
    waiting = [data]
    while waiting and len(numbers) <= _NUMBERS_SHOWN:
        value = waiting.pop(0)
        if isinstance(value, list):
            waiting = [*value[: _NUMBERS_SHOWN + 1], *waiting]
        else:
            numbers.append(value)
    shown = [f"{n:.4g}" if isinstance(n, float) else str(n) for n in numbers[:_NUMBERS_SHOWN]]
    return ", ".join(shown) + (" …" if len(numbers) > _NUMBERS_SHOWN else "")
