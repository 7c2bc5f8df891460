"""Starts the rivals of benchmarks/rivals/ on ports of their own."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import environments
from benchmarks.contest.contestants import Loop, Post, Served
from benchmarks.contest.processes import running
from tests.running_portal import free_port

RIVALS = environments.RIVALS
JPEG = (("Content-Type", "image/jpeg"),)
JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Rival:
    """`environment` names its requirements; `command` gives the arguments of its Python for a port and a folder."""

    name: str
    environment: str
    command: Callable[[int, Path], list[str]]
    path: str = "/classify"
    form: str = "plain"
    headers: Sequence[tuple[str, str]] = JPEG
    body: Callable[[bytes], bytes] = bytes


def _litserve(port: int, folder: Path) -> list[str]:
    return [str(RIVALS / "litserve_server.py")]


def _flask(port: int, folder: Path) -> list[str]:
    return [str(RIVALS / "flask_origin.py")]


def _gunicorn(port: int, folder: Path) -> list[str]:
    return [
        "-m", "gunicorn", "gunicorn_openvino:application", "--bind", f"127.0.0.1:{port}", "--workers", "1",
        "--threads", "4", "--worker-class", "gthread", "--keep-alive", "75", "--timeout", "0",
        "--log-level", "error", "--worker-tmp-dir", str(folder),
    ]  # fmt: skip


def _bentoml(port: int, folder: Path) -> list[str]:
    return ["-m", "bentoml", "serve", "bentoml_service:Pictures", "--host", "127.0.0.1", "--port", str(port)]


def _mlserver(port: int, folder: Path) -> list[str]:
    settings = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(),
        "parallel_workers": 2, "debug": False, "metrics_endpoint": None, "gzip_enabled": False,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "pictures", "implementation": "mlserver_runtime.Pictures"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return ["-c", "from mlserver.cli import main; main()", "start", str(folder)]


def _in_base64(picture: bytes) -> bytes:
    text = base64.b64encode(picture).decode()
    return json.dumps({"inputs": [{"name": "picture", "shape": [1], "datatype": "BYTES", "data": [text]}]}).encode()


ALL = (
    Rival("gunicorn, the model in its process: 1 worker, 4 threads", "gunicorn", _gunicorn),
    Rival("LitServe, 2 workers", "litserve", _litserve, path="/predict"),
    Rival("BentoML, 2 workers", "bentoml", _bentoml),
    Rival(
        "MLServer, 2 workers, V2 in JSON", "mlserver", _mlserver,
        "/v2/models/pictures/infer", "two outputs", JSON, _in_base64,
    ),
    Rival("the Flask design of the origin", "flask", _flask),
)  # fmt: skip


@contextmanager
def started(rival: Rival, material: Path, folder: Path) -> Iterator[Served]:
    """The rival, warm: each request was answered once. Raises CannotInstall, or AssertionError for wrong answers."""
    python = environments.environment(rival.environment)
    right = json.loads((material / "answers.json").read_text())["pictures"]
    bodies = [rival.body(path.read_bytes()) for path in sorted(material.glob("*.jpg"))]
    port = free_port()
    own = folder / rival.environment
    own.mkdir()
    environment = {
        "BENCH_MATERIAL": str(material), "BENCH_PORT": str(port), "PYTHONPATH": str(RIVALS), "HOME": str(own),
        "PYTHONDONTWRITEBYTECODE": "1", "BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(own),
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }  # fmt: skip
    log = folder / f"{rival.environment}.log"
    with running([str(python), *rival.command(port, own)], own, environment, log) as process:
        served = Served(rival.name, port, Post(rival.path, bodies, right, rival.form, rival.headers), process.pid)
        try:
            served.await_right_answers(process)
        except AssertionError:
            print(log.read_text()[-3000:], file=sys.stderr, flush=True)
            raise
        yield served


@contextmanager
def limit(engine: str, name: str, material: Path, folder: Path) -> Iterator[Loop]:
    """The loop in one process, with the portal's own libraries."""
    environment = {"BENCH_MATERIAL": str(material), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(RIVALS / "in_process.py"), engine]
    with running(command, folder, environment, folder / f"in-process-{engine}.log", stdin=-1, stdout=-1) as process:
        loop = Loop(name, process)
        loop.await_ready()
        yield loop
