"""A MobileNetV2 whose answers differ. Fresh from its constructor it answers 0.001 for all of its 1000 classes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

Array = np.ndarray[Any, Any]


def calibrated_mobilenet(noise: Array, generator: np.random.Generator) -> Any:
    """Batch-norm statistics and the last kernel fitted to `noise`, (n,224,224,3) float32, as the model takes it."""
    model = keras.applications.MobileNetV2(weights=None)
    normalising = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in normalising:
        layer.momentum = 0.0
    model(noise, training=True)
    for layer in normalising:
        layer.momentum = 0.999
    last = model.layers[-1]
    features = keras.Model(model.input, last.input)(noise, training=False).numpy()
    kernel = generator.standard_normal(last.kernel.shape).astype(np.float32)
    kernel *= 3.0 / ((features - features.mean(0)) @ kernel).std()
    last.set_weights([kernel, -(features.mean(0) @ kernel)])
    return model
