"""Of what a library says about a file, a sentence shows the first line that tells something, without paths."""

from __future__ import annotations

import pytest

from inference.engines import first_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Bad magic number in /tmp/model.h5\nTraceback", "Bad magic number in …"),
        ("\n  \n  No such layer  ", "No such layer"),
        ("/tmp/run/model.keras\nis no archive", "is no archive"),
        ("'layers/dense/vars'", "ValueError"),
        ("", "ValueError"),
        (
            "Exception from src/inference/src/cpp/core.cpp:84:\nCheck 'util::directory_exists(path) || "
            "util::file_exists(path)' failed at src/frontends/common/src/frontend.cpp:117:\nFrontEnd API failed with "
            'GeneralFailure:\nir: Could not open the file: "<net/>"\n\n',
            "ir: Could not open the file: …",
        ),
        ("Exception from src/a.cpp:8:\nCheck 'rank == 4' failed at src/b.cpp:17:\n\n", "Check 'rank == 4' failed at …"),
    ],
    ids=["a path", "empty lines", "a path alone first", "a path alone", "nothing", "headings", "headings alone"],
)
def test_there_is_always_something_to_read(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line


def test_a_long_line_is_cut() -> None:
    assert len(first_line(ValueError("x" * 1000))) == 300
