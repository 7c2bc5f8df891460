"""Real models pass the allow-list: public files, Keras' own architectures, our sample."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inference.formats import FileFacts, FileRejected, inspect_file
from inference.formats.hdf5_tree import StoredWeights
from inference.formats.json_text import parse_config
from inference.formats.keras_config import check_config
from inference.formats.keras_shapes import input_shapes
from inference.formats.keras_sizes import numbers_needed
from tests import real_models
from tests.engine_fixtures import write_models

ROOT = Path(__file__).resolve().parent.parent
MORE_ARCHITECTURES = (
    *("ResNet50", "VGG16", "EfficientNetB0", "DenseNet121", "InceptionV3", "Xception", "NASNetMobile"),
    *("ConvNeXtTiny", "MobileNetV3Small", "EfficientNetV2B0", "InceptionResNetV2"),
)


@pytest.fixture(scope="session")
def applications(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that one process with TensorFlow has written (about 10 s), MobileNetV2 among them."""
    return write_models("tests.keras_applications", tmp_path_factory.mktemp("applications"), 280)


@pytest.fixture(scope="session")
def more_applications(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other architectures (about 20 s)."""
    folder = tmp_path_factory.mktemp("more-applications")
    return write_models("tests.keras_applications", folder, 280, *MORE_ARCHITECTURES)


def test_mobilenet_passes(applications: Path) -> None:
    assert_passes(applications, "MobileNetV2")


@pytest.mark.long
@pytest.mark.parametrize("name", MORE_ARCHITECTURES)
def test_an_architecture_of_keras_passes(more_applications: Path, name: str) -> None:
    assert_passes(more_applications, name)


def assert_passes(folder: Path, name: str) -> None:
    """As it is, and without its written shapes, as Keras 2 wrote them: what is followed from layer to layer must not
    exceed the truth either."""
    config = parse_config((folder / f"{name}.json").read_bytes())
    count = int((folder / f"{name}.count").read_text())
    check_config(config, StoredWeights(numbers=count, largest=count, datasets=1))

    fed = input_shapes(config)
    needed = 0
    for layer in config["config"]["layers"]:
        needed += numbers_needed(layer["class_name"], layer["config"], None, fed.get(id(layer)))
        written = layer.get("build_config", {}).get("input_shape")
        if id(layer) in fed and written and not isinstance(written[0], list):
            known = [(ours, theirs) for ours, theirs in zip(fed[id(layer)], written, strict=True) if ours is not None]
            assert all(ours == theirs for ours, theirs in known), (layer["name"], known)

    print(f"{name}: {needed:,} of {count:,} weights counted")
    assert needed <= count


@pytest.mark.parametrize("name", ["text", "operations", "nested", "vocabulary", "mixed", "int8", "whole"])
def test_a_model_of_many_kinds_of_layers_passes(applications: Path, name: str) -> None:
    assert inspect_file(applications / f"{name}.keras").format == "keras"


def test_an_hdf5_file_written_by_keras_3_passes(applications: Path) -> None:
    assert inspect_file(applications / "whole.h5").format == "hdf5"


def test_a_custom_layer_written_by_keras_is_refused(applications: Path) -> None:
    with pytest.raises(FileRejected, match="The layer 'odd' is of the class 'Mine', which is not part of Keras"):
        inspect_file(applications / "custom.h5")


def test_every_name_on_the_allow_list_is_one_of_keras(applications: Path) -> None:
    assert json.loads((applications / "unknown.json").read_text()) == []


def test_a_public_model_of_keras_2_0_passes() -> None:
    assert inspect_file(real_models.fer_hdf5()) == FileFacts("hdf5")


def test_a_public_model_of_keras_2_4_passes() -> None:
    assert inspect_file(real_models.cifar_h5()) == FileFacts("hdf5")


def test_the_sample_passes_and_its_settings_fit() -> None:
    settings = json.loads((ROOT / "samples" / "digits.json").read_text())

    assert inspect_file(ROOT / "samples" / settings["file"]).format == "keras"
    assert settings["labels"] == [str(digit) for digit in range(10)]
    assert len(list((ROOT / "samples" / "images").glob("*.png"))) == 10


ENGINE_LIBRARIES = ("tensorflow", "keras", "onnx", "onnxruntime", "openvino", "ai_edge_litert", "django")


def test_looking_at_a_file_imports_no_engine() -> None:
    code = (
        "import sys; from pathlib import Path; from inference.formats import inspect_file;"
        "inspect_file(Path('samples/digits.keras'));"
        f"print([name for name in {ENGINE_LIBRARIES} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"
