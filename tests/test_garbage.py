"""Collections pass over what was imported, and over nothing else."""

from __future__ import annotations

import subprocess
import sys

from tests.running_portal import ROOT

PROGRAM = """
import gc
from inference.engines import prepare_engine
before = gc.get_freeze_count()
prepare_engine("openvino")
imported = gc.get_freeze_count()
left_by_an_engine = [object() for _ in range(5)] + [[]]
prepare_engine("openvino")
print(before, imported, gc.get_freeze_count(), gc.isenabled())
"""


def test_an_engine_that_is_opened_again_leaves_what_is_there_to_be_collected() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    before, imported, again, is_enabled = done.stdout.split()

    assert int(before) < int(imported) == int(again)
    assert is_enabled == "True"
