"""The presets of preprocessing as the upload form shows them: word, formula, and what the choice does to pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PresetChoice:
    value: str
    word: str
    formula: str
    meaning: str


PRESET_CHOICES = (
    PresetChoice(
        "none", "None", "0 … 255",
        "The model gets the pixels as they are, 0 to 255. Choose this if the model scales by itself, for instance with "
        "a Rescaling layer.",
    ),
    PresetChoice(
        "unit", "Unit", "÷ 255",
        "Each pixel is divided by 255: black becomes 0, middle grey 0.502, white 1. The most common choice for models "
        "trained with Keras by hand.",
    ),
    PresetChoice(
        "symmetric", "Symmetric", "÷ 127.5 − 1",
        "Each pixel is divided by 127.5, then 1 is taken away: black becomes −1, middle grey 0.004, white 1. "
        "MobileNet, Inception and Xception of keras.applications want this.",
    ),
    PresetChoice(
        "imagenet-torch", "ImageNet, torch", "mean, std",
        "Pixels are scaled to 0–1, then the ImageNet mean of each colour is taken away and the result divided by its "
        "spread. Black becomes about −2.1, white about 2.6. Models that come from PyTorch want this.",
    ),
    PresetChoice(
        "imagenet-caffe", "ImageNet, caffe", "BGR − mean",
        "Red and blue change places, then 103.939, 116.779 and 123.68 are taken away; nothing is divided. VGG16 and "
        "ResNet50 of keras.applications want this.",
    ),
)  # fmt: skip
