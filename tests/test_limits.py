"""A runner's limits hold in a fresh process, and cannot be lifted by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def in_a_child(code: str, cwd: Path = ROOT) -> object:
    """Run Python code in a fresh process; it prints one JSON value."""
    prelude = f"import json, resource, sys; sys.path.insert(0, {str(ROOT)!r})\n"
    prelude += "from inference.runner import limits\n"
    ended = subprocess.run([sys.executable, "-c", prelude + code], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_no_core_files_and_few_descriptors() -> None:
    code = """
limits.OPEN_FILES = 64
limits.apply_limits()
print(json.dumps([resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""
    assert in_a_child(code) == [[0, 0], [64, 64]]


def test_a_file_ends_at_its_limit_with_an_error(tmp_path: Path) -> None:
    code = """
import errno
limits.FILE_SIZE_BYTES = 100_000
limits.apply_limits()
try:
    with open("large", "wb", buffering=0) as file:
        while file.write(bytes(60_000)):
            pass
except OSError as error:
    print(json.dumps(error.errno == errno.EFBIG))
"""
    assert in_a_child(code, tmp_path) is True
    assert (tmp_path / "large").stat().st_size == 100_000


def test_address_space_is_not_limited() -> None:
    code = """
before = resource.getrlimit(resource.RLIMIT_AS)
limits.apply_limits()
print(json.dumps(resource.getrlimit(resource.RLIMIT_AS) == before))
"""
    assert in_a_child(code) is True


@pytest.mark.parametrize(("present", "kept"), [(32, [32, 32]), (4096, [128, 128])])
def test_the_tighter_of_two_limits_holds(present: int, kept: list[int]) -> None:
    code = f"""
resource.setrlimit(resource.RLIMIT_NOFILE, ({present}, {present}))
limits.OPEN_FILES = 128
limits.apply_limits()
print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""
    assert in_a_child(code) == kept


def test_the_kernel_ends_a_runner_before_the_portal() -> None:
    code = """
from pathlib import Path
score = Path("/proc/self/oom_score_adj")
before = int(score.read_text())
limits.OOM_SCORE_ADJ = max(before, 700)
limits.apply_limits()
print(json.dumps(int(score.read_text()) == max(before, 700)))
"""
    assert in_a_child(code) is True
