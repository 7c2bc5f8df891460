"""What is free for a new process: of the host, and of the control group that it is started in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.faults.memory_group import memory_group
from tests.running_portal import ROOT

LIMIT_BYTES = 512 * 2**20
FILE_BYTES = 300 * 2**20
CODE = f"""
import os, sys
from inference.host.memory import free_bytes
sys.stdin.readline()
print(free_bytes())
with open(sys.argv[1], "wb") as file:
    for _ in range({FILE_BYTES} // 2**20):
        file.write(bytes(2**20))
    file.flush()
    os.fsync(file.fileno())
print(free_bytes())
"""


def test_a_service_with_a_limit_has_what_its_group_leaves_and_files_in_memory_take_nothing(tmp_path: Path) -> None:
    with memory_group(LIMIT_BYTES) as group:
        command = [sys.executable, "-c", CODE, str(tmp_path / "file")]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        group.take(process.pid)
        said, _ = process.communicate("go on\n", timeout=60)

    free, with_a_file = map(int, said.split())
    print(f"free: {free:,}, beside a file that is kept in memory: {with_a_file:,}")
    assert LIMIT_BYTES / 2 < free <= LIMIT_BYTES
    assert with_a_file > free - FILE_BYTES / 2
