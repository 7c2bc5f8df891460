"""The README does what it says: its curl block runs against a real portal, its links and settings exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running_portal import PASSWORD, ROOT, RunningPortal

README = (ROOT / "README.md").read_text("utf-8")
CURL_LIMIT_S = 240
READS_A_SETTING = re.compile(r"""env\.\w+\(\s*"([A-Z_]+)""")
MADE_BY_THE_BROWSER_TESTS = {"docs/screenshot.png"}


def curl_block() -> str:
    found = re.search(r"<!-- curl:.*?-->\n```bash\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.portal
def test_the_curl_block_works_as_it_is_pasted(new_portal: Callable[..., RunningPortal]) -> None:
    portal = new_portal()

    ended = subprocess.run(
        ["bash", "-eu", "-c", curl_block()],
        cwd=ROOT,
        env={**os.environ, "PORTAL": portal.url, "PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=CURL_LIMIT_S,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    answers = [json.loads(line) for line in ended.stdout.splitlines() if line]
    asked = [[p["top"][0]["label"] for p in answer["predictions"]] for answer in answers if "predictions" in answer]
    (receipt,) = [answer for answer in answers if "process_exited" in answer]
    assert asked == [["7", "2"], ["4"], ["9"]]
    assert (receipt["model"], receipt["process_exited"], len(receipt["pids"])) == ("mine", True, 1)
    assert [version["model"] for version in answers[-1]["loaded"]] == ["digits"]


def test_every_setting_that_is_read_stands_in_the_readme() -> None:
    read = {
        name for path in (ROOT / "portal").rglob("*.py") for name in READS_A_SETTING.findall(path.read_text("utf-8"))
    }

    missing = {name for name in read if f"`{name}`" not in README}

    assert len(read) > 15
    assert missing == set()


def test_every_variable_of_the_readme_is_read() -> None:
    named = set(re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", README, re.MULTILINE))
    names = {name for cell in named for name in re.findall(r"[A-Z_]+", cell)}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "portal").rglob("*.py"))

    assert len(names) > 15
    assert {name for name in names if f'"{name}"' not in code} == set()


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text("utf-8"))

    gone = [link for link in links if not (ROOT / link).exists() and link not in MADE_BY_THE_BROWSER_TESTS]

    assert gone == []


def test_every_decision_has_its_four_parts() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))

    for page in pages:
        text = page.read_text("utf-8")
        parts = ["**Context.**", "**Choice.**", "**Cost.**", "**We would know we were wrong**"]
        assert [part for part in parts if part not in text] == [], page.name
    assert [Path(page).name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
