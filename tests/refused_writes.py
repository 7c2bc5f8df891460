"""A database that refuses some statements, as it does while somebody holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection


@contextmanager
def refused(words: str, *, times: int) -> Iterator[list[str]]:
    """Within this block the database refuses statements with these words so often."""
    asked: list[str] = []

    def wrapper(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if words in sql:
            asked.append(sql)
            if len(asked) <= times:
                raise OperationalError("database is locked")
        return execute(sql, *arguments)

    with connection.execute_wrapper(wrapper):
        yield asked
