"""How an uploaded file is turned down, and how names and sizes out of it are put into a sentence."""

from __future__ import annotations

from inference.errors import PortalError

SHOWN_NAME_LENGTH = 80


class FileRejected(PortalError):
    """The file cannot be served as it is. `message` is one or two sentences: what is wrong, what to do."""

    code, status = "validation_error", 400


class FileUnsafe(FileRejected):
    """Refused by the allow-list alone: who trusts the file may have it checked without."""


def said_text(said: object, longest: int) -> str:
    """What another process says to people, without what can neither be stored nor sent (see is_text)."""
    return str(said)[:longest].replace("\0", "").encode(errors="replace").decode()


def shown(name: object) -> str:
    """A name out of a file, short and on one line, for a sentence."""
    text = "".join(char if char.isprintable() else "?" for char in str(name)[: SHOWN_NAME_LENGTH + 1])
    return text if len(text) <= SHOWN_NAME_LENGTH else text[: SHOWN_NAME_LENGTH - 1] + "…"


def listed(names: list[str] | tuple[str, ...], at_most: int = 8) -> str:
    """Names out of a file as `'a', 'b' and 3 more`."""
    quoted = ", ".join(f"'{shown(name)}'" for name in names[:at_most])
    return quoted if len(names) <= at_most else f"{quoted} and {len(names) - at_most} more"


def size_words(size_bytes: int) -> str:
    for unit, power in (("GB", 30), ("MB", 20), ("kB", 10)):
        if size_bytes >= 1 << power:
            return f"{size_bytes / (1 << power):,.1f} {unit}"
    return f"{size_bytes} bytes"
