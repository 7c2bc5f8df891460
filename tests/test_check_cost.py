"""The check of a large file costs little above the import of its engine."""

from __future__ import annotations

import pytest

from benchmarks.checking import check_cost


@pytest.mark.long
def test_the_check_of_a_100_mb_model_costs_little_more_than_the_import_of_its_engine() -> None:
    cost = check_cost()

    print(
        f"check {cost.check_s:.1f} s, import {cost.import_s:.1f} s, hash {cost.hash_s:.1f} s: {cost.above_s:.1f} s more"
    )
    assert cost.above_s < 30  # the figure to look at is printed; the aim is 3 s
