"""What the folders promise: engines stay out of the web, files stay short, no path of a developer's machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.running_portal import ROOT

LONGEST_FILE = 450
PRODUCT = ("portal", "models_app", "inference")
ENGINES = ("tensorflow", "keras", "openvino", "onnxruntime", "tflite_runtime", "ai_edge_litert", "torch", "jax")
PRIVATE_FOLDERS = ("work", "home", "root", "Users", "mnt", "opt")

START_DJANGO = f"""
import json, sys, django
django.setup()
import portal.urls, portal.asgi, models_app.clusters, models_app.tasks
print(json.dumps(sorted(set(sys.modules) & set({ENGINES!r}))))
"""


def git(*arguments: str) -> list[str]:
    ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode in {0, 1}, ended.stderr  # 1: git grep found nothing
    return ended.stdout.splitlines()


def test_web_and_clusters_import_no_engine(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", START_DJANGO],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", "PORTAL_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == []


def test_the_same_look_finds_an_engine_that_was_imported() -> None:
    """The test above would be worth nothing if it never failed; json stands in for an engine."""
    look = START_DJANGO.replace("django.setup()", "").replace("import portal", "import json as portal #")
    ended = subprocess.run(
        [sys.executable, "-c", look.replace(repr(ENGINES), "('json',)")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert json.loads(ended.stdout) == ["json"], ended.stderr


def test_no_file_of_the_product_is_longer_than_a_reader_can_hold() -> None:
    lengths = {
        name: len((ROOT / name).read_text("utf-8").splitlines())
        for name in git("ls-files", *(f"{folder}/**.py" for folder in PRODUCT))
        if "/migrations/" not in name and (ROOT / name).exists()
    }

    too_long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    print(f"{len(lengths)} files; longer than {LONGEST_FILE} lines: {too_long or 'none'}")
    assert too_long == {}
    assert len(lengths) > 50


def test_no_tracked_file_names_a_folder_of_somebodys_machine() -> None:
    pattern = rf"(^|[^A-Za-z0-9_.~)}}/-])/({'|'.join(PRIVATE_FOLDERS)})/[A-Za-z0-9_.]"

    found = git("grep", "-nIE", pattern)

    assert [line for line in found if "/home/operator" not in line] == []  # an example in a test
