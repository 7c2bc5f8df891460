"""Reads a JSON object that a person wrote, key by key, and says in a sentence what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from inference.errors import ValidationFailed


def is_text(value: object) -> bool:
    """Whether this is text that can be stored and sent anywhere: no NUL, no lone surrogate."""
    if not isinstance(value, str) or "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def given_fields(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not None, as JSON has them."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value is not None
    }


def counted(number: float) -> str:
    """A number formatted for a message: `1,024`."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,}"


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object that came in as `field`. A key that is missing or null reads as None.

    Every method raises ValidationFailed on `field`.
    """

    field: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, field: str, value: object, known: Iterable[str]) -> JsonObject:
        """None counts as an empty object."""
        names = tuple(known)
        if value is None:
            return cls(field, {})
        if not isinstance(value, Mapping):
            raise ValidationFailed.of(field, f'Send a JSON object for {field}, like {{"{names[0]}": …}}.')
        for key in value:
            if key not in names:
                shown = key if is_text(key) else "?"
                raise ValidationFailed.of(
                    field, f"{field} has no key “{shown[:100]}”. Its keys are {', '.join(names)}."
                )
        return cls(field, value)

    def refuse(self, key: str, wanted: str) -> NoReturn:
        raise ValidationFailed.of(self.field, f"{self.field}.{key} must be {wanted}.")

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or value not in choices:
            self.refuse(key, "one of " + ", ".join(choices))
        return value

    def integer(self, key: str, least: int, most: int) -> int | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not is_integer(value, least, most):
            self.refuse(key, f"a whole number from {counted(least)} to {counted(most)}")
        return int(value)

    def number(self, key: str, least: float, most: float) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not is_number(value, least, most):
            self.refuse(key, f"a number from {counted(least)} to {counted(most)}")
        return value  # type: ignore[no-any-return]

    def boolean(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value

    def text(self, key: str, longest: int) -> str | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not is_text(value) or not 1 <= len(value) <= longest:
            self.refuse(key, f"a text of 1 to {counted(longest)} characters")
        return str(value)

    def texts(self, key: str, most: int, longest: int) -> tuple[str, ...] | None:
        """A list of distinct, non-empty texts; an empty list reads as None."""
        value = self.values.get(key)
        if value is None:
            return None
        is_list = isinstance(value, list | tuple) and len(value) <= most
        if not is_list or not all(is_text(text) and 1 <= len(text) <= longest for text in value):
            self.refuse(key, f"a list of at most {most} texts of 1 to {counted(longest)} characters")
        if len(set(value)) < len(value):
            self.refuse(key, "a list in which nothing stands twice")
        return tuple(value) or None


def is_integer(value: object, least: int, most: int) -> bool:
    """True and False do not count as integers here, as they do in Python."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_number(value: object, least: float, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (isinstance(value, int) or math.isfinite(value)) and least <= value <= most
