"""What must hold after every fault, seen from outside: by REST, in /proc, in the folders of the data directory.

I1 each accepted request gets exactly one answer within its limit; I2 at most one live runner for each instance; I3 the
database tells the truth; I4 nothing is left of what has ended; I5 other models go on; I6 a failed load removes nothing
that served; I7 no marker; I8 an answer names the version that made it.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from portal.datadir import socket_directory
from tests.faults.small_models import added, asked
from tests.running_portal import Api, RunningPortal, wait_for

TRUTH_LIMIT_S = 30.0  # 10 s on a machine with nothing else to do
SAMPLE_EVERY_S = 0.1
ASK_EVERY_S = 0.02
BROKEN, REFUSED = 0, -1
LIVE = frozenset({"queued", "loading", "ready", "restarting", "unloading"})
_INSTANCE = re.compile(r"/run/instance-(\d+)/")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and its answer; status BROKEN where there was none, REFUSED where nobody listened."""

    status: int
    seconds: float
    body: Any


@dataclass(slots=True)
class Bystander:
    """Asks one model over and over, and counts. Its file is an adder of its own version number."""

    api: Api
    name: str
    answers: list[Asked] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._ask_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        assert self._thread is not None
        self._thread.join(60)

    def _ask_on(self) -> None:
        while not self._is_over.wait(ASK_EVERY_S):
            self.answers.append(ask(self.api, self.name, asked()))

    @property
    def failures(self) -> list[Asked]:
        """What was accepted and not answered with 200."""
        return [answer for answer in self.answers if answer.status not in {200, REFUSED}]

    @property
    def p99_ms(self) -> float:
        ordered = sorted(answer.seconds for answer in self.answers)
        return ordered[int(0.99 * (len(ordered) - 1))] * 1000 if ordered else 0.0

    @property
    def misnamed(self) -> list[Any]:
        """I8: answers whose number is not the version that they name."""
        good = (answer.body for answer in self.answers if answer.status == 200)
        return [body for body in good if body["model"] != self.name or added(body) != body["version"]]


def ask(api: Api, name: str, body: dict[str, Any], *, timeout: float = 60) -> Asked:
    """One request for tensors."""
    return answered(lambda: api.post(f"/api/models/{name}/predict/", json=body, timeout=timeout))


def answered(send: Callable[[], requests.Response]) -> Asked:
    """One request; no exception for a connection that breaks."""
    began = time.monotonic()
    try:
        answer = send()
        return Asked(answer.status_code, time.monotonic() - began, answer.json() if answer.content else None)
    except (requests.RequestException, ValueError) as error:
        status = REFUSED if "Connection refused" in str(error) else BROKEN
        return Asked(status, time.monotonic() - began, None)


@dataclass(slots=True)
class Doubles:
    """I2: counts the living runners of each instance in /proc, several times a second."""

    data_dir: Path
    found: list[str] = field(default_factory=list)
    samples: int = 0
    _is_over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        assert self._thread is not None
        self._thread.join(10)

    def _look_on(self) -> None:
        while not self._is_over.wait(SAMPLE_EVERY_S):
            counted = Counter(runners_by_pid(self.data_dir).values())
            self.samples += 1
            self.found += [f"instance {number}: {count} runners" for number, count in counted.items() if count > 1]


def runners_by_pid(data_dir: Path) -> dict[int, int]:
    """The instance of each living runner of this portal: a runner works in its instance's folder."""
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            here = str((process / "cwd").readlink())
            if here.startswith(str(data_dir)) and (match := _INSTANCE.search(here)):
                arguments = (process / "cmdline").read_bytes().split(b"\0")
                if b"inference.runner" in arguments:  # between fork and exec it is still its owner
                    found[int(process.name)] = int(match[1])
        except OSError:
            continue
    return found


@dataclass(slots=True)
class Watch:
    """A portal under a fault. `check` fails with what was broken; call it when the fault is over."""

    portal: RunningPortal
    bystander: Bystander
    doubles: Doubles
    may_be_away: bool = False
    """Whether the fault takes the web or the bystander's own process: then its failures are counted only."""

    def check(self) -> None:
        api = self.portal.client()
        becomes_empty(lambda: lies(self.portal, api), "I3: the database does not tell the truth")
        becomes_empty(lambda: left_behind(self.portal, api), "I4: something is left behind")
        seen = len(self.bystander.answers)
        wait_for(lambda: len(self.bystander.answers) > seen + 5 or None, 60, "the bystander asks on")
        self.bystander.stop()
        self.doubles.stop()
        assert self.doubles.found == [], "I2: more than one runner for an instance"
        assert self.bystander.misnamed == [], "I8: an answer names another version than made it"
        assert not (self.portal.data_dir.parent / "marker").exists(), "I7: code of a model ran"
        if not self.may_be_away:
            assert all(answer.status != REFUSED for answer in self.bystander.answers)
            failures = self.bystander.failures
            assert failures == [], f"I5: another model stopped answering, {len(failures)} times: {failures[:3]}"


@contextlib.contextmanager
def watched(portal: RunningPortal, bystander: str, *, may_be_away: bool = False) -> Iterator[Watch]:
    """Watch from here on; all invariants are checked at the end of the block."""
    watch = Watch(portal, Bystander(portal.client(), bystander), Doubles(portal.data_dir), may_be_away)
    watch.bystander.start()
    watch.doubles.start()
    try:
        yield watch
        watch.check()
    finally:
        watch.bystander.stop()
        watch.doubles.stop()


def becomes_empty(look: Callable[[], list[str]], what: str) -> None:
    """Look until nothing is found any more; fails with what is still found after TRUTH_LIMIT_S."""
    deadline = time.monotonic() + TRUTH_LIMIT_S
    while found := look():
        assert time.monotonic() < deadline, f"{what}: {found}"
        time.sleep(0.05)


def lies(portal: RunningPortal, api: Api) -> list[str]:
    """I3: where the rows and /proc disagree."""
    rows = [instance for version in all_versions(api) for instance in version["instances"]]
    running = runners_by_pid(portal.data_dir)
    found = [
        f"instance {row['id']} is {row['state']} as process {row['pid']}, which holds {running.get(row['pid'])}"
        for row in rows
        if row["state"] == "ready" and running.get(row["pid"]) != row["id"]
    ]
    known = {row["id"] for row in rows if row["state"] in LIVE}
    return found + [f"process {pid} holds instance {number}" for pid, number in running.items() if number not in known]


def left_behind(portal: RunningPortal, api: Api) -> list[str]:
    """I4: processes outside of the tree of `serve`; sockets, folders and files of what has ended."""
    versions = all_versions(api)
    live = {instance["id"] for version in versions for instance in version["instances"] if instance["state"] in LIVE}
    found = [str(path) for path in (portal.data_dir / "uploads").glob("*")]
    for folder in (portal.data_dir / "run").glob("instance-*"):
        if int(folder.name.rpartition("-")[2]) not in live:
            found.append(str(folder))
    if not any(version["status"] == "checking" for version in versions):
        found += [str(path) for path in (portal.data_dir / "run").glob("job-*")]
    for path in socket_directory(portal.data_dir).glob("i*"):
        match = re.match(r"i(\d+)", path.name)
        if match and int(match[1]) not in live:
            found.append(str(path))
    return found + orphans(portal)


def orphans(portal: RunningPortal) -> list[str]:
    """Living processes of this portal that `serve` does not know."""
    tree = {portal.pid, *(child.pid for child in psutil.Process(portal.pid).children(recursive=True))}
    found = []
    for process in portal.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.pid not in tree and process.is_running():
                found.append(f"process {process.pid}: {' '.join(process.cmdline())[:100]}")
    return found


def all_versions(api: Api) -> list[dict[str, Any]]:
    versions: list[dict[str, Any]] = []
    url: str | None = "/api/models/"
    while url:
        answer = api.get(url)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        versions += [version for model in page["results"] for version in model["versions"]]
        url = page["next"]
    return versions


def is_answering(api: Api, name: str) -> bool:
    """Whether an adder answers with the number of the version that it names."""
    answer = ask(api, name, asked())
    return answer.status == 200 and added(answer.body) == answer.body["version"]


def in_background(call: Callable[[], Asked]) -> Callable[[], Asked]:
    """Run on a thread of its own; the result waits for the answer."""
    answers: list[Asked] = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()

    def answer() -> Asked:
        thread.join(120)
        assert answers, "I1: the request got no answer"
        return answers[0]

    return answer
