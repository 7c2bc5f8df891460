"""An OpenVINO model is a description and its weights in one archive, with OpenVINO's own layers only."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from inference.formats import FileFacts, inspect_file
from tests.model_files import refusal

WEIGHTS = bytes(48)
HEAD = '<?xml version="1.0"?>\n'


def port(number: int, *sizes: int, names: str = "") -> str:
    named = f' names="{names}"' if names else ""
    return f'<port id="{number}" precision="FP32"{named}>{"".join(f"<dim>{n}</dim>" for n in sizes)}</port>'


def layer(number: int, kind: str, inside: str = "", opset: str = "opset1") -> str:
    return f'<layer id="{number}" name="{kind}_{number}" type="{kind}" version="{opset}">{inside}</layer>'


PIXELS = layer(
    0, "Parameter", f'<data shape="?,4" element_type="f32"/><output>{port(0, -1, 4, names="pixels:0")}</output>'
)
CONSTANT = layer(
    1, "Const", f'<data element_type="f32" shape="4, 3" offset="0" size="48"/><output>{port(0, 4, 3)}</output>'
)
PRODUCT = layer(
    2,
    "MatMul",
    f"<input>{port(0, -1, 4)}{port(1, 4, 3)}</input><output>{port(2, -1, 3, names='scores,logits:0')}</output>",
)
RESULT = layer(3, "Result", f"<input>{port(0, -1, 3)}</input>")
EDGES = '<edges><edge from-layer="2" from-port="2" to-layer="3" to-port="0"/></edges>'


def net(*layers: str, version: str = "11", after: str = EDGES) -> str:
    inside = "".join(layers or (PIXELS, CONSTANT, PRODUCT, RESULT))
    return f'{HEAD}<net name="small" version="{version}"><layers>{inside}</layers>{after}</net>'


def packed(folder: Path, xml: str, weights: bytes = WEIGHTS, **more: str) -> Path:
    path = folder / "upload"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small/model.xml", xml)
        archive.writestr("small/model.bin", weights)
        for name, text in more.items():
            archive.writestr(f"small/{name.replace('_', '.')}", text)
    return path


def test_a_plain_model_is_accepted(tmp_path: Path) -> None:
    assert inspect_file(packed(tmp_path, net())) == FileFacts("openvino")


def test_a_packed_tar_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text(net())
    (tmp_path / "model.bin").write_bytes(WEIGHTS)
    path = tmp_path / "upload"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("model.xml", "model.bin"):
            archive.add(tmp_path / name, name)

    assert inspect_file(path).format == "openvino"


def test_labels_in_the_description_are_read(tmp_path: Path) -> None:
    about = (
        '<rt_info><Runtime_version value="2024.1"/><model_info><labels value="cat dog bird"/></model_info></rt_info>'
    )

    assert inspect_file(packed(tmp_path, net(after=EDGES + about))).labels == ("cat", "dog", "bird")


def test_labels_beside_the_description_are_read(tmp_path: Path) -> None:
    assert inspect_file(packed(tmp_path, net(), labels_txt="cat\ndog\nbird\n")).labels == ("cat", "dog", "bird")


def test_inputs_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    pixels = PIXELS.replace('element_type="f32"', 'element_type="undefined"')

    assert refusal(packed(tmp_path, net(pixels, CONSTANT, PRODUCT, RESULT))).startswith(
        "'Parameter_0' holds numbers of a kind that cannot be sent"
    )


def test_outputs_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    result = RESULT.replace('precision="FP32"', 'precision="U4"')

    assert refusal(packed(tmp_path, net(PIXELS, CONSTANT, PRODUCT, result))).startswith(
        "'Result_3' holds numbers of a kind that cannot be sent"
    )


def test_an_open_rank_leaves_the_kinds_of_numbers_to_the_engine(tmp_path: Path) -> None:
    pixels = layer(
        0, "Parameter", '<data shape="..." element_type="undefined"/><output><port id="0" precision="FP32"/></output>'
    )

    assert inspect_file(packed(tmp_path, net(pixels, CONSTANT, PRODUCT, RESULT))).format == "openvino"


def test_a_description_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text(net())

    assert refusal(path).startswith("This is the description of an OpenVINO model without its weights.")


def test_a_description_with_the_weights_of_another_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.xml", net())
        archive.writestr("two.bin", WEIGHTS)

    assert refusal(path).startswith("The archive holds no .xml with a .bin of the same name beside it.")


def test_two_models_in_one_archive_are_refused(tmp_path: Path) -> None:
    sentence = refusal(packed(tmp_path, net(), other_xml=net(), other_bin="x"))

    assert sentence.startswith("The archive holds several OpenVINO models: 'small/model.xml', 'small/other.xml'.")


def test_weights_past_the_end_of_the_bin_are_refused(tmp_path: Path) -> None:
    assert refusal(packed(tmp_path, net(), WEIGHTS[:-1])).startswith(
        "The description names weights up to byte 48, but the .bin has only 47."
    )


@pytest.mark.parametrize(
    "data",
    [
        'element_type="f32" shape="4, 3" offset="-8" size="48"',
        'element_type="f32" shape="4, 3" offset="0x0" size="48"',
        f'element_type="f32" shape="4, 3" offset="0" size="{"9" * 30}"',
        'element_type="f32" shape="4, 300" offset="0" size="48"',
    ],
)
def test_weights_that_cannot_be_are_damage(tmp_path: Path, data: str) -> None:
    bad = layer(1, "Const", f"<data {data}/>")

    assert refusal(packed(tmp_path, net(PIXELS, bad, PRODUCT, RESULT))).startswith(
        "The OpenVINO description is damaged"
    )


def test_weights_inside_of_a_loop_are_looked_at_too(tmp_path: Path) -> None:
    far = layer(9, "Const", '<data element_type="u8" shape="1" offset="4096" size="1"/>')
    loop = layer(2, "TensorIterator", f"<body><layers>{far}</layers></body>")

    assert "up to byte 4,097" in refusal(packed(tmp_path, net(PIXELS, loop, RESULT)))


def test_layers_of_extensions_are_refused(tmp_path: Path) -> None:
    sentence = refusal(packed(tmp_path, net(PIXELS, layer(1, "Magic", opset="extension"), RESULT)))

    assert sentence.startswith("The layer 'Magic_1' of the type 'Magic' comes from the extension 'extension'")


def test_layers_that_openvino_has_not_are_refused_inside_of_loops_too(tmp_path: Path) -> None:
    magic = layer(9, "Magic")
    assert "'Magic_9' is of the type 'Magic', which is not one of" in refusal(
        packed(tmp_path, net(PIXELS, magic, RESULT))
    )

    loop = layer(2, "Loop", f"<body><layers>{magic}</layers></body>")
    assert "'Magic_9' is of the type 'Magic'" in refusal(packed(tmp_path, net(PIXELS, loop, RESULT)))


@pytest.mark.parametrize(
    "document_type",
    [
        '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE net SYSTEM "file:///etc/passwd">',
    ],
)
def test_document_types_and_entities_are_refused(tmp_path: Path, document_type: str) -> None:
    xml = net().replace(HEAD, HEAD + document_type)

    assert refusal(packed(tmp_path, xml)).startswith("The OpenVINO description declares a document type")


def test_fifty_thousand_levels_are_refused(tmp_path: Path) -> None:
    xml = net(after="<a>" * 50_000 + "</a>" * 50_000)

    assert refusal(packed(tmp_path, xml)).startswith("The OpenVINO description is nested deeper than any real model.")


def test_an_old_version_is_refused(tmp_path: Path) -> None:
    assert refusal(packed(tmp_path, net(version="7"))).startswith("The OpenVINO description has version 7")


def test_a_model_without_output_is_refused(tmp_path: Path) -> None:
    assert refusal(packed(tmp_path, net(PIXELS, CONSTANT))).startswith("The OpenVINO model has no input or no output.")


@pytest.mark.parametrize(
    "xml", [net()[:-20], "<net", "", HEAD + "<html/>", HEAD + f'<net version="11" a="{"x" * 3_000_000}"/>']
)
def test_broken_descriptions_are_refused(tmp_path: Path, xml: str) -> None:
    assert refusal(packed(tmp_path, xml)).startswith("The OpenVINO description is damaged or was cut off.")
