"""Fixtures: a portal that is started once for the whole run, and one for tests that break theirs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

# Tests with Django's own test database must not touch the data of this checkout.
os.environ.setdefault("PORTAL_DATA_DIR", tempfile.mkdtemp(prefix="portal-tests-"))

import pytest

from inference.catalog import FORMATS
from tests import real_models, served_models
from tests.engine_fixtures import all_converted, write_models
from tests.people import People
from tests.running_portal import ROOT, Api, RunningPortal, running_portal
from tests.small_portal import SMALL_UPLOAD_BYTES, SmallPortal, small_disk

SAMPLE = ROOT / "samples" / "digits.keras"
DIGIT_LABELS = '["0","1","2","3","4","5","6","7","8","9"]'


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    """One portal that all well-behaved tests share. Its sample model `digits` is checked and not loaded."""
    with running_portal(tmp_path_factory.mktemp("portal") / "data") as started:
        started.client().checked("digits")
        yield started


@pytest.fixture(scope="session")
def people(portal: RunningPortal) -> People:
    """Users of the shared portal with few rights; see tests/people.py."""
    return People(portal)


@pytest.fixture(scope="session")
def small_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallPortal]:
    """One portal with small limits, an import folder and questions without a key; its disk is small where root runs."""
    with small_disk(tmp_path_factory.mktemp("small")) as (folder, is_small):
        imports = tmp_path_factory.mktemp("imports")
        with running_portal(
            folder / "data",
            PORTAL_IMPORT_DIR=str(imports),
            PORTAL_MAX_REQUEST_BYTES=str(2**20),
            PORTAL_MAX_UPLOAD_BYTES=str(SMALL_UPLOAD_BYTES),
            PORTAL_ANONYMOUS_PREDICT="1",
        ) as started:
            started.client().checked("digits")
            yield SmallPortal(started, imports, is_small)


@pytest.fixture
def new_portal(tmp_path: Path) -> Iterator[Callable[..., RunningPortal]]:
    """Makes portals for one test alone; `new_portal(PORTAL_SLOTS="2")`."""
    with ExitStack() as stack:
        count = 0

        def make(**environment: str) -> RunningPortal:
            nonlocal count
            count += 1
            return stack.enter_context(running_portal(tmp_path / f"data{count}", **environment))

        yield make


@pytest.fixture
def api(portal: RunningPortal) -> Api:
    """A client that may do everything."""
    return portal.client("manage")


@pytest.fixture
def digit() -> Callable[[str], bytes]:
    """`digit("seven")`: a picture of the sample."""
    return lambda name: (ROOT / "samples" / "images" / f"{name}.png").read_bytes()


@pytest.fixture(scope="session")
def served_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of seen.zip, pair.zip and mixed.zip; see tests/served_models.py."""
    return write_models("tests.served_models", tmp_path_factory.mktemp("served-models"), 120)


@pytest.fixture(scope="module")
def served(portal: RunningPortal, served_files: Path) -> Iterator[RunningPortal]:
    """The shared portal with `seen` (pictures) and `pair` (two inputs, two outputs) loaded."""
    api = portal.client("manage")
    looks = {"labels": "\n".join(served_models.LABELS), "preprocessing": '{"preset": "unit"}'}
    api.upload("seen", served_files / "seen.zip", engine="openvino", **looks)
    api.upload("pair", served_files / "pair.zip", engine="openvino")
    for name in ("seen", "pair"):
        api.load(name)
    yield portal
    for name in ("seen", "pair"):
        api.delete(f"/api/models/{name}/", params={"unload": "true"})


@pytest.fixture(scope="session")
def text_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of texts that one process with TensorFlow has written (about 15 s); see tests/text_models.py."""
    return write_models("tests.text_models", tmp_path_factory.mktemp("text-models"), 120)


@pytest.fixture(scope="session")
def engine_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that one process with TensorFlow has written (about 15 s); see tests/engine_models.py."""
    return write_models("tests.engine_models", tmp_path_factory.mktemp("engine-models"), 250)


@pytest.fixture(scope="session")
def fer_forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A real model, saved by an old Keras, converted to every format."""
    folder, source = tmp_path_factory.mktemp("fer"), real_models.fer_hdf5()
    forms = all_converted(folder, source, "hdf5", FORMATS["hdf5"].targets)
    assert all(not form.names for form in forms.values())
    return {target: form.path for target, form in forms.items()}
