"""What an address means is remembered, and strangers cannot fill the memory with addresses."""

from __future__ import annotations

from portal.lean.routes import Route, remembered


def test_short_addresses_are_remembered_and_long_ones_are_not() -> None:
    asked: list[str] = []

    def find(method: str, path: str) -> Route | None:
        asked.append(path)
        return None

    route = remembered(find)
    short, long = "/v2/models/" + "x" * 100, "/v2/models/" + "x" * 60_000
    for _ in range(3):
        assert route("GET", short) is None
        assert route("GET", long) is None

    assert asked.count(short) == 1
    assert asked.count(long) == 3
