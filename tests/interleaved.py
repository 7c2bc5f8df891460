"""Something happens between two queries of the code under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def just_before(part: str, change: Callable[[], object]) -> Iterator[None]:
    """`change` is made just before the first query that holds `part`; fails where there was none."""
    is_made = False

    def look(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
        nonlocal is_made
        if not is_made and part in sql:
            is_made = True
            change()
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(look):
        yield
    assert is_made, f"no query held {part}"
