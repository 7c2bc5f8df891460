"""Figures in words, bars in per cent, slots that stay where they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inference.preprocessing import Preprocessing
from inference.signature import TensorSpec
from models_app.choices import InstanceState
from models_app.models import Instance, Transition
from models_app.pages.events import sentence
from models_app.pages.memory_bars import device_bar
from models_app.pages.signature_words import input_words, output_words
from models_app.pages.version_row import VersionRow, spark_points, version_row
from models_app.pages.wall import assign_slots
from models_app.pages.words import ago_words, duration_words, moment_words, short_seconds, size_words
from models_app.rights import Rights
from models_app.services import find
from tests.registry import make_version

NOW = datetime(2026, 11, 22, 14, 3, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, ""),
        (0, "0 bytes"),
        (62_000, "62 KB"),
        (999_600, "1.0 MB"),
        (13_900_000, "13.9 MB"),
        (118_000_000, "118 MB"),
        (999_600_000, "1.0 GB"),
        (16_000_000_000, "16.0 GB"),
    ],
)
def test_sizes(size: int | None, words: str) -> None:
    assert size_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "3 s"),
        (240, "4 min"),
        (8040, "2 h 14 min"),
        (19 * 3600 + 60, "19 h"),
        (90_000, "1 day"),
        (6 * 86400, "6 days"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_moments() -> None:
    assert short_seconds(0.05) == "0.05 s" and short_seconds(0.9) == "0.9 s" and short_seconds(12.3) == "12 s"
    assert ago_words(NOW - timedelta(hours=2, minutes=10), NOW) == "2 h ago"
    assert moment_words(NOW - timedelta(hours=2), NOW) == "today, 12:03"
    assert moment_words(NOW - timedelta(days=1), NOW) == "yesterday, 14:03"
    assert moment_words(NOW - timedelta(days=400), NOW) == "18 Oct 2025"


def test_a_signature_in_words() -> None:
    image = input_words(TensorSpec("image", "float32", (None, 224, 224, 3)), Preprocessing(preset="imagenet-caffe"))
    scores = output_words(TensorSpec("scores", "float32", (None, 12)), 12)

    assert [w.text for w in image.words] == ["any number", "224 high", "224 wide", "3 colours, BGR"]
    assert [w.text for w in scores.words] == ["any number", "12 scores, one a label"]
    assert image.words[0].is_free and not image.words[1].is_free


def row(name: str, slot: int) -> VersionRow:
    return VersionRow(
        pk=slot, model=name, version=1, state="loaded", state_detail="", status="ready", rights=Rights(), slot=slot
    )


def test_a_small_share_of_memory_is_drawn_once_more_enlarged() -> None:
    cpu = {"id": "cpu", "kind": "cpu", "name": "x", "memory_bytes": 16_000_000_000, "free_bytes": 9_000_000_000}
    gpu = {"id": "gpu:0", "kind": "gpu", "name": "L4", "memory_bytes": 24_000_000_000, "free_bytes": 10_000_000_000}
    held = [
        (row("cats", 1), Instance(device="cpu", memory_bytes=118_000_000)),
        (row("fer", 2), Instance(device="gpu:0", memory_bytes=618_000_000, device_memory_bytes=9_000_000_000)),
    ]

    host, device = device_bar(cpu, held), device_bar(gpu, held)

    assert host.lens is not None and [p.hue for p in host.lens.parts] == [2, 1]
    assert host.lens.parts[0].label == "fer v1 · 618 MB"
    assert device.lens is None and device.parts[0].label == "fer v1 · 9.0 GB"
    for bar in (host, device):
        assert sum(p.width for p in bar.parts) + bar.free_width == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("sizes", "widths"),
    [
        ([80, 20], [80, 20]),
        ([990, 9, 1], [85, 7.5, 7.5]),
        ([86, 7, 7], [85, 7.5, 7.5]),
        ([1] * 20, [5] * 20),
        ([5_000_000, *[1] * 19], [5] * 20),
    ],
)
@pytest.mark.parametrize("total", [500, 20_000_000])
def test_every_model_has_a_block_that_a_finger_can_hit(sizes: list[int], widths: list[float], total: int) -> None:
    cpu = {"id": "cpu", "kind": "cpu", "name": "x", "memory_bytes": total * 10**6, "free_bytes": 0}
    held = [(row(f"m{n}", n + 1), Instance(device="cpu", memory_bytes=size * 10**6)) for n, size in enumerate(sizes)]

    bar = device_bar(cpu, held)
    blocks = bar.lens.parts if bar.lens else [part for part in bar.parts if part.kind == "block"]

    assert all(part.kind != "block" for part in bar.parts) or bar.lens is None
    if bar.lens:
        assert [part.width for part in blocks] == pytest.approx(widths, abs=0.01)
        assert sum(part.width for part in blocks) == pytest.approx(100, abs=0.1)
    assert min(part.width for part in blocks) >= min(7.5, 100 / len(sizes))


def test_slots_stay_where_they_are_when_another_ends() -> None:
    three = [Instance(pk=pk) for pk in (1, 2, 3)]

    before, after = assign_slots(three, 8), assign_slots(three[1:], 8)

    assert before == {1: 1, 2: 2, 3: 3} and after == {2: 2, 3: 3}
    assert sorted(assign_slots([Instance(pk=pk) for pk in (1, 9, 17)], 8).values()) == [1, 2, 3]


def test_a_spark_line_has_twenty_points_inside_its_box() -> None:
    points = [tuple(map(float, point.split(","))) for point in spark_points([1.0, 5.0]).split()]

    assert len(points) == 20 and points[0][0] == 0 and points[-1][0] == 60
    assert all(0 <= y <= 20 for _, y in points)
    assert min(points, key=lambda point: point[1]) == points[-1]


@pytest.mark.parametrize(
    ("before", "after", "reason", "facts", "text"),
    [
        ("", "uploaded", "Uploaded, 13900000 bytes.", {"size_bytes": 13_900_000}, "was uploaded, 13.9 MB."),
        ("", "uploaded", "Uploaded, 13900000 bytes.", {}, "was uploaded."),
        ("loading", "ready", "Loaded in 0.9 s as process 4711.", {}, "loaded in 0.9 s as process 4711."),
        ("loading", "failed", "Not enough memory.", {}, "could not be loaded: not enough memory."),
        ("unloading", "stopped", "Unloaded in 0.04 s; 117 MB came back.", {}, "unloaded in 0.04 s; 117 MB came back."),
        ("queued", "stopped", "Unload asked for.", {}, "was taken out of the queue."),
        ("ready", "ready", "Changed: labels.", {}, "was changed: labels."),
        ("ready", "ready", "Changed: labels.", {"changed": ["labels"]}, "was changed: labels."),
        (
            "ready",
            "ready",
            "Changed: labels, postprocessing.",
            {"changed": ["labels", "postprocessing"]},
            "was changed: labels, scores.",
        ),
    ],
)
def test_history_is_told_in_sentences(before: str, after: str, reason: str, facts: dict[str, Any], text: str) -> None:
    assert sentence(Transition(before=before, after=after, reason=reason, facts=facts))[1] == text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("detail", "begin"),
    [("", "Loading for 0."), ("It is converted for litert first.", "It is converted for litert first. Loading for 0.")],
)
def test_what_a_load_waits_for_stands_before_its_time(detail: str, begin: str) -> None:
    make_version("digits", InstanceState.LOADING, last_load_seconds=2.0)
    Instance.objects.update(state_detail=detail)

    sentence = version_row(find.find_version("digits", 1), Rights()).state_detail

    assert sentence.startswith(begin) and sentence.endswith("; last time it took 2.0 s.")
