"""Whether pictures can be prepared, and are neither unscaled nor scaled twice: mistakes that answers do not show."""

from __future__ import annotations

import numpy as np

from inference.catalog import FORMATS
from inference.errors import BadInput, ValidationFailed
from inference.preprocessing import (
    INTEGER_DTYPES,
    SCALES_ITSELF,
    ImagePlan,
    SizeMissing,
    check_preprocessing,
    plan_image,
    shown,
    value_range,
)
from inference.signature import image_axes
from models_app.models import ModelVersion

_UNSCALED_ABOVE = 100.0
"""Values as large as this are pixels that nobody has scaled; all presets that scale end far below."""
NO_SIZE = "The model takes pictures of any size, and none is set."


def lacks_size(version: ModelVersion) -> bool:
    """Whether no picture can be prepared before somebody sets the size."""
    inputs = version.signature.inputs
    if len(inputs) != 1:
        return False
    try:
        plan_image(version.preprocessing, inputs[0])
    except SizeMissing:
        return True
    except (BadInput, ValidationFailed):
        pass
    return False


def scaling_hint(version: ModelVersion) -> str:
    """A sentence where the preprocessing and the model's own layers do not look as if they belonged together."""
    if contradiction := check_preprocessing(version.preprocessing, version.signature):
        return contradiction
    if lacks_size(version):
        return f"{NO_SIZE} Until one is, it takes tensors, not pictures."
    plan = version.image_plan
    if plan is None or image_axes(version.signature.inputs[0]) is None:
        return ""
    if plan.dtype in INTEGER_DTYPES:
        return _rounding_hint(version, plan)
    low, high = value_range(plan)
    is_unscaled = not plan.per_image_standardize and max(abs(low), abs(high)) > _UNSCALED_ABOVE
    # BGR minus the mean is the one way of preparing that leaves pixels large on purpose.
    is_prepared = not is_unscaled or any(plan.mean) or any(std != 1 for std in plan.std)
    own = next((str(note) for note in version.notes if str(note).startswith(SCALES_ITSELF)), "")
    if own and is_prepared:
        # A Normalization layer may have been fitted on pixels that were scaled before.
        verb = "may be" if "Normalization" in own else "are"
        return f"{own.rstrip('.')}; with {_wish(version)} they {verb} scaled twice. Choose the preset none."
    if own or is_prepared:
        return ""
    doubt = "" if FORMATS[version.format].has_layers else ", unless the model scales them itself"
    return (
        "Pixels go in as 0–255; most models want 0–1 (the preset unit) or −1 to 1 (symmetric)"
        f"{doubt}. Choose a preset if the answers look wrong."
    )


def _rounding_hint(version: ModelVersion, plan: ImagePlan) -> str:
    """A sentence where little of a picture is left as whole numbers, or a part of it lies beyond those of the dtype."""
    low, high = value_range(plan)
    limits = np.iinfo(plan.dtype)
    if high - low < _UNSCALED_ABOVE:
        return (
            f"The model takes whole numbers ({plan.dtype}); with {_wish(version)} pixels become {shown(low, 3)} to "
            f"{shown(high, 3)} and are rounded. Choose the preset none."
        )
    if low >= limits.min and high <= limits.max:
        return ""
    remedy = "Set preprocessing.mean to 128" if plan.dtype == "int8" else "Choose the preset none"
    return (
        f"Pixels become {shown(low, 3)} to {shown(high, 3)}, and the model takes {plan.dtype}: what is below "
        f"{shown(limits.min, 3)} or above {shown(limits.max, 3)} is cut off. {remedy}."
    )


def _wish(version: ModelVersion) -> str:
    preset = version.preprocessing_json.get("preset")
    return f"the preset {preset}" if preset and preset != "none" else "this preprocessing"
