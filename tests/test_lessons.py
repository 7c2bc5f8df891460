"""What public model files taught, and where each lesson is tested with a file made for it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from inference.checking import check_file
from inference.workspace import Workspace
from tests.model_files import dense, hdf5_model, old_sequential

FOLDER = Path(__file__).parent

LESSONS = {
    "1 load without compiling: old optimizers and losses": [
        "test_lessons::test_a_file_with_an_old_optimizer_is_accepted",
    ],
    "2 groups in DepthwiseConv2D, dropped where it is 1": [
        "test_engines_old_files::test_an_old_file_answers_as_it_did",
        "test_engines_old_files::test_opening_an_old_file_leaves_it_as_it_is",
        "test_engines_old_files::test_a_file_that_cannot_be_read_says_why",
    ],
    "3 SavedModels with the slots of a Keras 2 optimizer": [
        "test_engines_old_files::test_an_old_file_answers_as_it_did",
        "test_conversion::test_an_old_saved_model_is_converted",
    ],
    "4 int8 TensorFlow Lite: scale and zero point": [
        "test_engines_old_files::test_a_quantised_file_takes_and_gives_real_numbers",
        "test_formats_tflite::test_quantised_ends_are_said",
    ],
    "5 outputs that are no probabilities, not one tensor, no class scores": [
        "test_try_answers::test_raw_scores_are_never_shown_as_per_cent",
        "test_try_answers::test_a_vector_shows_its_first_eight_numbers_and_its_line",
        "test_postprocessing::test_several_outputs_are_all_given_in_the_models_order",
    ],
    "6 the order of outputs differs between formats": [
        "test_conversion::test_several_inputs_and_outputs_keep_their_names",
    ],
    "7 labels in the file, beside it, or nowhere; as many as the scores": [
        "test_formats_onnx::test_labels_are_read_from_the_metadata",
        "test_formats_openvino::test_labels_beside_the_description_are_read",
        "test_formats_tflite::test_labels_behind_the_model_are_read",
        "test_postprocessing::test_labels_must_be_as_many_as_the_scores",
    ],
    "8 free sizes, and batches fixed at one": [
        "test_rest_real_files::test_free_height_and_width_need_a_size",
        "test_rest_real_files::test_the_quantised_file_with_a_batch_of_one_sees_a_happy_face_in_each_picture",
        "test_preprocessing::test_a_free_size_needs_a_size",
    ],
    "9 SavedModels with and without a top folder; the graph alone is none": [
        "test_formats_recognise::test_a_packed_saved_model_is_named",
        "test_formats_saved_model::test_a_folder_is_accepted_wherever_it_lies_in_the_archive",
        "test_formats_saved_model::test_the_graph_alone_is_no_model",
        "test_formats_saved_model::test_an_archive_without_the_weights_is_refused",
    ],
    "10 weights alone": [
        "test_formats_recognise::test_keras_2_weights_alone_are_refused",
        "test_formats_recognise::test_keras_3_weights_alone_are_refused",
    ],
    "11 layouts, colours and scales of all kinds; show what the model sees": [
        "test_images::test_colours_and_layouts",
        "test_images::test_presets_are_their_formulas",
        "test_images::test_per_image_standardize_replaces_scale_mean_and_std",
        "test_images::test_what_the_model_sees_is_the_picture_again",
    ],
    "12 the same format within 1e-5, between libraries .02, int8 within .15": [
        "test_engines_formats::test_a_real_model_answers_the_same_in_every_form",
        "test_every_form::test_each_form_of_a_real_model_is_served_and_answers_as_the_original",
        "test_engines_old_files::test_a_quantised_file_takes_and_gives_real_numbers",
    ],
}


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_lesson_has_its_tests(lesson: str) -> None:
    for place in LESSONS[lesson]:
        file, name = place.split("::")
        tree = ast.parse((FOLDER / f"{file}.py").read_text())
        assert name in {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}, place


def test_a_file_with_an_old_optimizer_is_accepted(tmp_path: Path) -> None:
    """Keras 3 knows neither `lr` nor the reduction `auto`: compiled, the file does not load (the control)."""

    def compiled(file: h5py.File) -> None:
        file.attrs["training_config"] = json.dumps({
            "optimizer_config": {"class_name": "Adam", "config": {"lr": 0.001}},
            "loss": {"class_name": "CategoricalCrossentropy", "config": {"reduction": "auto"}},
            "metrics": [], "loss_weights": None,
        })  # fmt: skip
        file["model_weights"].attrs["layer_names"] = [b"answer"]
        file["model_weights/answer"].attrs["weight_names"] = [b"kernel:0", b"bias:0"]

    path = hdf5_model(tmp_path / "old.h5", old_sequential(dense(batch_input_shape=[None, 4])), fill=compiled)
    code = "import sys, keras; keras.models.load_model(sys.argv[1])"

    found = check_file(
        path, workspace=Workspace(tmp_path / "work"), is_trusted=False, sandbox="auto", progress=lambda p, d: None
    )
    control = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=120, check=False)

    assert [spec.shape[-1] for spec in found.signature.outputs] == [3]
    assert control.returncode != 0
    assert b"lr" in control.stderr or b"reduction" in control.stderr
