"""Every bad file is refused with its own sentence, soon, in little memory, and none of it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.threats.bad_files import BAD_FILES, LIVE_FILES, Bad
from tests.threats.conftest import LIMIT_S, ROOT, Live

SECONDS, PEAK_BYTES = 10.0, 10**9


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, live: Live) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bad")
    paths = {name: str(live.folder / name) for name in LIVE_FILES}
    for bad in BAD_FILES:
        own = folder / f"{bad.id}-{bad.name}"
        own.mkdir()
        paths[own.name] = str(bad.make(own))
    done = subprocess.run(
        [sys.executable, "-m", "tests.threats.check_all", str(folder)],
        cwd=ROOT, input=json.dumps(paths), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("bad", BAD_FILES, ids=lambda bad: f"{bad.id}-{bad.name}")
def test_a_bad_file_is_refused_with_its_own_sentence(checked: dict[str, Any], bad: Bad) -> None:
    _check(checked[f"{bad.id}-{bad.name}"], bad.says)


@pytest.mark.parametrize("name", LIVE_FILES)
def test_a_file_that_would_do_something_is_refused_and_does_nothing(
    checked: dict[str, Any], live: Live, name: str
) -> None:
    _check(checked[name], LIVE_FILES[name][1])
    assert live.markers() == []


def _check(found: dict[str, Any], says: str) -> None:
    print(f"{found['seconds']:.2f} s, at most {found['peak_bytes'] / 1e6:.0f} MB so far: {found['sentence']}")
    assert says in found["sentence"]
    assert found["sentence"].endswith(".")
    assert "Traceback" not in found["sentence"] and str(Path.cwd()) not in found["sentence"]
    assert found["seconds"] < SECONDS
    assert found["peak_bytes"] < PEAK_BYTES
