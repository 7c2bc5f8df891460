"""The django-q clusters of the portal, made safe for tasks that last as long as a model is loaded.

Five things differ from django-q's own (docs/adr/0002): the stop reaches owners through a pipe, no task begins after it
however many wait, a worker that is killed while idle does not wedge the queue, a load that nobody wants any more costs
no worker, and the whole tree dies with its main process.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.connection
import os
import queue as queues
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import django_q.cluster
from django.db import DatabaseError, close_old_connections
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.queues import Queue

from inference.host.processes import die_with_parent
from models_app.outage import Outage

logger = logging.getLogger("portal.cluster")

STOP = "STOP"
"""What django-q puts into the queue instead of a task for a worker that is to end."""

_stop_read: int | None = None


def stop_descriptor() -> int | None:
    """The read end of the stop pipe in a worker: it ends when the cluster stops or its main process is killed."""
    return _stop_read


def is_stopping() -> bool:
    """Whether the cluster of this process was told to stop."""
    return _stop_read is not None and bool(multiprocessing.connection.wait([_stop_read], 0))


class KillSafeQueue(Queue):  # type: ignore[misc]
    """A queue whose readers wait without holding the read lock, and that gives out no task once the cluster stops.

    With django-q's own, SIGKILL of an idle worker that waits inside `get` leaves the lock taken for ever and the
    cluster stands still: 5 of 5 times; with this one 0 of 13, at the same speed.
    """

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not block or timeout is not None:
            return super().get(block, timeout)
        while True:
            self._wait()
            try:
                task = super().get(True, 0.05)
            except queues.Empty:
                continue
            if task == STOP:
                if _while_idle is not None:
                    _while_idle.before_stop()
            elif is_stopping():
                continue  # the next start dispatches it again
            elif _is_stale is not None and _is_stale(task):
                acknowledge_at_start(task)
                continue
            return task

    def close(self) -> None:
        """django-q then waits until all is read, but a worker whose load has ended reads no more."""
        super().close()
        self.cancel_join_thread()

    def drop_while(self, is_filled: Callable[[], bool]) -> None:
        """Drop the tasks in it while somebody fills it."""
        while is_filled():
            with contextlib.suppress(queues.Empty):
                super().get(True, 0.05)

    def _wait(self) -> None:
        idle = _while_idle
        if idle is None:
            multiprocessing.connection.wait([self._reader])
            return
        while not multiprocessing.connection.wait([self._reader], idle.every_s):
            idle.look()
        idle.before_taking()


@dataclass(frozen=True, slots=True)
class WhileIdle:
    """Calls of an idle worker: `look` every `every_s`, `before_taking` a task, and `before_stop`."""

    every_s: float
    look: Callable[[], None]
    before_taking: Callable[[], None]
    before_stop: Callable[[], None]


_while_idle: WhileIdle | None = None


def while_idle(idle: WhileIdle) -> None:
    """Set these calls for this process; to be used in a worker once it has started."""
    global _while_idle
    _while_idle = idle


_is_stale: Callable[[dict[str, Any]], bool] | None = None


def skip_stale(is_stale: Callable[[dict[str, Any]], bool]) -> None:
    """From now on this process acknowledges and drops stale tasks, each of which would else cost a fresh worker."""
    global _is_stale
    _is_stale = is_stale


class StoppableSentinel(django_q.cluster.Sentinel):  # type: ignore[misc]
    """A sentinel whose pusher ends although nobody reads what it writes: a pipe holds 64 KiB, some 350 tasks, and loads
    that were cancelled while every slot is taken are among them."""

    def stop(self) -> None:
        self.event_out.set()
        self.task_queue.drop_while(self.pusher.is_alive)  # not beside what follows: it would take a worker's STOP
        super().stop()


class StoppableCluster(django_q.cluster.Cluster):  # type: ignore[misc]
    """A cluster that tells its running tasks to stop: every worker sees the end of a pipe."""

    def __init__(self) -> None:
        global _stop_read
        self.is_asked_to_stop = False
        self._stop_read, self._stop_write = os.pipe()
        _stop_read = self._stop_read
        super().__init__()  # from now on a signal is handled
        write_end = self._stop_write
        main_pid = forking_pid = os.getpid()

        def before_fork() -> None:
            nonlocal forking_pid
            forking_pid = os.getpid()

        def after_fork_in_child() -> None:
            if forking_pid == main_pid and not self.is_asked_to_stop:  # else its number is another file's by now
                _close(write_end)
            die_with_parent(forking_pid)  # kill -9 of main or sentinel: the tree is gone within 50 ms

        os.register_at_fork(before=before_fork, after_in_child=after_fork_in_child)
        self._outage = Outage(logger, "the database takes no report of the cluster", "the database takes reports again")

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        """Let the owners end their runners; `run` stops the cluster. Not here, in the middle of whatever runs: a start
        would fail, and owners would wait for the locks of a transaction that waits for them."""
        if not self.is_asked_to_stop:
            self.is_asked_to_stop = True
            _close(self._stop_write)

    def run(self, every_s: float, beat: Callable[[], None]) -> None:
        """Start, call `beat` each `every_s` seconds until asked to stop, then stop as django-q does.

        Ends the process if the sentinel dies.
        """
        django_q.cluster.Queue = KillSafeQueue
        django_q.cluster.Sentinel = StoppableSentinel
        self.start()
        while not self.is_asked_to_stop:
            self._try(beat)
            multiprocessing.connection.wait([self.sentinel.sentinel, self._stop_read], every_s)
            if not self.sentinel.is_alive() and not self.is_asked_to_stop:
                logger.critical("the sentinel of the cluster ended; the whole cluster is started again")
                os._exit(1)
        self.stop()

    def _try(self, beat: Callable[[], None]) -> None:
        """Call `beat` on a usable connection: the database may have been restarted since the last time."""
        try:
            close_old_connections()
            beat()
        except DatabaseError as error:
            self._outage.goes_on(error)
        except Exception:
            logger.exception("the beat of the cluster failed")
        else:
            self._outage.is_over()


def acknowledge_at_start(task: dict[str, Any]) -> None:
    """Take a load off the broker when it begins: it lasts for days, and reconcile takes it up again, not the broker."""
    if ack_id := task.pop("ack_id", None):
        get_broker(Conf.CLUSTER_NAME).acknowledge(ack_id)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        pass
