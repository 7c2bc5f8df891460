"""What Keras 3 computes otherwise than Keras 2 did under the same name, or than it says itself.

Importing this registers the one and mends the other. Read with Keras 3.15.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from keras.src.backend.tensorflow.core import name_scope
from keras.src.ops import image


def old_hard_sigmoid(x: Any) -> Any:
    """Keras 2's (its backend.py); Keras 3 has relu6(x + 3) / 6, up to 0.083 away. Old LSTMs have it at every gate."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _counting_steps(call: Callable[..., Any]) -> Callable[..., Any]:
    """TimeDistributed.call, but for a free number of steps: there Keras makes as many as the batch has examples
    (time_distributed.py, `ops.arange(input_shape[0])`). All steps as rows of one batch give the same, as in Keras 2."""

    def corrected(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if inputs.shape[1] is not None:
            return call(self, inputs, training=training, mask=mask)
        keywords: dict[str, Any] = {}
        if self.layer._call_has_training_arg:
            keywords["training"] = training
        if self.layer._call_has_mask_arg and mask is not None:
            keywords["mask"] = ops.reshape(mask, (-1, *ops.shape(mask)[2:]))
        batch, steps, *rest = ops.shape(inputs)
        rows = self.layer.call(ops.reshape(inputs, (-1, *rest)), **keywords)
        return ops.reshape(rows, (batch, steps, *ops.shape(rows)[1:]))

    return corrected


def _free_sizes(resize: Callable[..., Any]) -> Callable[..., Any]:
    """ops.image.resize, but for a size that is a tensor, as UpSampling2D asks for where height or width are free: Keras
    asks whether it is positive (image.py), which a function that is being traced cannot say."""

    def corrected(images: Any, size: Any, *arguments: Any, **keywords: Any) -> Any:
        call = image._resize if any(map(tf.is_tensor, size)) else resize
        return call(images, size, *arguments, **keywords)

    return corrected


def _plain_scope(init: Callable[..., None]) -> Callable[..., None]:
    """name_scope.__init__, but for names that TensorFlow takes for no scope (its tf.name_scope: letters of ASCII,
    digits, and signs of which few may come first): a layer of a model that was trained on JAX may have any."""

    def corrected(self: Any, name: str, **keywords: Any) -> None:
        init(self, name, **keywords)
        plain = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
        self._tf_name_scope = tf.name_scope(plain if re.match("[A-Za-z0-9.]", plain) else f"layer{plain}")

    return corrected


keras.saving.register_keras_serializable(package="portal", name="hard_sigmoid")(old_hard_sigmoid)
keras.layers.TimeDistributed.call = _counting_steps(keras.layers.TimeDistributed.call)
image.resize = _free_sizes(image.resize)
name_scope.__init__ = _plain_scope(name_scope.__init__)
