"""Reading what a request asks for: numbers in queries and bodies, pictures, a file that was received."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from inference.errors import TooLarge, ValidationFailed
from inference.postprocessing import MAX_TOP
from inference.runner.config import MOST_PICTURES
from inference.texts import from_base64
from models_app.services.files import ReceivedFile
from models_app.services.predict import Picture

MOST_WAIT_S = 120.0


class JSONParser(BaseParser):
    """JSON by orjson, which refuses what the standard library trips over: halves of surrogate pairs, endless depth."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return orjson.loads(stream.read())
        except orjson.JSONDecodeError as error:
            raise ParseError(f"it is not JSON ({error}).") from None


def read_number(request: Request, name: str, *, least: float, most: float, is_whole: bool = False) -> float | None:
    """`name` from the query or else the JSON body, None where it is in neither. Raises ValidationFailed for the field
    if either value is wrong."""
    values: list[Any] = [request.query_params.get(name)]
    if isinstance(request.data, Mapping):
        values.append(request.data.get(name))
    numbers = [
        _number(value, name, least=least, most=most, is_whole=is_whole) for value in values if value not in (None, "")
    ]
    return numbers[0] if numbers else None


def _number(value: Any, name: str, *, least: float, most: float, is_whole: bool) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not least <= number <= most or (is_whole and number != int(number)):
        kind = "whole number" if is_whole else "number"
        raise ValidationFailed.of(name, f"{name} is a {kind} from {least:g} to {most:g}.")
    return number


def read_wait(request: Request, default: float) -> float:
    """Seconds that the caller is willing to wait, 0 to 120."""
    wait = read_number(request, "wait", least=0, most=MOST_WAIT_S)
    return default if wait is None else wait


def read_count(request: Request, name: str, *, least: int, most: int) -> int | None:
    number = read_number(request, name, least=least, most=most, is_whole=True)
    return None if number is None else int(number)


def read_flag(request: Request, name: str) -> bool:
    """`name=true` in the query or as a field; anything but true, 1, yes, false, 0, no is refused."""
    given = request.query_params.get(name)
    if given is None and isinstance(request.data, Mapping):
        given = request.data.get(name)
    value = "false" if given is None else str(given).lower()
    if value not in {"true", "1", "yes", "false", "0", "no"}:
        raise ValidationFailed.of(name, f"{name} is true or false.")
    return value in {"true", "1", "yes"}


def read_object(request: Request) -> Mapping[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    return as_object(request.data)


def as_object(data: object) -> Mapping[str, Any]:
    """A decoded body as an object. Raises ValidationFailed for all else."""
    if not isinstance(data, Mapping):
        raise ValidationFailed("Send a JSON object as the body.")
    return data


def parse_top(text: str | None) -> int | None:
    """`?top=`, how many answers a picture gets. Raises ValidationFailed."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 0 < int(text) <= MAX_TOP):
        raise ValidationFailed.of("top", f"top is a whole number from 1 to {MAX_TOP}.")
    return int(text)


def pictures_of(body: Mapping[str, Any]) -> list[Picture] | None:
    """The pictures of a predict request in JSON, None where it holds tensors. Raises ValidationFailed for neither."""
    if len({"images", "instances", "inputs"} & set(body)) != 1:
        raise ValidationFailed("Send one of images, instances or inputs.")
    return encoded_pictures(body["images"]) if "images" in body else None


def encoded_pictures(images: Any) -> list[Picture]:
    """Pictures of a JSON body: standard base64, in one line or several, with or without `data:…,` in front."""
    if not isinstance(images, list) or not images:
        raise ValidationFailed.of("images", "images is a list of pictures in base64.")
    if len(images) > MOST_PICTURES:
        raise TooLarge.of_pictures(MOST_PICTURES)
    pictures = []
    for index, text in enumerate(images):
        try:
            if not isinstance(text, str):
                raise ValueError
            if text.startswith("data:"):
                text = text.partition(",")[2]
            pictures.append(Picture(index, from_base64(text)))
        except ValueError:
            raise ValidationFailed.of("images", f"Picture {index} is not base64.") from None
    return pictures


def received_upload(request: Request) -> tuple[dict[str, str], ReceivedFile | None]:
    """The fields and the file that the upload handler in front of Django has received (portal/lean/uploads.py)."""
    scope = getattr(request._request, "scope", {})
    upload = scope.get("portal.upload")
    if upload is None:
        return {}, None
    fields: dict[str, str] = upload.fields
    return fields, upload.file


def required_file(file: ReceivedFile | None) -> ReceivedFile:
    if file is None:
        raise ValidationFailed.of("file", "Send the model as one file in the field file (multipart/form-data).")
    return file
