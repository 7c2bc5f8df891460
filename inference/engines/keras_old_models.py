"""Rewrites Keras 2's description of a model's layers and their connections as Keras 3 reads it.

A reference [layer, call, tensor] names an output tensor of a call of a layer. A call is written as the references that
went in, and Keras 2 attached the other arguments to each of them: ["layer", 0, 0, {"training": false}].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from inference.engines import ModelUnusable
from inference.engines.keras_old_layers import EXPORT
from inference.formats.keras_names import MODELS
from inference.formats.keras_operations import CONSTANT, ELLIPSIS, OPERATION_LAYERS

_OLD_ENGINE = re.compile(r"(tf_)?keras(\.src)?\.engine\.\w+|keras\.models\.\w+")
_HOMES = {"Functional": "keras.src.models.functional", "Model": "keras", "Sequential": "keras"}
_RECURRENT = frozenset({"RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional"})


def repair_model(item: dict[str, Any]) -> None:
    """Change the description of a model to what Keras 3 reads as the same model. `repair_layer` repairs its layers."""
    module = item.get("module")
    if isinstance(module, str) and _OLD_ENGINE.fullmatch(module):
        item["module"] = _HOMES[item["class_name"]]
    item.pop("compile_config", None)  # models are not trained here, and optimizers have changed
    if item["class_name"] == "Sequential":
        _wrap_list(item)
        _give_input(item["config"])
    elif isinstance(item.get("config"), dict):
        _rewrite_graph(item["config"])


def place_wrapped(item: dict[str, Any]) -> None:
    """Add the module of a layer inside another one, where Keras 3 finds its classes only by module; Keras did not write
    it into HDF5 before 2.13. Drop build_config, which for a nested TimeDistributed has the innermost layer's shape."""
    config = item.get("config")
    if not isinstance(config, dict):
        return
    for value in (config.get("layer"), config.get("backward_layer"), config.get("cell"), config.get("cells")):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict) and isinstance(part.get("class_name"), str):
                part.pop("build_config", None)
                if not part.get("module"):
                    part["module"] = _HOMES.get(part["class_name"], "keras.layers")


def check_order(item: dict[str, Any], model: Any) -> None:
    """Raises ModelUnusable unless `model`, built from the description, has its layers in the same order.

    Weights are assigned by that order. It follows the arguments of the calls, and Keras 2 wrote positional arguments as
    keywords sorted by name, so that it misreads `MultiHeadAttention(…)(query, value, key)` itself.
    """
    written = item["config"]["layers"]
    names = [one.get("name") or one["config"]["name"] for one in written]
    made = [layer.name for layer in model.layers if layer.weights]
    if [name for name in names if name in set(made)] != made:
        raise ModelUnusable(
            f"Keras 3 puts the layers of this file in another order and would mix up their weights. {EXPORT}"
        )
    for name, one in zip(names, written, strict=True):
        wrapped = one["config"].get("layer") or {}
        if one["class_name"] in MODELS:
            check_order(one, model.get_layer(name))
        elif wrapped.get("class_name") in MODELS:
            check_order(wrapped, model.get_layer(name).layer)


def _wrap_list(item: dict[str, Any]) -> None:
    """Wrap the bare list of layers that Keras wrote before 2.2.3."""
    if isinstance(item.get("config"), list):
        item["config"] = {"name": item.get("name", "sequential"), "layers": item["config"]}


def _give_input(config: Any) -> None:
    """Add the input layer that Keras 2 long left out. It wrote the input shape into the first layer, where Keras 3
    expects no batch and reads one axis too many."""
    layers = config.get("layers") if isinstance(config, dict) else None
    first = layers[0] if isinstance(layers, list) and layers else None
    inner = first.get("config") if isinstance(first, dict) and first.get("class_name") != "InputLayer" else None
    if not isinstance(layers, list) or not isinstance(inner, dict) or "batch_input_shape" not in inner:
        return
    dtype = inner.get("dtype")
    given = {
        "name": f"{inner.get('name', 'first')}_input",
        "batch_input_shape": inner.pop("batch_input_shape"),
        "dtype": dtype if isinstance(dtype, str) else "float32",
    }
    layers.insert(0, {"class_name": "InputLayer", "config": given})


def _rewrite_graph(config: dict[str, Any]) -> None:
    """Remove "/" from names, count calls from 0, write them as Keras 3 does, unwrap a single input or output."""
    layers = {one["name"]: one for one in config["layers"]}
    ends = [config["input_layers"], config["output_layers"]]
    calls = [one["inbound_nodes"] for one in layers.values()]
    names = _plain_names(list(layers))
    first_calls = _first_calls(layers, [*calls, *ends])

    def moved(reference: list[Any]) -> list[Any]:
        name, call, tensor = reference[:3]
        return [names[name], call - first_calls[name], tensor]

    def moved_end(reference: list[Any]) -> list[Any]:
        """Add the 1 again, which Keras 3 itself subtracts for inputs and outputs only (functional.py, `get_tensor`)."""
        name, call, tensor = moved(reference)
        return [name, call + (layers[reference[0]]["class_name"] in ("Functional", "Model")), tensor]

    for name, layer in layers.items():
        layer["inbound_nodes"] = [_call(call, layer, names, moved) for call in layer["inbound_nodes"]]
        layer["name"] = names[name]
        layer.pop("build_config", None)  # the calls build it; Keras 2 wrote other shapes where a call has several
        if isinstance(layer["config"], dict):
            layer["config"]["name"] = names[name]
    for key, end in zip(("input_layers", "output_layers"), ends, strict=True):
        is_single = isinstance(end, list) and len(end) == 1 and isinstance(end[0], list)
        config[key] = _replaced(end[0] if is_single else end, names, moved_end)


def _plain_names(names: list[str]) -> dict[str, str]:
    """Name → unique name without "/", which Keras 3 does not allow and which DenseNet and many converted files have."""
    plain = {name: name for name in names if "/" not in name}
    for name in names:
        if name in plain:
            continue
        new = name.replace("/", "_")
        while new in plain.values():
            new += "_"
        plain[name] = new
    return plain


def _first_calls(layers: dict[str, Any], graph: list[Any]) -> dict[str, int]:
    """The number of each layer's first call. Keras 2 counted from 1 for a model in the model, because building it was
    call 0 unless it had no input yet (its functional.py, `_should_skip_first_node`). All counted calls are referred
    to."""
    first = dict.fromkeys(layers, 0)
    counted: dict[str, list[int]] = {}
    for name, call, *_ in _references(graph, layers):
        counted.setdefault(name, []).append(call)
    return first | {name: min(some) for name, some in counted.items() if layers[name]["class_name"] in MODELS}


def _call(call: Any, layer: dict[str, Any], names: dict[str, str], moved: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """The call in Keras 3's form, because Keras 3 reads no tensors in keywords of the old form (an attention's value).

    The initial states of a recurrent layer were passed beside its sequence; Keras 3 takes them as a keyword.
    """

    def tensor(reference: list[Any]) -> dict[str, Any]:
        """Only the history counts: Keras looks the tensor up by it."""
        config = {"shape": [], "dtype": "float32", "keras_history": moved(reference)}
        return {"class_name": "__keras_tensor__", "config": config}

    if layer["class_name"] in OPERATION_LAYERS:
        return _operation_call(call, names, tensor)
    if CONSTANT in (one[0] for one in call if isinstance(one, list) and one):
        name = str(layer["name"])[:80]
        raise ModelUnusable(
            f"The layer '{name}' takes a constant beside its inputs, which Keras 3 cannot read. {EXPORT}"
        )
    fed = list(_references(call, names))
    given = _replaced(call, names, tensor)
    keywords = _replaced(fed[0][3], names, tensor) if fed and len(fed[0]) > 3 else {}
    if isinstance(given, list) and len(given) > 1 and layer["class_name"] in _RECURRENT:
        keywords["initial_state"] = given[1:]
        given = given[:1]
    keywords = {key: value for key, value in keywords.items() if value is not None}  # Keras 3 has no `constants`
    return {"args": given if isinstance(given, list) and len(given) == 1 else [given], "kwargs": keywords}


def _operation_call(call: Any, names: dict[str, str], tensor: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """The call of an operation: a list of one stays a list, a constant may replace a tensor, null is an index too."""

    def given(value: Any) -> Any:
        if isinstance(value[0], list):
            return [given(one) for one in value]
        return value[2] if value[0] == CONSTANT else tensor(value)

    first = call
    while isinstance(first[0], list):
        first = first[0]
    keywords = _replaced(first[3], names, tensor) if len(first) > 3 else {}
    keywords.pop("name", None)
    if "slice_spec" in keywords:
        keywords["slice_spec"] = _index(keywords["slice_spec"])
    return {"args": [given(call)], "kwargs": keywords}


def _index(value: Any) -> Any:
    """The index with `...` as text: Keras' HDF5 reader turns Keras 2's dict into what its layer reader refuses."""
    if isinstance(value, list):
        return [_index(one) for one in value]
    return "..." if value == ELLIPSIS else value


def _references(value: Any, names: dict[str, Any]) -> Iterator[list[Any]]:
    if _is_reference(value, names):
        yield value
        value = value[3:]
    if isinstance(value, list | dict):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _references(child, names)


def _replaced(value: Any, names: dict[str, Any], change: Callable[[list[Any]], Any]) -> Any:
    """The same structure with each reference replaced by what `change` makes of it."""
    if _is_reference(value, names):
        return change(value)
    if isinstance(value, list):
        return [_replaced(child, names, change) for child in value]
    if isinstance(value, dict):
        return {key: _replaced(child, names, change) for key, child in value.items()}
    return value


def _is_reference(value: Any, names: dict[str, Any]) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] in names
        and isinstance(value[1], int)
        and isinstance(value[2], int)
    )
