"""`python -m inference.runner --listen FD --status FD`: becomes the process that holds one model.

Reads its configuration from standard input, applies its limits and enters the sandbox. Only then it imports the serving
module (and with it NumPy and the engine). Reports on the status socket, one JSON object per line.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

from inference.garbage import importing
from inference.host.processes import die_with_parent
from inference.runner.config import RunnerConfig
from inference.runner.limits import apply_limits
from inference.runner.log import DroppingHandler, open_anew
from inference.runner.priority import give_way
from inference.runner.sandbox import Allowed, Level, SandboxMissing, enter_as
from inference.runner.status import StatusLine
from inference.workspace import Workspace

logger = logging.getLogger("runner")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--listen", type=int, required=True)
    arguments.add_argument("--status", type=int, required=True)
    given = arguments.parse_args()
    config = RunnerConfig.decode(sys.stdin.buffer.read())
    die_with_parent(config.owner_pid)
    log = open_anew(sys.stderr.fileno())
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", handlers=[DroppingHandler(log)])
    status_socket = socket.socket(fileno=given.status)
    status = StatusLine(status_socket)
    apply_limits()  # the memory limit of a version is the owner's watch
    try:
        level = _enter_sandbox(config, (given.listen, given.status, log))
    except SandboxMissing as error:
        status.send("failed", reason=str(error), is_final=True)
        sys.stderr.flush()
        os._exit(3)
    # Only now: NumPy starts threads, which would stay outside of Landlock, and the engine is untrusted.
    computing = ThreadPoolExecutor(1, thread_name_prefix="load", initializer=give_way)
    with importing():
        serving = computing.submit(importlib.import_module, "inference.runner.serving").result()
    serving.serve_model(config, given.listen, status_socket, status, level.name, computing)


def _enter_sandbox(config: RunnerConfig, descriptors: tuple[int, ...]) -> Level:
    workspace = Workspace.of_model(config.path)
    level = enter_as(config.sandbox, Allowed.for_workspace(workspace, descriptors=descriptors))
    if level.missing:
        logger.warning("sandbox %s: %s", level.name, level.missing)
    return level


if __name__ == "__main__":
    main()
