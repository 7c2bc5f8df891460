"""A picture at the height and width that the model takes."""

from __future__ import annotations

from PIL import Image

from inference.errors import BadImage
from inference.preprocessing import MAX_PIXELS, ImagePlan

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
TOO_LONG = "This picture is too long and narrow to be resized. Cut it, then send it again."


def resize(picture: Image.Image, plan: ImagePlan) -> Image.Image:
    """The picture at the plan's height and width, using Pillow's filters on the full picture."""
    width, height = picture.size
    if plan.resize == "stretch":
        return scaled(picture, plan.width, plan.height, plan)
    if plan.resize == "crop":
        factor = plan.short_side / min(width, height)
        large = scaled(picture, max(plan.width, round(width * factor)), max(plan.height, round(height * factor)), plan)
        left, top = (large.width - plan.width) // 2, (large.height - plan.height) // 2
        return large.crop((left, top, left + plan.width, top + plan.height))
    # The sizes and offsets are those of PIL.ImageOps.pad.
    if width * plan.height > plan.width * height:
        inner = scaled(picture, plan.width, max(1, round(height / width * plan.width)), plan)
    else:
        inner = scaled(picture, max(1, round(width / height * plan.height)), plan.height, plan)
    color = plan.background if picture.mode != "RGBA" else (*plan.background, 255)
    whole = Image.new("RGB" if picture.mode == "L" else picture.mode, (plan.width, plan.height), color)
    whole = whole.convert(picture.mode)
    whole.paste(inner, (round((plan.width - inner.width) * 0.5), round((plan.height - inner.height) * 0.5)))
    return whole


def scaled(picture: Image.Image, width: int, height: int, plan: ImagePlan) -> Image.Image:
    if picture.size == (width, height):
        return picture
    # Pillow resizes the rows first, so its intermediate picture has the new width and the old height.
    if width * max(height, picture.height) > MAX_PIXELS:
        raise BadImage(TOO_LONG)
    return picture.resize((width, height), FILTERS[plan.interpolation])
