"""What a file is that is no picture, told by its first bytes."""

from __future__ import annotations

import re

KINDS = "JPEG, PNG, WebP, GIF, BMP or TIFF"
DAMAGED = "This picture is damaged or cut off and cannot be read to its end. Send the whole file."
DAMAGED_TIFF = (
    "This TIFF is damaged or cut off, or keeps its values in a way that is not read here. Send the whole file, saved "
    "with 8 bits a channel."
)
# Repetitions are possessive: an untrusted file must not make the matching slow.
MARKS = (
    (rb"\s*+(<\?xml[^>]*>\s*+)?(?><!--.*?-->\s*+|<!doctype svg[^>]*>\s*+)*+<svg[\s>]", "an SVG drawing"),
    (rb"\s*+(?><!--.*?-->\s*+)*+<(!doctype html|html|head|body)\b", "an HTML page"),
    (rb"\s*<\?xml", "an XML file"),
    (rb"%PDF-", "a PDF file"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "an EPS or PostScript file"),
    (rb"....ftypavi[fs]", "an AVIF picture"),
    (rb"....ftyp(hei|hev|hex|mif1|msf1)", "an HEIC picture"),
    (rb"....ftyp", "a video"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (rb"8BPS", "a Photoshop file"),
    (rb"\0\0\x01\0", "an icon file"),
    (rb"PK\x03\x04", "a ZIP archive"),
)
TAKEN_MARKS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def kind_sentence(data: bytes | memoryview) -> str:
    """The sentence about a file that Pillow cannot open, chosen by its first bytes."""
    head = bytes(data[:2048])
    if head.startswith(TAKEN_MARKS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return DAMAGED
    if head.startswith(TIFF_MARKS):
        return DAMAGED_TIFF
    text = head.removeprefix(b"\xef\xbb\xbf")
    for pattern, kind in MARKS:
        if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
            return f"This is {kind}, which cannot be read here. Send {KINDS}."
    return f"This is not a picture that can be read here. Send {KINDS}."
