"""The catalog agrees with itself and with what stands beside it, and may be imported anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from inference.catalog import ENGINES, FORMATS, FormatName
from inference.engines import EngineSettings, ModelUnusable, open_engine
from inference.options import PRECISIONS
from tests.running_portal import ROOT


def test_it_imports_nothing_but_the_standard_library() -> None:
    look = "import json, sys, inference.catalog; print(json.dumps([*sys.modules]))"
    ended = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    libraries = {name.split(".")[0] for name in json.loads(ended.stdout)} - sys.stdlib_module_names
    assert {name for name in libraries if not name.startswith("_")} == {"inference"}


def test_every_format_has_a_name_that_mypy_knows() -> None:
    assert list(FORMATS) == list(get_args(FormatName))


def test_every_engine_has_a_file_and_known_precisions() -> None:
    for name, engine in ENGINES.items():
        assert (ROOT / "inference" / "engines" / f"{name}.py").is_file()
        assert engine.precisions[0] == "f32" and set(engine.precisions) <= set(PRECISIONS)


def test_what_an_engine_cannot_open_is_converted_to_what_it_can() -> None:
    for name, engine in ENGINES.items():
        if engine.target:
            assert name in FORMATS[engine.target].direct_engines
    for kind in FORMATS.values():
        assert all(ENGINES[name].target in kind.targets for name in kind.converting_engines)
        assert all(FORMATS[target].download_ending for target in kind.targets)
        assert set(kind.engines) <= set(ENGINES)


def test_an_engine_is_not_given_a_file_that_it_does_not_open() -> None:
    with pytest.raises(ModelUnusable, match="does not open SavedModel files; they are converted first"):
        open_engine("litert", Path("model.archive"), "saved_model", EngineSettings())
