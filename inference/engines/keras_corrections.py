"""Corrects what Keras 3 computes differently from Keras 2 under the same name, or from its own documentation.

Importing this registers Keras 2's function and patches Keras (3.15.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from keras.src.backend.tensorflow.core import name_scope
from keras.src.legacy.saving import legacy_h5_format
from keras.src.ops import image


def old_hard_sigmoid(x: Any) -> Any:
    """Keras 2's (its backend.py), in each gate of its old LSTMs. Keras 3 has relu6(x + 3) / 6, up to 0.083 away."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _counting_steps(call: Callable[..., Any]) -> Callable[..., Any]:
    """TimeDistributed.call, corrected for a free number of steps, where Keras takes the number of examples in the batch
    for it (time_distributed.py, `ops.arange(input_shape[0])`). As in Keras 2, all steps become rows of one batch."""

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
    """ops.image.resize, corrected for a size that is a tensor, as UpSampling2D gives where height or width are free:
    Keras checks whether it is positive (image.py), which is not known while a function is traced."""

    def corrected(images: Any, size: Any, *arguments: Any, **keywords: Any) -> Any:
        call = image._resize if any(map(tf.is_tensor, size)) else resize
        return call(images, size, *arguments, **keywords)

    return corrected


def _normalizing_inside(set_weights: Callable[..., None]) -> Callable[..., None]:
    """legacy_h5_format._set_weights, corrected for a Normalization in an inner model or layer: its mean and variance,
    which Keras takes over for layers of the outermost model only, would stay 0 and 1. EfficientNet has one."""

    def corrected(instance: Any, *arguments: Any, **keywords: Any) -> None:
        set_weights(instance, *arguments, **keywords)
        for layer in instance._flatten_layers(include_self=False):
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()

    return corrected


def _plain_scope(init: Callable[..., None]) -> Callable[..., None]:
    """name_scope.__init__, corrected for names that tf.name_scope refuses (it takes ASCII letters, digits and some
    signs, few of them in the first place): a layer of a model that was trained on JAX may have any name."""

    def corrected(self: Any, name: str, **keywords: Any) -> None:
        init(self, name, **keywords)
        plain = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
        self._tf_name_scope = tf.name_scope(plain if re.match("[A-Za-z0-9.]", plain) else f"layer{plain}")

    return corrected


keras.saving.register_keras_serializable(package="portal", name="hard_sigmoid")(old_hard_sigmoid)
keras.layers.TimeDistributed.call = _counting_steps(keras.layers.TimeDistributed.call)
image.resize = _free_sizes(image.resize)
legacy_h5_format._set_weights = _normalizing_inside(legacy_h5_format._set_weights)
name_scope.__init__ = _plain_scope(name_scope.__init__)
