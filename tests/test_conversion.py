"""Conversion keeps names and answers, says what stands in the way, and ends when it is stopped."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from inference.catalog import FORMATS
from inference.conversion import CannotConvert, ConversionFailed, Converted, Outcome, convert
from inference.limited_child import Limits
from inference.workspace import Workspace
from tests import real_models
from tests.engine_fixtures import Arrays, Ran, Task, all_converted, converted, difference, model_data, run_engines
from tests.small_portal import disk_to_fill
from tests.this_host import available

ENGINE_OF = {target: FORMATS[target].reference for target in FORMATS["keras"].targets}
needs_everything = pytest.mark.skipif(available().name != "full", reason=f"this host: {available().missing}")
PLENTY = Limits(seconds=300.0, memory_bytes=6 * 10**9)
MEMORY_FOR_HEAVY = int(1.3e9)
"""TensorFlow's libraries take 0.7 GB. With the weights (64 MB) as its constants it was 1.4 on the way to OpenVINO, and
1.9 on that to ONNX; beside its graph 0.9 and 1.05."""


def quiet(percent: int, detail: str) -> None:
    pass


def failure(outcome: Outcome) -> str:
    """The sentence of a conversion that failed."""
    assert isinstance(outcome, ConversionFailed)
    return str(outcome)


def children() -> list[int]:
    """Conversions that this process has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            stat, command = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"inference.conversion" in command and int(stat.rpartition(")")[2].split()[1]) == os.getpid():
            found.append(int(entry.name))
    return found


AsConverted = Callable[..., tuple[Ran, Arrays]]


@pytest.fixture(scope="module")
def as_converted(engine_models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsConverted:
    """What the engine of a target answers with a converted Keras file, and the right answers.

    Each file is opened once, for all of its targets: that takes longer than to convert it.
    """
    made: dict[str, dict[str, Converted]] = {}

    def answers(name: str, target: str, targets: Sequence[str] = ("onnx", "openvino", "tflite")) -> tuple[Ran, Arrays]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = all_converted(folder, engine_models / f"{name}.keras", "keras", targets)
        given, expected = model_data(engine_models, name)
        file = made[name][target]
        task = Task(ENGINE_OF[target], target, file.path, given, (("names", dict(file.names)),))
        (ran,) = run_engines(tmp_path_factory.mktemp(f"{name}-{target}"), task)
        return ran, expected

    return answers


@pytest.mark.parametrize("target", ENGINE_OF)
def test_several_inputs_and_outputs_keep_their_names(
    as_converted: AsConverted, engine_models: Path, target: str
) -> None:
    given, _ = model_data(engine_models, "two_ends")

    ran, expected = as_converted("two_ends", target, tuple(ENGINE_OF))

    assert difference(ran.outputs, expected) < 1e-5
    assert sorted(spec["name"] for spec in ran.facts["inputs"]) == sorted(given)


def test_names_that_tensorflow_takes_for_no_scope_are_kept(tmp_path: Path, engine_models: Path) -> None:
    given, expected = model_data(engine_models, "odd_names")

    (ran,) = run_engines(tmp_path, Task("tensorflow", "keras", engine_models / "odd_names.keras", given))

    assert difference(ran.outputs, expected) < 1e-6
    assert sorted(spec["name"] for spec in ran.facts["inputs"]) == sorted(given)


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_names_that_tensorflow_takes_for_no_scope_are_converted(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("odd_names", target)

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_an_output_may_have_the_name_of_an_input_or_be_one(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("same_names", target)

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize("target", ["saved_model", "onnx", "openvino", "tflite"])
def test_an_input_that_nothing_reads_is_kept(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("idle_input", target, ("saved_model", "onnx", "openvino", "tflite"))

    assert difference(ran.outputs, expected) < 1e-5
    assert sorted(spec["name"] for spec in ran.facts["inputs"]) == ["idle", "self"]


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_tensor_may_be_returned_under_two_names(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("twice", target, ("onnx", "openvino"))

    assert difference(ran.outputs, expected) < 1e-5


def test_the_keys_of_a_dict_are_the_names_of_its_answers(tmp_path: Path, engine_models: Path) -> None:
    given, expected = model_data(engine_models, "named_answers")

    (ran,) = run_engines(tmp_path, Task("tensorflow", "keras", engine_models / "named_answers.keras", given))

    assert [spec["name"] for spec in ran.facts["outputs"]] == ["area/m2", "verdict"]
    assert difference(ran.outputs, expected) < 1e-6


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_the_keys_of_a_dict_are_kept(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("named_answers", target)

    assert difference(ran.outputs, expected) < 1e-5


def test_pictures_of_any_size_are_made_larger(tmp_path: Path, engine_models: Path) -> None:
    source = engine_models / "upsampled.keras"
    data = [model_data(engine_models, name) for name in ("upsampled_wide", "upsampled_high")]
    made = all_converted(tmp_path, source, "keras", ["onnx", "openvino"])
    files = [("tensorflow", "keras", source)] + [(ENGINE_OF[target], target, made[target].path) for target in made]

    answers = run_engines(tmp_path, *(Task(*file, given) for file in files for given, _ in data))

    for ran, (_, expected) in zip(answers, data * len(files), strict=True):
        assert difference(ran.outputs, expected) < 1e-5, ran.facts


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_recurrent_layers_are_converted(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("time_major", target)

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_an_engine_knows_whether_a_file_can_repeat_a_part_of_itself(as_converted: AsConverted, target: str) -> None:
    plain, _ = as_converted("two_ends", target, tuple(ENGINE_OF))
    steps, _ = as_converted("time_major", target)

    assert (plain.facts["may_loop"], steps.facts["may_loop"]) == (False, True)


def test_a_stateful_layer_begins_anew_with_each_call(tmp_path: Path, engine_models: Path) -> None:
    given, expected = model_data(engine_models, "stateful")

    (ran,) = run_engines(tmp_path, Task("tensorflow", "keras", engine_models / "stateful.keras", given))

    assert difference(ran.outputs, expected) < 1e-6


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_stateful_layers_are_converted(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("stateful", target)

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_functions_of_tensorflow_between_layers_are_converted(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("operations", target)

    assert difference(ran.outputs, expected) < 5e-5  # of values up to 30


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_pictures_of_any_size_go_into_every_form(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("any_size", target)

    assert difference(ran.outputs, expected) < 1e-5
    assert [size is None for size in ran.facts["inputs"][0]["shape"][1:]] == [True, True, False]


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_an_exact_gelu_is_converted(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("gelu", target)

    assert difference(ran.outputs, expected) < 1e-6


def test_a_model_without_weights_is_converted(as_converted: AsConverted) -> None:
    ran, expected = as_converted("no_weights", "openvino", ["openvino"])

    assert difference(ran.outputs, expected) < 1e-6


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_products_of_int8_are_kept_whole(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("quantised", target, ("onnx", "openvino"))

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_grouped_convolutions_are_converted(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("grouped", target)

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize("name", ["slots", "version_1"])
def test_an_old_saved_model_is_converted(tmp_path: Path, engine_models: Path, name: str) -> None:
    given, expected = model_data(engine_models, name)

    made = converted(tmp_path, engine_models / f"{name}.zip", "saved_model", "openvino")
    (ran,) = run_engines(tmp_path, Task("openvino", "openvino", made.path, given))

    assert difference(ran.outputs, expected) < 1e-5


@pytest.fixture(scope="module")
def of_digamma(engine_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What became of a graph with an operation that no other engine has, by target."""
    source, workspace = engine_models / "digamma.pb", Workspace(tmp_path_factory.mktemp("digamma") / "work")
    return convert(source, "frozen_graph", ["onnx", "openvino", "tflite"], workspace, progress=quiet, sandbox="auto")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("onnx", "ONNX has no operation for Digamma, which the model uses."),
        ("openvino", "OpenVINO has no operation for Digamma, which the model uses."),
        ("tflite", "TensorFlow Lite has no operation for Digamma, which the model uses. Use another engine."),
    ],
)
def test_the_operation_that_stands_in_the_way_is_named(
    of_digamma: dict[str, Outcome], target: str, sentence: str
) -> None:
    answer = of_digamma[target]

    assert isinstance(answer, CannotConvert)
    assert (answer.operation, answer.sentence) == ("Digamma", sentence)


def test_a_saved_model_with_slots_of_an_optimizer_is_converted(tmp_path: Path, engine_models: Path) -> None:
    given, expected = model_data(engine_models, "slots")
    made = all_converted(tmp_path, engine_models / "slots.zip", "saved_model", list(ENGINE_OF))

    for target, ran in zip(
        made, run_engines(tmp_path, *(Task(ENGINE_OF[t], t, made[t].path, given) for t in made)), strict=True
    ):
        assert difference(ran.outputs, expected) < 1e-5, target


def test_a_model_that_writes_its_variables_becomes_a_saved_model_only(tmp_path: Path, engine_models: Path) -> None:
    source, targets = engine_models / "counting.zip", ["saved_model", "onnx", "openvino", "tflite"]

    made = convert(source, "saved_model", targets, Workspace(tmp_path / "work"), progress=quiet, sandbox="auto")

    assert isinstance(made["saved_model"], Converted)
    for target in targets[1:]:
        assert isinstance(made[target], CannotConvert)
        assert str(made[target]) == (
            "The model changes its own variables while it answers, which formats other than a SavedModel do not keep. "
            "Run it in TensorFlow."
        )


def test_a_format_that_is_not_made_from_another_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(CannotConvert, match="The TensorFlow Lite file cannot be converted to ONNX"):
        converted(tmp_path, real_models.fer_tflite(), "tflite", "onnx")


def test_a_conversion_that_takes_too_long_is_stopped(tmp_path: Path, engine_models: Path) -> None:
    workspace = Workspace(tmp_path / "work")

    made = convert(
        engine_models / "loop.pb",
        "frozen_graph",
        ["openvino"],
        workspace,
        progress=quiet,
        sandbox="auto",
        limits=Limits(seconds=6.0, memory_bytes=PLENTY.memory_bytes),
    )

    assert "It took more than 6 s and was stopped" in failure(made["openvino"])
    assert children() == []
    assert not workspace.root.exists()


def test_a_conversion_that_takes_too_much_memory_is_stopped(tmp_path: Path, engine_models: Path) -> None:
    made = convert(
        engine_models / "mobilenet.keras",
        "keras",
        ["onnx", "tflite"],
        Workspace(tmp_path / "work"),
        progress=quiet,
        sandbox="auto",
        limits=Limits(seconds=200.0, memory_bytes=2 * 10**8),
    )

    assert set(made) == {"onnx", "tflite"}
    for outcome in made.values():
        assert "It took more than 0.2 GB of memory and was stopped" in failure(outcome)
    assert children() == []


def test_weights_are_converted_without_being_kept_many_times(tmp_path: Path, engine_models: Path) -> None:
    """TensorFlow keeps a constant ten times, tf2onnx once more at each of its passes: ResNet50 was stopped at 6 GB."""
    made = convert(
        engine_models / "heavy.keras",
        "keras",
        ["openvino", "onnx"],
        Workspace(tmp_path / "work"),
        progress=quiet,
        sandbox="auto",
        limits=Limits(seconds=PLENTY.seconds, memory_bytes=MEMORY_FOR_HEAVY),
    )

    assert all(isinstance(outcome, Converted) for outcome in made.values()), made


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_large_weights_of_all_kinds_are_converted(as_converted: AsConverted, target: str) -> None:
    ran, expected = as_converted("wide", target, ("onnx", "openvino"))

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize(
    ("name", "targets"),
    [("wide", ["onnx", "openvino"]), ("gathered", ["onnx"])],  # OpenVINO takes wrong rows of a constant (2026.4)
    ids=["wide", "gathered"],
)
def test_large_weights_of_a_saved_model_are_converted(
    tmp_path: Path, engine_models: Path, name: str, targets: list[str]
) -> None:
    given, expected = model_data(engine_models, name)

    made = all_converted(tmp_path, engine_models / f"{name}.zip", "saved_model", targets)
    answers = run_engines(tmp_path, *(Task(ENGINE_OF[form], form, made[form].path, given) for form in made))

    for ran in answers:
        named = ran.outputs if ran.outputs.keys() == expected.keys() else _in_order(ran.outputs, expected)
        assert difference(named, expected) < 1e-5, ran.facts


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_a_number_for_all_rows_goes_beside_them(tmp_path: Path, engine_models: Path, target: str) -> None:
    given, expected = model_data(engine_models, "zoomed")

    made = all_converted(tmp_path, engine_models / "zoomed.zip", "saved_model", [target])
    (ran,) = run_engines(tmp_path, Task(ENGINE_OF[target], target, made[target].path, given))

    assert {spec["name"]: spec["shape"] for spec in ran.facts["inputs"]} == {"rows": [None, 3], "zoom": []}
    assert difference(ran.outputs, expected) < 1e-6


def _in_order(outputs: Arrays, expected: Arrays) -> Arrays:
    """Keras calls the outputs of what it exports by their numbers."""
    return dict(zip(expected, (outputs[name] for name in sorted(outputs)), strict=True))


def test_a_full_disk_does_not_mean_that_a_format_cannot_express_the_model(tmp_path: Path, engine_models: Path) -> None:
    """That answer is kept, and nobody tries again."""
    with disk_to_fill(tmp_path / "disk", mib=100) as folder:
        source = engine_models / "heavy.keras"
        made = convert(source, "keras", ["tflite"], Workspace(folder / "work"), progress=quiet, sandbox="auto")

    assert failure(made["tflite"]).startswith("The disk is full")


def test_a_conversion_that_is_killed_loses_only_the_target_it_was_at(tmp_path: Path, engine_models: Path) -> None:
    def kill(percent: int, detail: str) -> None:
        if "TensorFlow Lite" in detail:
            for pid in children():
                os.kill(pid, signal.SIGKILL)

    targets = ["onnx", "tflite", "frozen_graph"]
    workspace = Workspace(tmp_path / "work")
    made = convert(engine_models / "two_ends.keras", "keras", targets, workspace, progress=kill, sandbox="auto")

    assert list(made) == targets
    assert "The file ended the process that worked on it" in failure(made["tflite"])
    for target in ("onnx", "frozen_graph"):
        outcome = made[target]
        assert isinstance(outcome, Converted)
        assert outcome.path.stat().st_size > 100


def test_a_conversion_that_is_killed_while_it_opens_the_file_leaves_nothing(
    tmp_path: Path, engine_models: Path
) -> None:
    def kill(percent: int, detail: str) -> None:
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    workspace = Workspace(tmp_path / "work")
    made = convert(engine_models / "two_ends.keras", "keras", ["onnx"], workspace, progress=kill, sandbox="auto")

    assert "The file ended the process that worked on it" in failure(made["onnx"])
    assert not (tmp_path / "work").exists()


def test_one_opening_makes_all_targets_and_one_that_cannot_be_made_loses_no_other(
    tmp_path: Path, engine_models: Path
) -> None:
    targets = ["onnx", "saved_model", "tflite", "keras"]
    heard: list[str] = []
    made = convert(
        engine_models / "digamma.pb",
        "frozen_graph",
        targets,
        Workspace(tmp_path / "work"),
        progress=lambda percent, detail: heard.append(detail),
        sandbox="auto",
    )

    assert list(made) == targets
    stages = [detail for detail, _ in itertools.groupby(heard)]  # while the child is silent the same is told again
    assert sum("Opening" in detail for detail in stages) == 1
    assert isinstance(made["saved_model"], Converted)
    assert [made[target].operation for target in ("onnx", "tflite")] == ["Digamma", "Digamma"]  # type: ignore[union-attr]
    assert str(made["keras"]) == "The Frozen .pb file cannot be converted to Keras."


@needs_everything
def test_every_format_is_made_inside_the_whole_sandbox(tmp_path: Path, engine_models: Path) -> None:
    """`require` refuses whatever is not walled in on all sides, so a file that is made was made inside."""
    targets = list(ENGINE_OF)
    workspace = Workspace(tmp_path / "work")

    made = convert(engine_models / "two_ends.keras", "keras", targets, workspace, progress=quiet, sandbox="require")

    assert {target: type(outcome) for target, outcome in made.items()} == dict.fromkeys(targets, Converted)


def test_a_file_that_cannot_be_opened_fails_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(real_models.orientation_onnx().read_bytes()[:50_000])

    with pytest.raises(ConversionFailed, match="ONNX Runtime cannot read the file") as refusal:
        converted(tmp_path, path, "onnx", "openvino")

    assert str(tmp_path) not in str(refusal.value)


def test_progress_rises_and_says_what_is_done(tmp_path: Path) -> None:
    heard: list[tuple[int, str]] = []

    convert(
        real_models.orientation_onnx(),
        "onnx",
        ["openvino"],
        Workspace(tmp_path / "work"),
        progress=lambda percent, detail: heard.append((percent, detail)),
        sandbox="auto",
    )

    assert [percent for percent, _ in heard] == sorted({percent for percent, _ in heard})
    assert all(detail.endswith(".") for _, detail in heard)
