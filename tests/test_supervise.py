"""A worker that keeps an instance loaded, beside a database that does not take its changes."""

from __future__ import annotations

import dataclasses
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from inference.host.devices import Device
from inference.host.processes import identify
from inference.owner.reporting import Ready, Receipt, Vitals
from models_app.choices import InstanceState
from models_app.models import Conversion, Instance, ModelVersion, Transition
from models_app.services import database_retry
from models_app.services.instance_reporter import InstanceReporter
from models_app.services.supervise import claim, supervise
from tests.interleaved import just_before
from tests.refused_writes import refused
from tests.registry import make_version

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS, WISH = 'SET "last_load_seconds"', 'SET "replaces_older"'
OLDER_VERSIONS = '"number" < '
CONVERSIONS = 'FROM "models_app_conversion"'


@pytest.fixture
def reporter(settings: Any, tmp_path: Path) -> InstanceReporter:
    """Of version 2, which is to replace version 1."""
    settings.PORTAL_DATA_DIR = tmp_path
    make_version("digits", InstanceState.READY)
    [instance] = make_version("digits", InstanceState.QUEUED, replaces_older=True).instances.all()
    reporter = claim(instance.pk, instance.generation)
    assert reporter is not None
    return reporter


def test_a_model_that_serves_goes_on_where_nothing_more_can_be_written(
    reporter: InstanceReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_retry, "RETRY_FOR_S", 0)

    with refused(SECONDS, times=100), refused(OLDER_VERSIONS, times=100):
        assert reporter.ready(facts())

    assert states() == {1: InstanceState.READY, 2: InstanceState.READY}
    assert ModelVersion.objects.get(number=2).replaces_older, "the wish is kept for the next time that it is ready"


def test_what_is_replaced_is_unloaded_as_soon_as_the_database_takes_it(reporter: InstanceReporter) -> None:
    with refused(OLDER_VERSIONS, times=1), refused(WISH, times=1):
        assert reporter.ready(facts())

    assert states() == {1: InstanceState.UNLOADING, 2: InstanceState.READY}
    assert not ModelVersion.objects.get(number=2).replaces_older


def test_a_failure_is_written_although_the_wish_to_replace_cannot_be_taken_back(
    reporter: InstanceReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_retry, "RETRY_FOR_S", 0)

    with refused(WISH, times=100):
        reporter.failed("It does not load.")

    assert states() == {1: InstanceState.READY, 2: InstanceState.FAILED}


def test_the_end_of_an_unload_waits_for_the_database(reporter: InstanceReporter) -> None:
    reporter.ready(facts())
    ModelVersion.objects.get(number=2).instances.update(state=InstanceState.UNLOADING)

    with refused('FROM "models_app_instance"', times=2):
        reporter.stopped(Receipt())

    assert states()[2] == InstanceState.STOPPED


def test_history_names_the_memory_that_came_back_as_the_receipt_does(reporter: InstanceReporter) -> None:
    reporter.ready(facts())
    ModelVersion.objects.get(number=2).instances.update(state=InstanceState.UNLOADING)

    reporter.stopped(Receipt(seconds=0.04, memory_freed_bytes=365_700_000))

    assert Transition.objects.latest("pk").reason == "Unloaded in 0.04 s; 366 MB came back."


@pytest.mark.parametrize("is_converted", [True, False], ids=["converted-before", "converted-meanwhile"])
def test_a_load_that_needs_a_converted_file_waits_for_the_database(
    reporter: InstanceReporter, monkeypatch: pytest.MonkeyPatch, is_converted: bool
) -> None:
    monkeypatch.setattr(database_retry, "RETRY_EVERY_S", 0.01)
    version = reporter.instance.version
    version.engine_selected = "openvino"

    with ExitStack() as outage:

        def go_away() -> None:
            Conversion.objects.create(version=version, format="openvino", sentence="The operation X cannot be had.")
            outage.enter_context(refused(CONVERSIONS, times=2))

        if is_converted:
            go_away()
        else:
            outage.enter_context(just_before('SET "state_detail"', go_away))
        supervise(reporter, None)

    detail = Instance.objects.get(pk=reporter.instance.pk).state_detail
    assert detail == "It cannot run in openvino: The operation X cannot be had."


def test_a_load_that_meets_a_database_that_stays_away_has_not_failed(
    reporter: InstanceReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker ends; then it is taken up again."""
    monkeypatch.setattr(database_retry, "RETRY_FOR_S", 0)

    with refused(CONVERSIONS, times=1), pytest.raises(SystemExit):
        reporter.instance.version.engine_selected = "openvino"
        supervise(reporter, None)

    assert states()[2] == InstanceState.LOADING


def test_a_process_that_has_ended_takes_no_memory(reporter: InstanceReporter) -> None:
    reporter.ready(facts())
    reporter.restarting("It ended.")

    assert Instance.objects.get(pk=reporter.instance.pk).memory_bytes is None


def test_figures_that_the_database_does_not_take_end_no_model_and_are_written_later(reporter: InstanceReporter) -> None:
    reporter.ready(facts())
    figures = Vitals(requests=3)

    with refused("_timeout", times=1) as asked:  # before the write, on the connection that is gone
        reporter.alive(figures)
    reporter.written_at = 0.0
    reporter.alive(figures)

    assert asked
    assert ModelVersion.objects.get(number=2).instances.get().requests == 3


def test_figures_that_cannot_be_measured_end_no_model(reporter: InstanceReporter) -> None:
    reporter.device = Driver().gpus()[0]
    reporter.loading(facts().runner, 1)
    reporter.ready(dataclasses.replace(facts(), device="gpu:0"))
    reporter.nvml = LostDriver()

    reporter.alive(Vitals(requests=3))

    assert states()[2] == InstanceState.READY


def test_it_is_told_why_a_change_waits_but_not_at_every_try(
    reporter: InstanceReporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database_retry, "RETRY_EVERY_S", 0.01)

    with refused("models_app_instance", times=5):
        reporter.restarting("It ended.")

    assert [record.message for record in caplog.records if record.name == "portal.database"] == [
        "the database did not take a change; trying again: database is locked"
    ]


class Driver:
    """NVML of a machine with two GPUs, of which the second has more room."""

    def gpus(self) -> list[Device]:
        return [Device(f"gpu:{i}", "gpu", "Accelerator", 9 * 10**9, (i + 1) * 10**9, f"GPU-{i}") for i in (0, 1)]

    def used_bytes(self, device: Device) -> int | None:
        return 10**9 if device.kind == "gpu" else None

    def process_bytes(self, device: Device, pid: int) -> int | None:
        return 700 * 10**6 if device.id == "gpu:1" else None


class LostDriver(Driver):
    def process_bytes(self, device: Device, pid: int) -> int | None:
        raise RuntimeError("the driver is gone")


@pytest.mark.parametrize(
    ("engine", "said", "device", "note"),
    [
        ("tensorflow", "gpu:0", "gpu:1", ""),  # a runner sees one GPU and calls it the first
        ("tensorflow", "cpu", "cpu", "gpu:0 is there, but the engine runs on the CPU."),
        ("openvino", "cpu", "cpu", "gpu:0 is there, but the engine runs on the CPU."),
    ],
)
def test_a_model_is_where_its_engine_can_use_the_device(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, said: str, device: str, note: str
) -> None:
    settings.PORTAL_DATA_DIR = tmp_path
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("models_app.services.supervise.load_nvml", Driver)
    [instance] = make_version("digits", InstanceState.QUEUED, engine_selected=engine).instances.all()
    reporter = claim(instance.pk, instance.generation)
    assert reporter is not None

    reporter.ready(dataclasses.replace(facts(), device=said))

    instance.refresh_from_db()
    assert reporter.device.id == ("gpu:1" if engine == "tensorflow" else "cpu")
    assert (instance.device, instance.state_detail) == (device, note)
    assert instance.device_memory_bytes == (700 * 10**6 if device == "gpu:1" else None)


def facts() -> Ready:
    me = identify(os.getpid())
    assert me is not None
    return Ready(me, Path("socket"), "cpu", "tensorflow", "f32", "full", 0.5, 10**6)


def states() -> dict[int, str]:
    return {version.number: version.instances.get().state for version in ModelVersion.objects.all()}
