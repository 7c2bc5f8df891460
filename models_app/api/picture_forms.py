"""Pictures of a multipart form, read in memory with the parser that uploads use: in front of Django, and by views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import multipart
from django.core.files.uploadedfile import UploadedFile
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from inference.errors import TooLarge, ValidationFailed
from inference.runner.config import MOST_PICTURES
from models_app.api.file_names import NameReader, file_name
from models_app.services.files import without_folders
from models_app.services.predict import Picture

_MOST_OTHER_FIELDS = 100


class PictureForm(dict[str, str]):
    """The text fields of a form; `pictures` are the files of the field `image`, named as the client named them."""

    def __init__(self, fields: Mapping[str, str], pictures: list[Picture]) -> None:
        super().__init__(fields)
        self.pictures = pictures


class PictureParser(BaseParser):
    """Parses the body of a view into a PictureForm."""

    media_type = "multipart/form-data"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> PictureForm:
        return read_form(media_type or "", stream.read())


def sent_pictures(request: Request) -> list[Picture]:
    """Raises ValidationFailed where the body is no form, or one without pictures."""
    return _some(request.data.pictures if isinstance(request.data, PictureForm) else [])


def read_pictures(content_type: str, body: bytes) -> list[Picture]:
    """Raises what `read_form` raises, and ValidationFailed for a form without pictures."""
    return _some(read_form(content_type, body).pictures)


def uploaded_pictures(files: Sequence[UploadedFile[Any]]) -> list[Picture]:
    """Pictures of a form that Django has read, named as the client named them. Raises TooLarge, ValidationFailed."""
    if len(files) > MOST_PICTURES:
        raise TooLarge.of_pictures(MOST_PICTURES)
    return _some([Picture(_as_written(file.name or "") or index, file.read()) for index, file in enumerate(files)])


def _as_written(name: str) -> str:
    """The name with three characters restored that browsers escape (HTML, multipart/form-data); Django does not."""
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _some(pictures: list[Picture]) -> list[Picture]:
    if not pictures:
        raise ValidationFailed.of("image", "Send one or more pictures in the field image.")
    return pictures


def read_form(content_type: str, body: bytes) -> PictureForm:
    """Raises ValidationFailed for a damaged form, TooLarge for one with more than 64 files or very many fields."""
    _, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary")
    if not boundary:
        raise ValidationFailed("The Content-Type of the form names no boundary.")
    fields: dict[str, str] = {}
    pictures: list[Picture] = []
    files = 0
    try:
        with NameReader(
            str(boundary), max_segment_count=MOST_PICTURES + _MOST_OTHER_FIELDS, max_header_size=8192,
            header_charset="utf8",
        ) as parser:  # fmt: skip
            for segment, content in _parts(parser, body):
                name = file_name(segment)
                if name is None:
                    fields[segment.name] = content.decode("utf-8", "replace")
                elif name:
                    files += 1
                    if files > MOST_PICTURES:
                        raise TooLarge.of_pictures(MOST_PICTURES)
                    if segment.name == "image":
                        pictures.append(Picture(without_folders(name) or len(pictures), content))
    except multipart.ParserLimitReached as error:
        raise TooLarge(f"The form cannot be read: {error}.") from None
    except multipart.MultipartError as error:
        raise ValidationFailed(f"The form cannot be read: {error.args[0]}.") from None
    return PictureForm(fields, pictures)


def _parts(parser: NameReader, body: bytes) -> Iterator[tuple[multipart.MultipartSegment, bytes]]:
    """The parts of a form with their content."""
    pieces: list[bytes] = []
    for event in parser.parse(body):
        if isinstance(event, multipart.MultipartSegment):
            segment, pieces = event, []
        elif event is not None:
            pieces.append(event)
        else:
            yield segment, b"".join(pieces)
