"""A setting that is hardly meant is explained; a sound one is not mentioned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_django import Settings

from portal.checks import check_settings
from tests.running_portal import ROOT, RunningPortal


def ids() -> list[str | None]:
    return [message.id for message in check_settings(None)]


@pytest.fixture(autouse=True)
def sound(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PORTAL_DATA_DIR = tmp_path
    monkeypatch.delenv("PORTAL_ALLOWED_HOSTS", raising=False)


def test_the_defaults_give_no_message() -> None:
    assert ids() == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_loopback_host_gives_no_message(settings: Settings, host: str) -> None:
    settings.PORTAL_HOST = host

    assert ids() == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "models.example.org"])
def test_a_host_that_others_reach_wants_its_names_and_tls(settings: Settings, host: str) -> None:
    settings.PORTAL_HOST = host

    assert ids() == ["portal.W001", "portal.W002"]


def test_a_reachable_host_with_names_and_tls_gives_no_message(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PORTAL_HOST, settings.PORTAL_HTTPS = "0.0.0.0", True
    monkeypatch.setenv("PORTAL_ALLOWED_HOSTS", "models.example.org")

    assert ids() == []


@pytest.mark.parametrize("name", ["http://a", "a:8000", "ex*mple", "*.example.org", "a/b", "[::1]:8000", "::1"])
def test_a_name_that_nobody_can_ask_for_is_said(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PORTAL_ALLOWED_HOSTS", f"models.example.org,{name}")

    [message] = check_settings(None)

    assert message.id == "portal.W006"
    assert message.msg.endswith(f": {name}.")


@pytest.mark.parametrize("name", ["*", ".example.org", "192.0.2.7", "[::1]", "a-host", "a,b"])
def test_a_name_that_can_be_asked_for_gives_no_message(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PORTAL_ALLOWED_HOSTS", name)

    assert ids() == []


def test_a_data_directory_that_is_a_file_is_an_error(settings: Settings, tmp_path: Path) -> None:
    settings.PORTAL_DATA_DIR = tmp_path / "file"
    settings.PORTAL_DATA_DIR.write_text("", "utf-8")

    assert ids() == ["portal.E001"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    assert ids() == ["portal.E001"]


def test_a_missing_import_directory_is_said(settings: Settings, tmp_path: Path) -> None:
    settings.PORTAL_IMPORT_DIR = tmp_path / "gone"

    assert ids() == ["portal.W003"]


def test_an_import_directory_that_is_there_gives_no_message(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings.PORTAL_IMPORT_DIR = tmp_path_factory.mktemp("imports")

    assert ids() == []


@pytest.mark.parametrize("place", [".", "..", "imports"])
def test_an_import_directory_around_the_data_or_in_it_is_said(settings: Settings, tmp_path: Path, place: str) -> None:
    (tmp_path / "imports").mkdir()
    settings.PORTAL_IMPORT_DIR = (tmp_path / place).resolve()

    assert ids() == ["portal.W005"]


def test_no_slots_are_said(settings: Settings) -> None:
    settings.PORTAL_SLOTS = 0

    assert ids() == ["portal.W004"]


def check(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")}
    return subprocess.run(
        [sys.executable, ROOT / "manage.py", "check", *arguments],
        env={**inherited, "PORTAL_DATA_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_deployment_checks_with_https_have_nothing_to_say_of_the_settings(tmp_path: Path) -> None:
    """That nobody else has either is for the gate: `make test` runs the same line with --fail-level WARNING."""
    ended = check(tmp_path, "--deploy", PORTAL_HTTPS="1")

    assert ended.returncode == 0, ended.stderr
    assert "(portal." not in ended.stderr
    assert "(security." not in ended.stderr


def test_manage_py_check_shows_the_message_and_what_to_do(tmp_path: Path) -> None:
    ended = check(tmp_path, PORTAL_SLOTS="0")

    assert "portal.W004" in ended.stderr
    assert "HINT: Set it to the number of models" in ended.stderr


def test_a_first_start_with_a_secret_key_of_ones_own_makes_the_data_directory(tmp_path: Path) -> None:
    ended = check(tmp_path / "new", PORTAL_SECRET_KEY="a-key-of-the-tests")

    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in (tmp_path / "new").iterdir()] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORTAL_SLOTS", "abc"),
        ("PORTAL_PORT", "99999"),
        ("PORTAL_SANDBOX", "maybe"),
        ("PORTAL_HTTPS", "perhaps"),
        ("PORTAL_DATA_DIR", "/dev/null"),
        ("PORTAL_DATA_DIR", "/proc/nothing"),
        ("PORTAL_DATA_DIR", "~nobody-has-this-name/data"),
        ("PORTAL_DATA_DIR", "/tmp/caf\udce9"),
        ("PORTAL_IMPORT_DIR", "~nobody-has-this-name"),
        ("PORTAL_SECRET_KEY", "caf\udce9"),
        ("DATABASE_URL", "rubbish"),
        ("DATABASE_URL", "oracle-of-delphi://host/name"),
        ("DATABASE_URL", "oracle://user:password@host/name"),
        ("DATABASE_URL", "mysql://user:password@host/name"),
        ("DATABASE_URL", "cockroach://user:password@host/name"),
        ("DATABASE_URL", "postgres://"),
        ("DATABASE_URL", "postgres://host/"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite://:memory:"),
        ("REDIS_URL", "rubbish"),
        ("REDIS_URL", "redis://host:port"),
        ("REDIS_URL", "redis://host/queue"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_sentence_with_its_name(tmp_path: Path, name: str, value: str) -> None:
    ended = check(tmp_path, **{name: value})

    assert ended.returncode == 1
    assert ended.stderr.startswith(name), ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("DATABASE_URL", "postgres://user:pa#ss@host/name"), ("REDIS_URL", "redis://:pa/ss@host/0")]
)
def test_who_does_not_quote_a_password_is_told_how(tmp_path: Path, name: str, value: str) -> None:
    ended = check(tmp_path, **{name: value})

    assert (ended.returncode, "in a password as %2F %23 %3F" in ended.stderr) == (1, True), ended.stderr


def test_a_data_directory_that_is_a_loop_of_links_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    ended = check(tmp_path / "loop")

    assert ended.returncode == 1
    assert ended.stderr.startswith("PORTAL_DATA_DIR is ") and len(ended.stderr.splitlines()) == 1, ended.stderr


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nonexistent/folder/portal.sqlite3",
        "sqlite:////dev/null",
        f"sqlite:///{ROOT / 'manage.py'}",
        "postgres://u:p@127.0.0.1:1/portal",
        "postgres://u:p@127.0.0.1:1/portal?no_such_option=1",
    ],
)
def test_a_database_that_cannot_be_used_is_a_sentence(tmp_path: Path, url: str) -> None:
    if url.startswith("postgres"):
        pytest.importorskip("psycopg")
    other = RunningPortal(tmp_path, DATABASE_URL=url)

    ended = other.manage("serve")

    assert ended.returncode == 1
    assert "Look at DATABASE_URL" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_broker_that_does_not_answer_is_a_sentence(tmp_path: Path) -> None:
    ended = RunningPortal(tmp_path, REDIS_URL="redis://127.0.0.1:1").manage("serve")

    assert ended.returncode == 1
    assert ended.stdout.startswith("Redis does not answer: Error 111") and "Look at REDIS_URL" in ended.stdout
    assert ended.stderr == ""


def test_an_address_of_another_machine_is_not_called_a_taken_port(tmp_path: Path) -> None:
    ended = RunningPortal(tmp_path, PORTAL_HOST="192.0.2.1").manage("serve")

    assert ended.returncode == 3
    assert "PORTAL_HOST" in ended.stdout + ended.stderr


def test_the_database_lies_in_the_data_directory_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "a#b ?c=1 %41"
    portal = RunningPortal(folder)

    shown = portal.manage("shell", "-v0", "-c", "from django.db import connection as c; print(c.settings_dict['NAME'])")

    assert shown.stdout.strip() == str(folder / "portal.sqlite3"), shown.stderr


@pytest.mark.parametrize(
    ("name", "value", "setting", "found"),
    [
        ("PORTAL_HOST", "fd00::5", "ALLOWED_HOSTS", "[fd00::5]"),
        ("REDIS_URL", "redis://host:6379/0", "REDIS_URL", "redis://host:6379/0?socket_timeout=10"),
        ("REDIS_URL", "unix:///run/redis.sock", "REDIS_URL", "unix:///run/redis.sock?socket_timeout=10"),
        ("REDIS_URL", "redis://host?a=b", "REDIS_URL", "redis://host?a=b&socket_timeout=10"),
        ("REDIS_URL", "redis://host?socket_timeout=3", "REDIS_URL", "redis://host?socket_timeout=3"),
        ("DATABASE_URL", "postgres://u:p@host/name", "DATABASES", "lock_timeout=20s"),
        ("DATABASE_URL", "postgres://u:p@host/name?connect_timeout=9", "DATABASES", "'connect_timeout': 9"),
    ],
)
def test_addresses_become_what_django_takes(tmp_path: Path, name: str, value: str, setting: str, found: str) -> None:
    portal = RunningPortal(tmp_path, **{name: value})

    shown = portal.manage("shell", "-v0", "-c", f"from django.conf import settings; print(settings.{setting})")

    assert found in shown.stdout, shown.stderr
