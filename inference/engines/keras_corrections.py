"""What Keras 3 computes otherwise than Keras 2 did under the same name. Importing this registers it with Keras."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def old_hard_sigmoid(x: Any) -> Any:
    """Keras 2's (its backend.py); Keras 3 has relu6(x + 3) / 6, up to 0.083 away. Old LSTMs have it at every gate."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


keras.saving.register_keras_serializable(package="portal", name="hard_sigmoid")(old_hard_sigmoid)
