"""Computes what Keras 2 wrote as TFOpLambda and SlicingOpLambda: a call of a TensorFlow function between two layers.

Importing this registers the operation. It calls TensorFlow's own function, as Keras 2 did, so that a constant takes the
dtype of the tensor beside it and integers divide as they did; the traced graph holds only the function's operations.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import keras
import tensorflow as tf

from inference.engines.keras_old_layers import OLD_OPERATION
from inference.formats.keras_operations import OPERATIONS


class OldOperation(keras.Operation):  # type: ignore[misc] # Keras has no types
    """Not a layer, because Keras 2 did not cast its inputs and did not pass on their mask."""

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
    """The index from JSON, which has no slices and no `...`."""
    if isinstance(value, list | tuple):
        return tuple(_index(one) for one in value)
    if isinstance(value, dict):
        return slice(value["start"], value["stop"], value["step"])
    return Ellipsis if isinstance(value, str) else value


keras.saving.register_keras_serializable(*OLD_OPERATION.split(">"))(OldOperation)
