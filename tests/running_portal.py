"""A real portal for tests: `manage.py serve` with its own data directory and port, and a small client for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "a-password-of-the-tests"
START_LIMIT_S = 120.0
STOP_LIMIT_S = 35.0
ENGINE_OF_SUFFIX = {
    ".keras": "tensorflow",
    ".h5": "tensorflow",
    ".hdf5": "tensorflow",
    ".pb": "tensorflow",
    ".onnx": "onnxruntime",
    ".tflite": "litert",
}

T = TypeVar("T")


def wait_for(look: Callable[[], T | None], limit_s: float, what: str) -> T:
    """What `look` answers once it is true; fails with `what` after `limit_s`. Errors of the connection count as no."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if found := look():
                return found
        except requests.ConnectionError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"after {limit_s:.0f} s still not: {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Api(requests.Session):
    """A session with a key, whose addresses are relative to `/api/`."""

    def __init__(self, url: str, token: str | None) -> None:
        super().__init__()
        self.base = url
        self.trust_env = False
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        path = url.decode() if isinstance(url, bytes) else url
        kwargs.setdefault("timeout", 130)
        return super().request(method, path if path.startswith("http") else f"{self.base}{path}", *args, **kwargs)

    # ---- what tests do all the time

    def upload(self, name: str, path: Path, **fields: str) -> dict[str, Any]:
        """Upload a new model and wait for the end of its check; returns the VERSION.

        With the engine that made the file, unless one is named: `auto` measures in the background.
        """
        fields.setdefault("engine", ENGINE_OF_SUFFIX.get(path.suffix, "auto"))
        with path.open("rb") as file:
            answer = self.post("/api/models/", data={"name": name, **fields}, files={"file": (path.name, file)})
        assert answer.status_code == 201, answer.text
        return self.checked(name)

    def checked(self, name: str, number: int = 1) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            version: dict[str, Any] = self.version(name, number)
            return version if version["status"] != "checking" else None

        return wait_for(look, 120, f"{name} v{number} checked")

    def version(self, name: str, number: int = 1) -> dict[str, Any]:
        answer = self.get(f"/api/models/{name}/versions/{number}/")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def load(self, name: str, wait: float = 120, **query: Any) -> dict[str, Any]:
        """Load and wait until it is loaded; returns the VERSION."""
        answer = self.post(f"/api/models/{name}/load/", params={"wait": wait, **query})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def unload(self, name: str) -> dict[str, Any]:
        answer = self.post(f"/api/models/{name}/unload/")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ask(self, name: str, *pictures: bytes, **query: Any) -> requests.Response:
        files = [("image", (f"{i}.png", picture)) for i, picture in enumerate(pictures)]
        return self.post(f"/api/models/{name}/predict/", files=files, params=query)

    def pid(self, name: str, number: int = 1) -> int:
        """The process that holds the model."""
        return int(self.version(name, number)["instances"][0]["pid"])


class RunningPortal:
    """One started portal. `start` and `stop` may be called again and again on the same data."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.root = ROOT
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._tokens: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PORTAL_") and k != "DATABASE_URL"}
        return inherited | {
            "PORTAL_DATA_DIR": str(self.data_dir),
            "PORTAL_PORT": str(self.port),
            "PORTAL_ADMIN_PASSWORD": PASSWORD,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            **self._environment,
        }

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> RunningPortal:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(self.root / "manage.py"), "serve"],
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._is_ready, START_LIMIT_S, f"the portal ready; its log:\n{self.log()[-3000:]}")
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"serve ended with {self._process.returncode}:\n{self.log()[-3000:]}"
        return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit code and the seconds it took. Fails where it takes longer than STOP_LIMIT_S."""
        assert self._process is not None
        began = time.monotonic()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(STOP_LIMIT_S + 5)
        return code, time.monotonic() - began

    def processes(self) -> list[psutil.Process]:
        """Every living process of this portal, known by its data directory or as a descendant of `serve`."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                arguments = process.cmdline()
                if process.environ().get("PORTAL_DATA_DIR") == str(self.data_dir) or (
                    any(argument.startswith("inference.") for argument in arguments)
                    and str(self.data_dir) in process.cwd()
                ):
                    found[process.pid] = process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return list(found.values())

    def runners(self) -> list[psutil.Process]:
        return self.children_at("inference.runner")

    def web(self) -> list[psutil.Process]:
        """The processes of the web server."""
        return self.children_at("run_web")

    def spares(self) -> list[psutil.Process]:
        """The runners that hold no model, once they have imported the engine and rest for a second."""
        return [
            p
            for p in self.runners()
            if "/spare-" in p.cwd()
            and "tensorflow" in Path(f"/proc/{p.pid}/maps").read_text()
            and p.cpu_percent(1.0) < 2
        ]

    def children_at(self, module: str) -> list[psutil.Process]:
        """The processes that work for this portal at this Python module, or at one below it."""
        return [p for p in self.processes() if any(word.startswith(module) for word in _words(p))]

    def kill_everything(self) -> None:
        """SIGKILL to every process of this portal at once."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        assert self._process is not None
        self._process.wait(10)

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def client(self, scope: str | None = "manage") -> Api:
        """A client with a key of the administrator's; None: anonymous."""
        if scope is not None and scope not in self._tokens:
            answer = requests.post(
                f"{self.url}/api/token/",
                json={"username": "admin", "password": PASSWORD, "scope": scope},
                timeout=30,
            )
            assert answer.status_code == 201, answer.text
            self._tokens[scope] = answer.json()["token"]
        return Api(self.url, self._tokens.get(scope) if scope else None)

    def browser(self) -> Api:
        """A client that is logged in as the administrator by the login page, as a browser without a script is."""
        browser = Api(self.url, None)
        browser.get("/login/")
        fields = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        answer = browser.post("/login/", data=fields, allow_redirects=False)
        assert answer.status_code == 302, answer.text
        return browser

    def manage(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` on the same data."""
        return subprocess.run(
            [sys.executable, str(self.root / "manage.py"), *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


@contextmanager
def running_portal(data_dir: Path, **environment: str) -> Iterator[RunningPortal]:
    portal = RunningPortal(data_dir, **environment)
    try:
        yield portal.start()
    finally:
        if portal._process is not None:
            try:
                portal.stop()
            finally:
                portal.kill_everything()
