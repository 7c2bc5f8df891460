"""What a process printed is kept, bounded, for whoever asks later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inference.owner.output import LINES_KEPT, OutputRing, read_lines
from models_app.services.delete import delete_version
from models_app.services.supervise import log_path
from tests.registry import make_version

COPIES = 4


def texts(path: Path) -> list[str]:
    """Without the time that each line begins with."""
    return [line.split(" ", 2)[2] for line in read_lines(path)]


def said(ring: OutputRing, text: str) -> None:
    ring.add(text)
    ring.write(now=True)


def test_copies_that_share_a_file_keep_the_lines_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "version-1.log"
    first, second = OutputRing(path), OutputRing(path)

    said(first, "first: loaded")
    said(second, "second: loaded")
    said(first, "first: crashed")

    assert texts(path) == ["first: loaded", "second: loaded", "first: crashed"]


def test_copies_that_write_at_the_same_moment_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "version-1.log"
    lines = [[f"{copy}: line {number}" for number in range(LINES_KEPT // COPIES)] for copy in range(COPIES)]

    def write(mine: list[str]) -> None:
        ring = OutputRing(path)
        for line in mine:
            said(ring, line)

    with ThreadPoolExecutor(COPIES) as threads:
        list(threads.map(write, lines))

    assert sorted(texts(path)) == sorted(line for mine in lines for line in mine)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_an_earlier_process_printed_stays_and_is_nobody_elses_last_word(tmp_path: Path) -> None:
    path = tmp_path / "version-1.log"
    said(OutputRing(path), "Traceback of yesterday")

    ring = OutputRing(path)
    assert ring.last(3) == []
    said(ring, "loaded")

    assert texts(path) == ["Traceback of yesterday", "loaded"]


@pytest.mark.django_db(transaction=True)
def test_nothing_that_was_printed_outlives_its_version(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_LOGS_DIR = tmp_path
    version = make_version()
    said(OutputRing(log_path(version)), "loaded")
    log_path(version).with_suffix(".new").touch()  # of a worker that was killed while it wrote

    delete_version(version, by=None)

    assert list(tmp_path.iterdir()) == []


def test_however_much_is_printed_few_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "version-1.log"
    said(OutputRing(path), "earlier")
    ring = OutputRing(path)

    ring.feed(b"".join(b"line %d\n" % number for number in range(10 * LINES_KEPT)))
    ring.write(now=True)
    ring.feed(b"and one m")
    ring.feed(b"ore\n")
    ring.write(now=True)

    assert len(read_lines(path)) == LINES_KEPT
    assert texts(path)[-2:] == [f"line {10 * LINES_KEPT - 1}", "and one more"]
