"""The allow-list walk over Keras' own description of a model: config.json, or model_config in HDF5.

On loading, Keras builds whatever the description names and calls some of it; its own safe mode blocks only what is on
its deny-list. So every name must be on an allow-list here. The walk assumes that the model is loaded with
compile=False, where Keras ignores the outermost compile_config.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inference.formats import keras_names as names
from inference.formats.hdf5_tree import StoredWeights
from inference.formats.keras_operations import OPERATION_LAYERS, OPERATIONS, is_plain_call
from inference.formats.keras_shapes import Shape, input_shapes
from inference.formats.keras_sizes import check_sizes, numbers_needed
from inference.refusal import FileRejected, FileUnsafe, shown

MAX_LAYERS = 20_000
FREE_NUMBERS = 10_000

_FAMILIES = (
    "layers|models|initializers|regularizers|constraints|activations|dtype_policies|mixed_precision|random|quantizers"
)
_PUBLIC = re.compile(rf"keras(\.({_FAMILIES}|losses|metrics|optimizers|optimizers\.schedules))?")
# Where Keras itself finds classes that it does not export: Functional, operations, layers of its applications.
_PRIVATE = re.compile(rf"keras\.(src\.)?({_FAMILIES}|ops|applications|engine|losses|metrics|optimizers)(\.[a-z0-9_]+)+")
# Modules that Keras 2 and tf_keras (installable beside Keras 3) write for classes that they do not export. The engine
# reads these as Keras' own classes, and Keras itself never imports the modules.
_OF_KERAS_2 = frozenset({
    "tf_keras.src.engine.functional", "tf_keras.src.layers.core.tf_op_layer", "tf_keras.src.applications.convnext",
    "tf_keras.src.applications.inception_resnet_v2", "tensorflow.python.ops.init_ops_v2",
})  # fmt: skip

_FUNCTIONS = {
    "keras.activations": names.ACTIVATIONS,
    "keras.initializers": names.INITIALIZER_FUNCTIONS,
    "keras.regularizers": names.REGULARIZER_FUNCTIONS,
    "keras.constraints": names.CONSTRAINT_FUNCTIONS,
    "keras.ops": names.ACTIVATIONS,
    "builtins": names.ACTIVATIONS,
}
_TRAINING_FUNCTIONS = {
    "keras.losses": names.TRAINING_FUNCTIONS,
    "keras.metrics": names.TRAINING_FUNCTIONS,
    "builtins": names.ACTIVATIONS | names.TRAINING_FUNCTIONS,
}
# Known classes that are not layers: their names do not tell a reader where in the model they are.
_PARTS_OF_LAYERS = (
    (names.CLASSES | names.VALUES | names.TRAINING | {"function"}) - names.LAYERS - OPERATION_LAYERS - names.MODELS
)
_CLASSES_IN_TRAINING = names.CLASSES | names.TRAINING
_ACTIVATION_KEYS = ("activation", "recurrent_activation")

EXPORT = (
    "export it where it was made (model.export('name'), or tf.saved_model.save(model, 'name') in older versions) and "
    "upload the folder as a zip."
)
REBUILD = f"Build the model from Keras' own layers and save it again, or {EXPORT}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the model the walk is, for error messages; `is_training` inside of an inner compile_config."""

    layer: str = ""
    is_training: bool = False

    def __str__(self) -> str:
        return f"The layer '{shown(self.layer)}'" if self.layer else "The model"


def check_config(config: dict[str, Any], stored: StoredWeights, *, is_trusted: bool = False) -> None:
    """Raises FileRejected, naming the layer, unless `config` describes a model made only of known, harmless parts
    that need no more numbers than the file holds. With `is_trusted`, it need only describe a model."""
    if not isinstance(config.get("class_name"), str) or "config" not in config:
        raise FileRejected(
            "The file does not say which layers the model has. Save the whole model with model.save('name.keras') and "
            "upload that file."
        )
    if is_trusted:
        return
    try:
        _check_parts(config, stored)
    except FileRejected as refusal:
        raise FileUnsafe(refusal.message) from None


def _check_parts(config: dict[str, Any], stored: StoredWeights) -> None:
    layers = total = 0
    fed: dict[int, Shape] = {}
    for item, place in _named_parts(config):
        class_name = _check_named(item, place, is_root=item is config)
        inner = item.get("config")
        if class_name in names.MODELS:
            fed.update(input_shapes(item))
        if class_name not in names.LAYERS or not isinstance(inner, dict):
            continue
        layers += 1
        if layers > MAX_LAYERS:
            raise FileRejected(f"The model has more than {MAX_LAYERS:,} layers, which no real model has.")
        needed = numbers_needed(class_name, inner, item.get("build_config"), fed.get(id(item)))
        # Four, with a margin, because int4 weights are packed two to a byte.
        if needed > 4 * stored.numbers + FREE_NUMBERS:
            raise FileRejected(
                f"{place} needs {needed:,} weights, but the file holds only {stored.numbers:,}. "
                "Save the model again and upload the new file."
            )
        total += needed
    if total > 8 * stored.numbers + 10 * FREE_NUMBERS:
        raise FileRejected(
            f"The layers need {total:,} weights together, but the file holds only {stored.numbers:,}. "
            "Save the model again and upload the new file."
        )


def _named_parts(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], _Place]]:
    """Each dict with a class_name, outermost first; the values of every dict are checked on the way. Not recursive."""
    waiting: list[tuple[Any, _Place]] = [(config, _Place())]
    while waiting:
        value, place = waiting.pop()
        if isinstance(value, list):
            waiting.extend((child, place) for child in reversed(value))
        if not isinstance(value, dict):
            continue
        if "class_name" in value:
            place = _place_of(value, place) if value is not config else place
            yield value, place
        _check_values(value, place)
        for key in reversed(value):
            if key == "compile_config":
                if value is not config:
                    waiting.append((value[key], _Place(place.layer, is_training=True)))
            else:
                waiting.append((value[key], place))


def _place_of(item: dict[str, Any], outer: _Place) -> _Place:
    inner = item.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    if isinstance(name, str) and name and str(item["class_name"]) not in _PARTS_OF_LAYERS:
        return _Place(name, outer.is_training)
    return outer


def _check_named(item: dict[str, Any], place: _Place, *, is_root: bool) -> str:
    class_name = item["class_name"]
    if not isinstance(class_name, str):
        raise FileRejected(f"{place} has no readable class. Save the model again and upload the new file.")
    if class_name == "function":
        _check_function(item, place)
        return class_name
    class_name = names.OLD_NAMES.get(class_name, class_name)
    if class_name in names.CODE:
        raise FileRejected(
            f"{place} is a Lambda: it carries program code, which is not run here. Replace it by Keras' own layers or "
            f"operations and save the model again, or {EXPORT}"
        )
    if class_name in names.FOREIGN:
        raise FileRejected(
            f"{place} is of the class '{class_name}', which runs a program or a model from outside of the "
            f"file. {REBUILD}"
        )
    if class_name in names.GONE:
        raise FileRejected(
            f"{place} is of the class '{class_name}' of an older Keras, which Keras 3 cannot load. {REBUILD}"
        )
    if class_name in names.VALUES:
        return class_name
    known = _CLASSES_IN_TRAINING if place.is_training else names.CLASSES
    if class_name not in known or not _is_of_keras(item):
        raise _foreign_class(item, place, is_root=is_root)
    if class_name in OPERATION_LAYERS:
        _check_operation(item, place)
    return class_name


def _is_of_keras(item: dict[str, Any]) -> bool:
    """Keras looks at `registered_name` first, then at `module`; HDF5 files of Keras 2 have neither."""
    class_name, registered = names.OLD_NAMES.get(item["class_name"], item["class_name"]), item.get("registered_name")
    if registered not in (None, class_name) and names.OLD_NAMES.get(str(registered)) != class_name:
        return False
    return _is_keras_module(item.get("module"))


def _is_keras_module(module: object) -> bool:
    if module is None:
        return True
    if not isinstance(module, str):
        return False
    return module in _OF_KERAS_2 or bool(_PUBLIC.fullmatch(module) or _PRIVATE.fullmatch(module))


def _foreign_class(item: dict[str, Any], place: _Place, *, is_root: bool) -> FileRejected:
    if item["class_name"].startswith("__"):
        return FileRejected(f"{place} uses '{shown(item['class_name'])}', which is not loaded here. {REBUILD}")
    if is_root and item["class_name"] == "FeatureSpace":
        return FileRejected(
            "The file holds a FeatureSpace, which prepares the inputs of a model and is none. Put both into one, "
            "keras.Model(space.get_inputs(), model(space.get_encoded_features())), and save that."
        )
    inner = item.get("config")
    is_the_layer = is_root or (isinstance(inner, dict) and inner.get("name") == place.layer)
    verb = "is of" if is_the_layer else "uses"
    return FileRejected(f"{place} {verb} the class '{_full_name(item)}', which is not part of Keras. {REBUILD}")


def _full_name(item: dict[str, Any]) -> str:
    """The class, by what makes it foreign: its own name, the name it is registered under, or its module and name."""
    class_name, module, registered = item["class_name"], item.get("module"), item.get("registered_name")
    if class_name not in _CLASSES_IN_TRAINING:
        return shown(class_name)
    if registered not in (None, class_name):
        return shown(registered)
    return shown(class_name if _is_keras_module(module) else f"{module}.{class_name}")


def _check_operation(item: dict[str, Any], place: _Place) -> None:
    """Check a layer that Keras 2 made of a call of a TensorFlow function."""
    inner, calls = item.get("config"), item.get("inbound_nodes", [])
    function = inner.get("function") if isinstance(inner, dict) else None
    if not isinstance(function, str) or function not in OPERATIONS:
        raise FileRejected(
            f"{place} calls TensorFlow's 'tf.{shown(str(function))}', which is not computed here outside of a "
            f"SavedModel. {REBUILD}"
        )
    if not isinstance(calls, list) or not all(is_plain_call(function, call) for call in calls):
        raise FileRejected(
            f"{place} calls TensorFlow's 'tf.{function}' with arguments that it is not known to take. {REBUILD}"
        )


def _check_function(item: dict[str, Any], place: _Place) -> None:
    name, module, registered = item.get("config"), item.get("module"), item.get("registered_name")
    allowed: frozenset[str] = frozenset()
    if isinstance(module, str):
        allowed = _FUNCTIONS.get(module, allowed)
        if place.is_training:
            allowed = allowed | _TRAINING_FUNCTIONS.get(module, frozenset())
    if isinstance(name, str) and name in allowed and registered in (None, name):
        return
    named = name if isinstance(name, str) and name not in allowed else registered
    full = f"{module}.{named}" if isinstance(module, str) and module != "builtins" else str(named)
    raise FileRejected(
        f"{place} names the function '{shown(full)}', which is not one of Keras' activations, initializers, "
        f"regularizers or constraints. {REBUILD}"
    )


def _check_values(value: dict[str, Any], place: _Place) -> None:
    vocabulary = value.get("vocabulary")
    if isinstance(vocabulary, str):
        raise FileRejected(
            f"{place} reads its vocabulary from another file. Give the words themselves as a list, save the model "
            "again and upload the new file."
        )
    for key in _ACTIVATION_KEYS:
        name = value.get(key)
        if isinstance(name, str) and name not in names.ACTIVATIONS:
            raise FileRejected(
                f"{place} uses the activation '{shown(name)}', which is not part of Keras. {REBUILD}",
            )
    check_sizes(value, str(place))
