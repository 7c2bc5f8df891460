"""Exceptions for rejected files, and formatting of names, sizes and speeds for sentences."""

from __future__ import annotations

from inference.errors import PortalError

SHOWN_NAME_LENGTH = 80
LISTED_NAMES = 8


class FileRejected(PortalError):
    """The file cannot be served as it is. `message` is one or two sentences: what is wrong, what to do."""

    code, status = "validation_error", 400


class FileUnsafe(FileRejected):
    """Rejected only by the allow-list: whoever trusts the file may have it checked without the list."""


def clean_text(said: object, longest: int) -> str:
    """A text for people from another process, without characters that cannot be stored or sent (see is_text)."""
    return str(said)[:longest].replace("\0", "").encode(errors="replace").decode()


def shown(name: object) -> str:
    """A name out of a file, short and on one line, for a sentence."""
    text = "".join(char if char.isprintable() else "?" for char in str(name)[: SHOWN_NAME_LENGTH + 1])
    return text if len(text) <= SHOWN_NAME_LENGTH else text[: SHOWN_NAME_LENGTH - 1] + "…"


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Names from a file as `'a', 'b' and 3 more`."""
    quoted = ", ".join(f"'{shown(name)}'" for name in names[:LISTED_NAMES])
    return quoted if len(names) <= LISTED_NAMES else f"{quoted} and {len(names) - LISTED_NAMES} more"


def size_words(size_bytes: float) -> str:
    """`62 KB`, `13.9 MB`, `118 MB`, `16.0 GB`: powers of ten; used in sentences and on pages."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} bytes"
    if size_bytes < 999_500:
        return f"{size_bytes / 1e3:.0f} KB"
    if size_bytes < 99_950_000:
        return f"{size_bytes / 1e6:.1f} MB"
    if size_bytes < 999_500_000:
        return f"{size_bytes / 1e6:.0f} MB"
    return f"{size_bytes / 1e9:,.1f} GB"


def speed_words(per_second: float) -> str:
    """`12,400`, `278`, `4.2`; used in sentences and on pages."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"
