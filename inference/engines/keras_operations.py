"""What Keras 2 wrote as TFOpLambda and SlicingOpLambda: a function of TensorFlow between two layers.

Importing this registers it. TensorFlow's own function computes it, as in Keras 2, so that a constant takes the dtype of
the tensor beside it and whole numbers divide as they did; in the traced graph it is what the function leaves there.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import keras
import tensorflow as tf

from inference.engines.keras_old_layers import OLD_OPERATION
from inference.formats.keras_operations import OPERATIONS


class OldOperation(keras.Operation):  # type: ignore[misc] # Keras has no types
    """No layer: Keras 2 did not cast what went in, and its mask ended here."""

    def __init__(self, function: str, name: str | None = None) -> None:
        """Raises ValueError unless `function` is one of OPERATIONS."""
        super().__init__(name=name)
        if function not in OPERATIONS:
            raise ValueError("Only the operations of the table are computed.")
        self._function = attrgetter(function)(tf)

    def call(self, first: Any, **arguments: Any) -> Any:
        if "slice_spec" in arguments:
            return self._function(first, _index(arguments["slice_spec"]))
        return self._function(first, **arguments)


def _index(value: Any) -> Any:
    """JSON has no slices and no `...`."""
    if isinstance(value, list | tuple):
        return tuple(_index(one) for one in value)
    if isinstance(value, dict):
        return slice(value["start"], value["stop"], value["step"])
    return Ellipsis if isinstance(value, str) else value


keras.saving.register_keras_serializable(*OLD_OPERATION.split(">"))(OldOperation)
