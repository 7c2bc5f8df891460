"""One portal for all faults, with small models, and the table of figures at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults import figures, small_models
from tests.faults.invariants import is_answering
from tests.running_portal import Api, RunningPortal, running_portal, wait_for
from tests.small_portal import small_disk

SCALE = int(os.environ.get("PORTAL_TEST_SCALE", "1"))
KEPT = {"steady", "bench", "pictures"}
ADDER, BENCH = {"engine": "openvino"}, {"engine": "onnxruntime"}


@dataclass(frozen=True, slots=True)
class Files:
    """The folder of the small models. `adder(n)` answers x + n."""

    folder: Path

    def adder(self, number: int = 1) -> Path:
        path = self.folder / f"adder{number}.zip"
        return path if path.exists() else small_models.adder(path, number)

    @property
    def workbench(self) -> Path:
        return small_models.workbench(self.folder / "workbench.onnx")

    @property
    def pictures(self) -> Path:
        return small_models.pictures(self.folder / "pictures.onnx")

    def wide(self, megabytes: int) -> Path:
        return small_models.wide(self.folder / f"wide{megabytes}.onnx", megabytes)


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("small-models"))


@pytest.fixture(scope="package")
def disk_of_faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bool]]:
    """Where the data lie, and whether that is a small disk of its own, which takes the right to mount one."""
    with small_disk(tmp_path_factory.mktemp("faults")) as disk:
        yield disk


@pytest.fixture(scope="package")
def portal_of_faults(disk_of_faults: tuple[Path, bool], small_files: Files) -> Iterator[RunningPortal]:
    with running_portal(disk_of_faults[0] / "data", PORTAL_SAMPLE="0") as portal:
        api = portal.client()
        api.upload("steady", small_files.adder(), **ADDER)
        api.upload("bench", small_files.workbench, **BENCH, options='{"predict_timeout_s":20}')
        yield portal


@pytest.fixture
def faulty(portal_of_faults: RunningPortal) -> RunningPortal:
    """The portal of all faults, running, with `steady` (an adder) and `bench` (a workbench) loaded and answering."""
    if not portal_of_faults.is_running:
        portal_of_faults.start()
    api = portal_of_faults.client()
    for name in {model["name"] for model in api.get("/api/models/").json()["results"]} - KEPT:
        api.delete(f"/api/models/{name}/", params={"unload": "true"})  # of a test that failed before its end
    for name in ("steady", "bench"):
        api.load(name)
    wait_for(lambda: is_answering(api, "steady"), 60, "steady answers")
    return portal_of_faults


@pytest.fixture
def manager(faulty: RunningPortal) -> Api:
    """A client of that portal that may do everything."""
    return faulty.client()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if figures.FIGURES:
        terminalreporter.section("what each fault cost")
        for line in figures.table():
            terminalreporter.write_line(line)
