"""Pictures of a multipart form, read in memory with the parser that uploads use."""

from __future__ import annotations

import multipart

from inference.errors import TooLarge, ValidationFailed
from inference.runner.config import MOST_PICTURES
from models_app.services.predict import Picture
from portal.lean.file_names import file_name, without_folders

_MOST_OTHER_FIELDS = 100


def read_pictures(content_type: str, body: bytes) -> list[Picture]:
    """The files of the field `image`, named as the client named them; other fields mean nothing.

    Raises ValidationFailed for a damaged form or one without pictures, TooLarge for more than 64.
    """
    _, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary")
    if not boundary:
        raise ValidationFailed("The Content-Type of the form names no boundary.")
    names: list[str] = []
    contents: list[list[bytes]] = []
    files = 0
    current: list[bytes] | None = None
    try:
        with multipart.PushMultipartParser(
            str(boundary), max_segment_count=MOST_PICTURES + _MOST_OTHER_FIELDS, max_header_size=8192,
            header_charset="utf8",
        ) as parser:  # fmt: skip
            for event in parser.parse(body):
                if isinstance(event, multipart.MultipartSegment):
                    current = None
                    if name := file_name(event):
                        files += 1
                        if files > MOST_PICTURES:
                            raise TooLarge(f"Send at most {MOST_PICTURES} images at once.")
                        if event.name == "image":
                            current = []
                            names.append(without_folders(name))
                            contents.append(current)
                elif event is not None and current is not None:
                    current.append(bytes(event))
    except multipart.ParserLimitReached as error:
        raise TooLarge(f"The form cannot be read: {error}.") from None
    except multipart.MultipartError as error:
        raise ValidationFailed(f"The form cannot be read: {error.args[0]}.") from None
    if not names:
        raise ValidationFailed.of("image", "Send one or more pictures in the field image.")
    return [
        Picture(name or index, b"".join(parts)) for index, (name, parts) in enumerate(zip(names, contents, strict=True))
    ]
