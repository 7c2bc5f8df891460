"""What fails each second is two lines of the log: when it begins, and when it is over."""

from __future__ import annotations

import logging

import pytest

from models_app.outage import Outage


def test_an_outage_is_told_once_in_one_line_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("portal.test"), "it does not answer", "it answers again")
    refused = OSError("connection refused\n\tIs the server running?")

    with caplog.at_level(logging.INFO, "portal.test"):
        outage.is_over()
        for _ in range(3):
            outage.goes_on(refused)
        outage.is_over()
        outage.is_over()
        outage.goes_on(refused)

    begins = "it does not answer: connection refused Is the server running?"
    assert caplog.messages == [begins, "it answers again", begins]
