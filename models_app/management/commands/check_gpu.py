"""`manage.py check_gpu`: prove unloading on a machine with a GPU. Runs with or without a running portal."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from inference.gpu_check import check_gpu
from inference.gpu_check.sample_models import SampleModels
from inference.host.devices import list_devices, load_nvml


class Command(BaseCommand):
    help = (
        "Load two models on the GPU and unload one while the other is asked. Exits with 0 if the other kept answering "
        "and 90 % of the memory came back, with 1 if not, with 2 where there is no GPU."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        nvml = load_nvml()
        with SampleModels() as models:
            code = check_gpu(nvml, list_devices(nvml), models.start, self._say)
        raise SystemExit(code)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
