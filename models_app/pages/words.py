"""Figures in words: sizes, durations, moments, counts. Units stand after a space: 118 MB, 0.05 s, 12.4 a second."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from inference import refusal

NOTHING_DONE = "Nothing was done. Press the button again."
"""Said to somebody who had to log in after a button was pressed."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def size_words(size_bytes: float | None) -> str:
    """As inference.refusal.size_words; empty for None."""
    return "" if size_bytes is None else refusal.size_words(size_bytes)


def short_seconds(seconds: float) -> str:
    """`0.05 s`, `0.9 s`, `12 s`: for what is over quickly."""
    if seconds < 0.1:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def duration_words(seconds: float) -> str:
    """`12 s`, `4 min`, `2 h 14 min`, `19 h`, `6 days`: two parts only below ten hours."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
        return f"{hours} h {minutes} min" if hours < 10 and minutes else f"{hours} h"
    return "1 day" if whole < 2 * _DAY else f"{whole // _DAY} days"


def ago_words(at: datetime, now: datetime) -> str:
    """`3 s ago`, `4 min ago`, `2 h ago`, `3 days ago`."""
    whole = max(0, int((now - at).total_seconds()))
    if _HOUR <= whole < _DAY:
        return f"{whole // _HOUR} h ago"
    return f"{duration_words(whole)} ago"


def moment_words(at: datetime, now: datetime) -> str:
    """`today, 11:49`, `yesterday, 18:02`, `20 Nov, 16:31`, `20 Nov 2025`."""
    local, today = timezone.localtime(at), timezone.localtime(now)
    days = (today.date() - local.date()).days
    if days == 0:
        return f"today, {local:%H:%M}"
    if days == 1:
        return f"yesterday, {local:%H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b}, {local:%H:%M}"
    return date_words(at)


def date_words(at: datetime) -> str:
    """`20 Nov 2025`."""
    local = timezone.localtime(at)
    return f"{local.day} {local:%b %Y}"


def clock_words(at: datetime) -> str:
    """`14:03:22`."""
    return f"{timezone.localtime(at):%H:%M:%S}"


def count_words(count: int) -> str:
    """`1,204,377`."""
    return f"{count:,}"


def rate_words(per_second: float) -> str:
    """`12.4`: requests a second."""
    return f"{per_second:,.1f}"


def milliseconds_words(ms: float) -> str:
    """`0.009`, `0.62`, `7.3`, `140`: three digits are enough."""
    return f"{ms:.3f}" if ms < 0.1 else f"{ms:.2f}" if ms < 1 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def percent_words(share: float) -> str:
    """`96.8 %` of a share between 0 and 1."""
    return f"{100 * share:.1f} %"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 model`, `2 models`."""
    return f"{count_words(count)} {one if count == 1 else many or one + 's'}"
