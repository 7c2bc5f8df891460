"""Only Keras' own harmless parts may be named in a model file, and none may be larger than what the file holds."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from inference.formats import inspect_file
from inference.formats.keras_names import OPERATIONS
from tests.model_files import Json, dense, function, hdf5_model, keras_zip, layer, old_sequential, sequential
from tests.model_files import refusal as refusal_of


def refusal(folder: Path, *layers: Json) -> str:
    """The sentence for a .keras file with these layers."""
    return refusal_of(keras_zip(folder / "bad.keras", sequential(*layers)))


def accepted(folder: Path, *layers: Json) -> bool:
    return inspect_file(keras_zip(folder / "good.keras", sequential(*layers))).format == "keras"


LAMBDA_CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}


def test_a_lambda_layer_is_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, dense(), layer("Lambda", "touch", function=LAMBDA_CODE))

    assert sentence.startswith("The layer 'touch' is a Lambda: it carries program code, which is not run here.")


def test_a_lambda_layer_in_hdf5_is_refused(tmp_path: Path) -> None:
    config = old_sequential(dense(), layer("Lambda", "touch", function=["4wEAAAA=", None, None]))

    assert refusal_of(hdf5_model(tmp_path / "bad.h5", config)).startswith("The layer 'touch' is a Lambda")


def test_a_lambda_as_activation_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, dense(activation=LAMBDA_CODE)).startswith("The layer 'answer' is a Lambda")


def test_a_lambda_inside_of_a_wrapper_is_refused(tmp_path: Path) -> None:
    wrapped = layer("TimeDistributed", "each", layer=layer("Lambda", "touch", function=LAMBDA_CODE))

    assert refusal(tmp_path, dense(), wrapped).startswith("The layer 'touch' is a Lambda")


def test_a_function_of_the_system_is_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, dense(activation=function("os", "getcwd")))

    assert sentence.startswith("The layer 'answer' names the function 'os.getcwd', which is not one of Keras'")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.config", "set_epsilon"),
        ("keras.utils", "get_file"),
        ("keras.saving", "load_model"),
        ("keras.activations", "deserialize"),
        ("keras.initializers", "get"),
        ("keras.ops", "custom_gradient"),
        ("keras.src.config", "set_epsilon"),
        ("keras", "device"),
    ],
)
def test_functions_of_keras_that_are_no_activations_are_refused(tmp_path: Path, module: str, name: str) -> None:
    sentence = refusal(tmp_path, dense(activation=function(module, name)))

    assert sentence.startswith(f"The layer 'answer' names the function '{module}.{name}'")


def test_a_function_hidden_behind_its_registered_name_is_refused(tmp_path: Path) -> None:
    hidden = {**function("keras.activations", "relu"), "registered_name": "set_epsilon"}

    assert "names the function 'keras.activations.set_epsilon'" in refusal(tmp_path, dense(activation=hidden))


def test_a_function_as_an_argument_of_a_layer_call_is_refused(tmp_path: Path) -> None:
    call = dense()
    call["inbound_nodes"] = [{"args": [function("keras.config", "set_epsilon")], "kwargs": {}}]

    assert "names the function 'keras.config.set_epsilon'" in refusal(tmp_path, call)


def test_a_class_named_as_a_function_of_keras_is_refused(tmp_path: Path) -> None:
    named = {"module": "keras.config", "class_name": "set_epsilon", "config": {}, "registered_name": None}

    assert "uses the class 'set_epsilon', which is not part of Keras." in refusal(tmp_path, dense(activation=named))


def test_activations_by_name_and_as_functions_are_accepted(tmp_path: Path) -> None:
    assert accepted(tmp_path, dense(activation="gelu"), dense(activation=function("builtins", "relu")))
    assert accepted(tmp_path, dense(activation=function("keras.activations", "tanh")))


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, dense(activation="my_relu"))

    assert sentence.startswith("The layer 'answer' uses the activation 'my_relu', which is not part of Keras.")


@pytest.mark.parametrize("class_name", ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_layers_that_run_foreign_programs_are_refused(tmp_path: Path, class_name: str) -> None:
    sentence = refusal(tmp_path, layer(class_name, "door", filepath="/tmp/x"))

    assert sentence.startswith(f"The layer 'door' is of the class '{class_name}', which runs a program or a model")


def test_a_type_specification_is_refused(tmp_path: Path) -> None:
    spec = {"class_name": "__typespec__", "spec_name": "X", "module": "os", "config": [], "registered_name": None}

    assert "'__typespec__', which is not loaded here." in refusal(tmp_path, dense(note=spec))


@pytest.mark.parametrize("class_name", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_a_vocabulary_given_as_a_path_is_refused(tmp_path: Path, class_name: str) -> None:
    sentence = refusal(tmp_path, layer(class_name, "words", vocabulary="/etc/passwd"), dense())

    assert sentence.startswith("The layer 'words' reads its vocabulary from another file.")


def test_a_vocabulary_given_as_words_is_accepted(tmp_path: Path) -> None:
    assert accepted(tmp_path, layer("StringLookup", "words", vocabulary=["cat", "dog"]), dense())


def test_a_custom_layer_is_refused_by_name_and_class(tmp_path: Path) -> None:
    custom = layer("MyLayer", "odd", module=None)
    custom["registered_name"] = "Custom>MyLayer"

    assert refusal(tmp_path, dense(), custom).startswith(
        "The layer 'odd' is of the class 'MyLayer', which is not part of Keras."
    )


def test_a_layer_of_keras_that_hdf5_calls_by_its_class_is_accepted(tmp_path: Path) -> None:
    config = old_sequential(dense(), layer("GroupedQueryAttention", "seen", head_dim=1, num_query_heads=1))

    assert inspect_file(hdf5_model(tmp_path / "good.h5", config)).format == "hdf5"


def test_a_custom_layer_in_hdf5_is_refused(tmp_path: Path) -> None:
    config = old_sequential(dense(), layer("MyLayer", "odd"))

    assert "The layer 'odd' is of the class 'MyLayer'" in refusal_of(hdf5_model(tmp_path / "bad.h5", config))


@pytest.mark.parametrize(
    "module", ["my_package.layers", "os", "keras_hub.layers", "keras.src.utils", "keras.layers.x/y"]
)
def test_a_class_of_another_module_is_refused_whatever_its_name(tmp_path: Path, module: str) -> None:
    assert f"The layer 'odd' is of the class '{module}.Dense', which is not part of Keras." in refusal(
        tmp_path, {**dense("odd"), "module": module}
    )


def test_a_class_registered_under_another_name_is_refused(tmp_path: Path) -> None:
    assert "is of the class 'Custom>Dense', which is not part of Keras." in refusal(
        tmp_path, {**dense("odd"), "registered_name": "Custom>Dense"}
    )


def test_a_custom_model_is_refused(tmp_path: Path) -> None:
    config: Json = {"module": "my.code", "class_name": "MyModel", "config": {}, "registered_name": "MyModel"}

    assert refusal_of(keras_zip(tmp_path / "bad.keras", config)).startswith(
        "The model is of the class 'MyModel', which is not part of Keras."
    )


def test_a_feature_space_without_its_model_says_how_to_save_both(tmp_path: Path) -> None:
    config: Json = {"module": "keras.utils", "class_name": "FeatureSpace", "config": {}, "registered_name": None}

    assert refusal_of(keras_zip(tmp_path / "space.keras", config)).startswith(
        "The file holds a FeatureSpace, which prepares the inputs of a model and is none. Put both into one, "
    )


def test_a_custom_initializer_is_refused_and_its_layer_named(tmp_path: Path) -> None:
    custom = {"module": "my.code", "class_name": "MyInit", "config": {}, "registered_name": "MyInit"}

    assert refusal(tmp_path, dense(kernel_initializer=custom)).startswith(
        "The layer 'answer' uses the class 'MyInit', which is not part of Keras."
    )


@pytest.mark.parametrize("module", ["tf_keras.src.engine", "tf_keras.src.engine.functional.os", "tf_keras.layers"])
def test_of_tf_keras_only_the_home_of_its_models_is_known(tmp_path: Path, module: str) -> None:
    assert "which is not part of Keras." in refusal(tmp_path, dense() | {"module": module})


def test_the_functions_of_the_portal_are_not_named_by_files(tmp_path: Path) -> None:
    name = "portal>hard_sigmoid"

    for activation in (
        name,
        function("builtins", name),
        function("builtins", "hard_sigmoid") | {"registered_name": name},
    ):
        assert "portal>hard_sigmoid" in refusal(tmp_path, dense(activation=activation))

    own = layer("portal>operation", "odd", module=None, function="math.add")
    assert "of the class 'portal>operation', which is not part of Keras" in refusal(tmp_path, own)


def test_a_layer_that_keras_3_has_lost_is_refused(tmp_path: Path) -> None:
    config = old_sequential(dense(), layer("TensorFlowOpLayer", "add", node_def="name: 'add'"))

    assert refusal_of(hdf5_model(tmp_path / "bad.h5", config)) == (
        "The layer 'add' is of the class 'TensorFlowOpLayer' of an older Keras, which Keras 3 cannot load. Build the "
        "model from Keras' own layers and save it again, or export it where it was made (model.export('name'), or "
        "tf.saved_model.save(model, 'name') in older versions) and upload the folder as a zip."
    )


def operation(function: object, *calls: object, class_name: str = "TFOpLambda") -> Json:
    """A function of TensorFlow between two layers, as Keras 2 writes it."""
    home = "keras.src.layers.core.tf_op_layer"
    return {**layer(class_name, "tf.call", module=home, function=function), "inbound_nodes": list(calls)}


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("math.truediv", ["pixels", 0, 0, {"y": 127.5, "name": None}]),
        ("math.subtract", ["_CONSTANT_VALUE", -1, 1.0, {"y": ["pixels", 0, 0], "name": "less"}]),
        ("nn.bias_add", ["pixels", 0, 0, {"bias": [-103.9, -116.8, -123.7], "data_format": "NHWC"}]),
        ("concat", [["pixels", 0, 0, {"axis": -1}], ["_CONSTANT_VALUE", -1, [1.0, 2.0], {"axis": -1}]]),
        ("cast", ["pixels", 0, 0, {"dtype": "float16"}]),
        ("reshape", ["pixels", 0, 0, {"shape": [["rows", 0, 0], -1]}]),
        ("nn.relu", ["pixels", 0, 0]),
    ],
)
def test_a_known_operation_of_keras_2_is_accepted(tmp_path: Path, function: str, call: list[Any]) -> None:
    assert accepted(tmp_path, dense(), operation(function, call))


def test_an_index_of_keras_2_is_accepted(tmp_path: Path) -> None:
    index = [{"class_name": "__ellipsis__"}, None, {"start": ["n", 0, 0], "stop": None, "step": -1}, 0]
    call = ["pixels", 0, 0, {"slice_spec": index}]

    assert accepted(tmp_path, dense(), operation("__operators__.getitem", call, class_name="SlicingOpLambda"))


@pytest.mark.parametrize(
    "function",
    [
        *(
            "os.system",
            "io.read_file",
            "tf.io.read_file",
            "py_function",
            "numpy_function",
            "raw_ops.ReadFile",
            "tf.math.add",
        ),
        *("load_op_library", "map_fn", "math", "math.add.__globals__", "math.add ", "random.normal", "MATH.ADD", ""),
        *(None, ["math.add"], {"class_name": "function", "module": "builtins", "config": "relu"}),
    ],
)
@pytest.mark.parametrize("class_name", ["TFOpLambda", "SlicingOpLambda"])
def test_any_other_operation_is_refused(tmp_path: Path, class_name: str, function: object) -> None:
    sentence = refusal(tmp_path, dense(), operation(function, ["pixels", 0, 0, {"y": 1.0}], class_name=class_name))

    assert sentence.startswith("The layer 'tf.call' calls TensorFlow's 'tf.")
    assert "which is not computed here outside of a SavedModel. Build the model from Keras' own layers" in sentence
    assert "tf.saved_model.save(model, 'name')" in sentence


@pytest.mark.parametrize(
    "call",
    [
        ["pixels", 0, 0, {"z": 1.0}],
        ["pixels", 0, 0, {"y": "/etc/passwd"}],
        ["pixels", 0, 0, {"y": {"start": 0, "stop": 1}}],
        ["pixels", 0, 0, {"y": ["pixels", 0, "0"]}],
        ["pixels", 0, 0, {"y": 1.0, "name": ["add"]}],
        ["pixels", 0, 0, ["y", 1.0]],
        ["pixels", 0],
        ["_CONSTANT_VALUE", -1, "/etc/passwd", {}],
        ["_CONSTANT_VALUE", -1, {"class_name": "__tensor__", "config": {}}, {}],
        [[["pixels", 0, 0, {"y": 1.0}], 1.0]],
        {"args": [1.0], "kwargs": {"y": 1.0}},
        [],
    ],
)
def test_an_operation_takes_tensors_and_numbers_only(tmp_path: Path, call: object) -> None:
    sentence = refusal(tmp_path, dense(), operation("math.add", call))

    assert sentence.startswith(
        "The layer 'tf.call' calls TensorFlow's 'tf.math.add' with arguments that it is not known"
    )


@pytest.mark.parametrize(
    ("function", "key"),
    [
        ("tile", "multiples"),
        ("pad", "paddings"),
        ("image.resize", "size"),
        ("nn.depth_to_space", "block_size"),
        ("one_hot", "depth"),
    ],
)
def test_an_operation_makes_nothing_huge(tmp_path: Path, function: str, key: str) -> None:
    huge = operation(function, ["pixels", 0, 0, {key: [1, 10**9]}])

    assert f"declares 1,000,000,000 for '{key}', which no real model has." in refusal(tmp_path, huge, dense())


def test_a_class_that_is_no_name_is_refused(tmp_path: Path) -> None:
    assert "has no readable class." in refusal(tmp_path, dense(note={"class_name": ["Dense"], "config": {}}))


def test_an_operation_that_takes_a_function_is_refused(tmp_path: Path) -> None:
    operation = layer("VectorizedMap", "each", module="keras.src.ops.core", function=function("builtins", "relu"))

    assert "The layer 'each' is of the class 'VectorizedMap'" in refusal(tmp_path, operation)


def test_operations_between_layers_are_accepted(tmp_path: Path) -> None:
    assert accepted(tmp_path, dense(), layer("Mean", "mean", module="keras.src.ops.numpy", axis=[1]))


def test_the_models_own_loss_is_not_looked_at(tmp_path: Path) -> None:
    config = sequential(dense())
    config["compile_config"] = {"loss": function("my.code", "my_loss")}

    assert inspect_file(keras_zip(tmp_path / "good.keras", config)).format == "keras"


def test_the_loss_of_an_inner_model_may_only_be_one_of_keras(tmp_path: Path) -> None:
    inner = sequential(dense())
    inner["compile_config"] = {"loss": function("builtins", "mean_squared_error"), "optimizer": "adam"}
    assert accepted(tmp_path, inner)

    inner["compile_config"] = {"loss": function("my.code", "my_loss")}
    assert "names the function 'my.code.my_loss'" in refusal(tmp_path, inner)


def test_a_loss_is_refused_where_a_layer_belongs(tmp_path: Path) -> None:
    assert "which is not part of Keras." in refusal(tmp_path, layer("Huber", "odd", module="keras.losses"))


def test_two_thousand_million_units_are_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, dense("wide", units=2_000_000_000))

    assert sentence.startswith("The layer 'wide' needs 8,000,000,000 weights, but the file holds only 15.")


def test_two_thousand_million_units_in_hdf5_are_refused(tmp_path: Path) -> None:
    config = old_sequential(dense("wide", units=2_000_000_000))

    assert "needs 2,000,000,000 weights" in refusal_of(hdf5_model(tmp_path / "bad.h5", config))


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("Embedding", {"input_dim": 100_000, "output_dim": 1000}),
        ("Conv2D", {"filters": 500_000, "kernel_size": [3, 3]}),
        ("Conv2D", {"filters": 8, "kernel_size": 1000}),
        ("LSTM", {"units": 40_000}),
        ("SeparableConv2D", {"filters": 9_000_000, "kernel_size": [1, 1]}),
        ("MultiHeadAttention", {"num_heads": 100_000, "key_dim": 1000}),
        ("GroupQueryAttention", {"num_query_heads": 100_000, "num_key_value_heads": 10, "head_dim": 1000}),
        ("GroupedQueryAttention", {"num_query_heads": 100_000, "num_key_value_heads": 10, "head_dim": 1000}),
    ],
)
def test_layers_larger_than_the_file_are_refused(tmp_path: Path, class_name: str, config: dict[str, Any]) -> None:
    sentence = refusal(tmp_path, layer(class_name, "wide", **config))

    assert sentence.startswith("The layer 'wide' needs ")
    assert "but the file holds only 15." in sentence


def test_a_wide_input_of_a_layer_counts(tmp_path: Path) -> None:
    wide = {**dense("wide", units=1000), "build_config": {"input_shape": [None, 1_000_000]}}

    assert refusal(tmp_path, wide).startswith("The layer 'wide' needs 1,000,000,000 weights")


@pytest.mark.parametrize("between", [[], [layer("Dropout", "less", rate=0.5)], [layer("Flatten", "flat")]])
def test_the_width_of_the_layer_before_counts(tmp_path: Path, between: list[Json]) -> None:
    wide = [dense("first", units=2_000), *between, dense("second", units=9_000)]
    sentence = "The layer 'second' needs 18,000,000 weights, but the file holds only 15."

    assert refusal(tmp_path, *wide).startswith(sentence)
    old = old_sequential(layer("InputLayer", "in", batch_input_shape=[None, 1]), *wide)
    assert refusal_of(hdf5_model(tmp_path / "bad.h5", old)).startswith(sentence)


def test_the_size_of_a_flattened_picture_counts(tmp_path: Path) -> None:
    picture = layer("InputLayer", "picture", batch_input_shape=[None, 1000, 1000, 3])
    convolved = layer("Conv2D", "conv", filters=8, kernel_size=[3, 3], strides=[2, 2], padding="same")
    pooled = layer("MaxPooling2D", "pool", pool_size=[2, 2], strides=None, padding="valid")
    config = old_sequential(picture, convolved, pooled, layer("Flatten", "flat"), dense("wide", units=1000))

    assert refusal_of(hdf5_model(tmp_path / "bad.h5", config)).startswith(
        "The layer 'wide' needs 500,000,000 weights, but the file holds only 15."
    )


def test_shapes_are_followed_through_a_graph_in_any_order(tmp_path: Path) -> None:
    def called(part: Json, *sources: str) -> Json:
        return {
            "class_name": part["class_name"],
            "config": part["config"],
            "name": part["config"]["name"],
            "inbound_nodes": [[[source, 0, 0, {}] for source in sources]] if sources else [],
        }

    parts = [
        called(dense("wide", units=9_000), "both"),
        called(layer("Concatenate", "both", axis=-1), "left", "right"),
        called(dense("right", units=5_000), "in"),
        called(dense("left", units=4_000), "in"),
        called(layer("InputLayer", "in", batch_input_shape=[None, 1])),
    ]
    config: Json = {"class_name": "Functional", "config": {"name": "graph", "layers": parts}}

    assert refusal_of(hdf5_model(tmp_path / "bad.h5", config)).startswith(
        "The layer 'wide' needs 81,000,000 weights, but the file holds only 15."
    )


def test_many_layers_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, *(layer("Conv1D", f"layer_{n}", filters=2_400, kernel_size=1) for n in range(60)))

    assert sentence.startswith("The layers need 151,200 weights together, but the file holds only 15.")


def test_shapes_that_no_picture_has_are_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, layer("InputLayer", "huge", batch_shape=[None, 100_000, 100_000, 3]))

    assert sentence.startswith("The layer 'huge' declares 30,000,000,000 for 'batch_shape'")


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("UpSampling2D", {"size": [2_000_000, 1]}),
        ("RepeatVector", {"n": 10**9}),
        ("ZeroPadding2D", {"padding": [[0, 10**8], [0, 0]]}),
        ("Discretization", {"num_bins": 10**10}),
        ("RepeatVector", {"n": 10**4000}),
    ],
)
def test_steps_that_no_layer_takes_are_refused(tmp_path: Path, class_name: str, config: dict[str, Any]) -> None:
    assert re.match(
        r"The layer 'huge' declares [\d,]{9,} for '\w+', which no real model has\.",
        refusal(tmp_path, layer(class_name, "huge", **config)),
    )


def test_too_many_layers_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, *(layer("Flatten", "f") for _ in range(20_001))).startswith(
        "The model has more than 20,000 layers"
    )


def test_a_hostile_name_is_shown_short_and_on_one_line(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, layer("My\nLayer", "x" * 500 + "\n<img onerror=alert(1)>", module=None))

    assert "\n" not in sentence
    assert len(sentence) < 400


def test_every_operation_of_keras_is_known_but_those_that_take_a_function() -> None:
    found = importlib.util.find_spec("keras")
    assert found is not None and found.origin is not None
    bases: dict[str, list[str]] = {}
    for source in (Path(found.origin).parent / "src" / "ops").glob("*.py"):
        for node in ast.parse(source.read_text()).body:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]

    def is_operation(name: str) -> bool:
        return name == "Operation" or any(map(is_operation, bases.get(name, ())))

    operations = set(filter(is_operation, bases))
    take_functions = "AssociativeScan Cond ForiLoop Function JVP Map Scan Switch VectorizedMap WhileLoop"
    assert operations - OPERATIONS == {"Operation", "SegmentReduction", *take_functions.split()}
    assert operations >= OPERATIONS
