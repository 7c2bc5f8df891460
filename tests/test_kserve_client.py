"""KServe's InferenceRESTClient, unmodified, with V1 and V2.

It needs other versions of what the portal needs too, so it lives in a virtual environment of its own, made once in the
cache of the tests. Without the package index the test is skipped, under CI=true it fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import real_models
from tests.running_portal import ROOT, RunningPortal
from tests.served_models import scores

pytestmark = [pytest.mark.portal, pytest.mark.long]

REQUIREMENT = "kserve==0.21.0"
INSTALL_LIMIT_S = 900


@pytest.fixture(scope="module")
def kserve_python() -> Path:
    """The Python of an environment that has the client."""
    return real_models.environment_with(REQUIREMENT, limit_s=INSTALL_LIMIT_S)


@pytest.mark.timeout(INSTALL_LIMIT_S + 300)
def test_kserves_client_asks_with_v1_and_v2(
    served: RunningPortal, kserve_python: Path, digit: Callable[[str], bytes], tmp_path: Path
) -> None:
    picture = tmp_path / "seven.png"
    picture.write_bytes(digit("seven"))
    key = str(served.client("predict").headers["Authorization"])

    done = subprocess.run(
        [str(kserve_python), str(ROOT / "tests" / "kserve_calls.py"), served.url, key, str(picture)],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    right = scores(np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1))
    best = served.client().ask("seen", digit("seven"), top=3).json()["predictions"][0]["top"]
    pictured = [score for _, score in sorted((row["index"], row["score"]) for row in best)]
    v1, v2 = told["v1"], told["v2"]
    assert [v2[name] for name in ("live", "ready", "model", "nobody")] == [True, True, True, False]
    np.testing.assert_allclose(v2["json"], right, atol=1e-5)
    np.testing.assert_allclose(v2["binary"], right, atol=1e-5)
    np.testing.assert_allclose(v2["image"], [pictured], atol=1e-6)
    assert v1["live"] is True and v1["model"] is True
    np.testing.assert_allclose(v1["rows"]["predictions"], right, atol=1e-5)
    np.testing.assert_allclose(v1["image"]["predictions"], [pictured], atol=1e-6)
    print(f"asked with {REQUIREMENT} on Python {sys.version_info.major}.{sys.version_info.minor}")
