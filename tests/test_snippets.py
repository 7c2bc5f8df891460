"""The snippets on the try page and on a version's page, pasted as they stand: each asks this very model."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running_portal import RunningPortal

pytestmark = pytest.mark.portal

_CODE = re.compile(r'<pre class="s-(\w+)"[^>]*><code>(.*?)</code></pre>', re.DOTALL)


def shown(page: str) -> dict[str, str]:
    return {name: html.unescape(code) for name, code in _CODE.findall(page)}


@pytest.fixture(scope="module")
def asked(served: RunningPortal, served_files: Path) -> Iterator[RunningPortal]:
    """With `mixed` loaded too, whose inputs are several and large."""
    api = served.client("manage")
    api.upload("mixed", served_files / "mixed.zip", engine="openvino")
    api.load("mixed")
    yield served
    api.delete("/api/models/mixed/", params={"unload": "true"})


@pytest.mark.parametrize("where", ["/try/{name}/", "/admin/models_app/modelversion/{pk}/change/"])
@pytest.mark.parametrize(("name", "picture"), [("seen", True), ("pair", False), ("mixed", False)])
def test_each_snippet_runs_and_is_answered(
    asked: RunningPortal, digit: Callable[[str], bytes], tmp_path: Path, where: str, name: str, picture: bool
) -> None:
    browser = asked.browser()
    rows = browser.get("/admin/models_app/modelversion/").text
    pk = re.search(rf'/admin/models_app/modelversion/(\d+)/[^"]*"[^>]*>\s*(?:<[^>]*>)*{name}\b', rows)
    assert pk is not None
    if picture:
        (tmp_path / "picture.png").write_bytes(digit("seven"))

    codes = shown(browser.get(where.format(name=name, pk=pk[1])).text)

    assert list(codes) == ["curl", "python", "triton", "tfs"]
    token = str(asked.client("predict").headers["Authorization"]).split()[1]
    for kind, code in codes.items():
        is_shell = kind in {"curl", "tfs"}
        if is_shell and None in (shutil.which("curl"), shutil.which("python3")):
            continue
        done = subprocess.run(
            ["sh", "-c", code] if is_shell else [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "KEY": token, "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (kind, code, done.stderr)
        assert "error" not in done.stdout, (kind, done.stdout)
        assert re.search(r"\d\.\d", done.stdout) or re.search(r"\[\s*0\.", done.stdout), (kind, done.stdout)
