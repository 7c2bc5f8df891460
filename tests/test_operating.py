"""docs/operating.md does what it says: its block of nginx and its commands run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.conftest import SAMPLE
from tests.postgresql import postgresql, programs
from tests.running_portal import PASSWORD, ROOT, Api, RunningPortal, free_port, running_portal, wait_for

pytestmark = [pytest.mark.portal, pytest.mark.long]
PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")
NAME = "models.example.org"
Digit = Callable[[str], bytes]


def block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


# ---- behind nginx


@dataclass(frozen=True, slots=True)
class Proxied:
    portal: RunningPortal
    port: int
    folder: Path

    def ask(self, path: str, *arguments: str, source: str = "127.0.0.1") -> tuple[int, str]:
        """The status and the body. Every address of 127.0.0.0/8 is another client's."""
        ended = subprocess.run(
            [
                *("curl", "-sk", "--interface", source, "--resolve", f"{NAME}:{self.port}:127.0.0.1"),
                *("-b", self.folder / "cookies", "-c", self.folder / "cookies", "-w", "\n%{http_code}"),
                *(f"https://{NAME}:{self.port}{path}", *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        body, _, status = ended.stdout.rpartition("\n")
        return int(status or 0), body

    def ask_for_a_key(self, password: str, source: str) -> tuple[int, str]:
        given = json.dumps({"username": "admin", "password": password, "scope": "manage"})
        return self.ask("/api/token/", "-H", "Content-Type: application/json", "-d", given, source=source)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A portal behind the nginx of the page."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}"]
    subprocess.run([*make, "-keyout", "models.key", "-out", "models.pem"], cwd=folder, check=True, capture_output=True)
    with running_portal(
        folder / "data", PORTAL_HTTPS="1", PORTAL_ALLOWED_HOSTS=NAME, PORTAL_SAMPLE="0", PORTAL_SLOTS="0"
    ) as portal:
        server = block("nginx").replace("127.0.0.1:8000", f"127.0.0.1:{portal.port}")
        server = server.replace("listen 443", f"listen 127.0.0.1:{port}").replace("/etc/ssl", str(folder))
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;\nevents {{}}\n"
            f"http {{ access_log off; {' '.join(f'{kind}_temp_path {folder}/{kind};' for kind in kinds)}\n{server} }}\n"
        )
        nginx = subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            found = Proxied(portal, port, folder)
            wait_for(lambda: found.ask("/healthz")[0] == 200, 20, "nginx answers")
            yield found
        finally:
            nginx.terminate()
            nginx.wait(20)


needs_nginx = pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")


@needs_nginx
def test_through_the_nginx_of_the_page_a_browser_logs_in_and_a_program_uploads(proxied: Proxied) -> None:
    page = proxied.ask("/login/")[1]
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page)
    assert token is not None
    form = f"username=admin&password={PASSWORD}&csrfmiddlewaretoken={token[1]}"
    origin = f"https://{NAME}:{proxied.port}"

    logged_in, _ = proxied.ask("/login/", "-d", form, "-H", f"Origin: {origin}")
    key = json.loads(proxied.ask_for_a_key(PASSWORD, "127.0.0.1")[1])["token"]
    uploaded, _ = proxied.ask(
        "/api/models/", "-H", f"Authorization: Bearer {key}", "-F", "name=sent", "-F", f"file=@{SAMPLE}"
    )

    assert (logged_in, uploaded) == (302, 201)


@needs_nginx
def test_behind_the_nginx_of_the_page_who_guesses_locks_nobody_else_out(proxied: Proxied) -> None:
    guesses = [proxied.ask_for_a_key("wrong", "127.0.0.3")[0] for _ in range(10)]

    assert guesses == [401] * 10
    assert proxied.ask_for_a_key(PASSWORD, "127.0.0.3")[0] == 429
    assert proxied.ask_for_a_key(PASSWORD, "127.0.0.4")[0] == 201


@needs_nginx
def test_figures_are_not_told_through_the_nginx_of_the_page(proxied: Proxied) -> None:
    (proxied.folder / "cookies").unlink(missing_ok=True)

    assert proxied.ask("/metrics")[0] == 401
    assert requests.get(f"{proxied.portal.url}/metrics", timeout=30).status_code == 200


# ---- copies


needs_sqlite3 = pytest.mark.skipif(not shutil.which("sqlite3"), reason="needs the program sqlite3")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with `var` of a portal that has stopped, and a copy that was made while `digits` was loaded; a key."""
    folder = tmp_path_factory.mktemp("copied")
    with running_portal(folder / "var") as portal:
        api = portal.client()
        api.checked("digits")
        api.load("digits")
        run(block("copy"), folder)
    return folder, str(api.headers["Authorization"]).removeprefix("Bearer ")


def run(commands: str, folder: Path, **environment: str) -> None:
    python = f"{sys.executable} {ROOT / 'manage.py'}"
    ended = subprocess.run(
        ["bash", "-eu", "-c", commands.replace(".venv/bin/python manage.py", python)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def answers(portal: RunningPortal, key: str, picture: bytes) -> bool:
    """Whether the model that was loaded is loaded again, for who has a key from before."""
    api = Api(portal.url, key)
    wait_for(lambda: api.version("digits")["state"] == "loaded", 60, "digits is loaded again")
    return api.ask("digits", picture).status_code == 200


@needs_sqlite3
def test_a_copy_of_a_running_portal_is_restored_elsewhere(copied: tuple[Path, str], digit: Digit) -> None:
    folder, key = copied
    *commands, serve = block("restore").splitlines()

    run("\n".join(commands), folder)
    with running_portal(folder / "new") as portal:
        is_answered = answers(portal, key, digit("seven"))

    assert serve.endswith("manage.py serve")
    assert is_answered


@needs_sqlite3
@pytest.mark.skipif(programs() is None, reason="needs a PostgreSQL server")
def test_the_rows_of_sqlite_move_to_postgresql(copied: tuple[Path, str], digit: Digit) -> None:
    folder, key = copied
    with ExitStack() as stack:
        url = stack.enter_context(postgresql())
        commands = re.sub(r"postgres://\S+", url, block("move"))

        run(commands, folder, PORTAL_DATA_DIR=str(folder / "var"))
        portal = stack.enter_context(running_portal(folder / "var", DATABASE_URL=url))
        is_answered = answers(portal, key, digit("seven"))

    assert is_answered
