"""From what models answer to what is told: top lists, vectors, labels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from inference.errors import EngineFailed, ValidationFailed
from inference.postprocessing import (
    Postprocessing,
    best_indices,
    check_labels,
    image_predictions,
    parse_labels,
    parse_postprocessing,
    sigmoid,
    softmax,
    tensor_prediction,
)
from inference.signature import Signature, TensorSpec

CATS = ["cat", "dog", "frog"]
PLAIN = Postprocessing()


def signature(**outputs: tuple[int | None, ...]) -> Signature:
    return Signature((), tuple(TensorSpec(name, "float32", shape) for name, shape in outputs.items()))


SCORES = signature(probs=(None, 3))
ONE = signature(p=(None, 1))


def f32(*rows: Any) -> np.ndarray[Any, Any]:
    return np.array(rows, dtype=np.float32)


def test_everything_is_optional_and_comes_back() -> None:
    given = {"activation": "softmax", "top": 3, "output": "probs", "kind": "classes"}

    assert parse_postprocessing(None) == parse_postprocessing({}) == PLAIN
    assert parse_postprocessing(given).as_json() == given


@pytest.mark.parametrize(
    "value",
    [
        [], "softmax", {"activations": "softmax"}, {"activation": "relu"}, {"activation": 1}, {"top": 0},
        {"top": True}, {"top": "5"}, {"top": 10**9}, {"output": ""}, {"output": 3}, {"output": "a\0"},
        {"output": "\ud800"}, {"kind": "boxes"},
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(value: Any) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_postprocessing(value)

    assert list(caught.value.fields) == ["postprocessing"]


def test_each_picture_gets_its_labels_largest_score_first() -> None:
    answers = image_predictions({"probs": f32([0.1, 0.7, 0.2], [0.5, 0.25, 0.25])}, SCORES, PLAIN, CATS, None)

    assert [[(t["index"], t["label"]) for t in answer["top"]] for answer in answers] == [
        [(1, "dog"), (2, "frog"), (0, "cat")],
        [(0, "cat"), (1, "dog"), (2, "frog")],
    ]
    assert answers[0]["top"][0]["score"] == pytest.approx(0.7, abs=1e-6)
    json.dumps(answers, allow_nan=False)


def test_without_labels_the_index_is_the_label() -> None:
    (answer,) = image_predictions({"probs": f32([1, 3, 2])}, SCORES, PLAIN, [], None)

    assert [t["label"] for t in answer["top"]] == ["1", "2", "0"]


@pytest.mark.parametrize(("asked", "own", "count"), [(None, None, 5), (None, 2, 2), (3, 2, 3), (1000, None, 12)])
def test_the_number_of_answers_is_the_callers_then_the_owners_then_five(
    asked: int | None, own: int | None, count: int
) -> None:
    outputs = {"probs": f32(list(range(12)))}

    (answer,) = image_predictions(outputs, signature(probs=(None, 12)), Postprocessing(top=own), [], asked)

    assert len(answer["top"]) == count


def test_scores_are_the_models_own_unless_an_activation_is_asked_for() -> None:
    logits = f32([1000.0, 1001.0, -1000.0])

    def scores(activation: Any) -> list[float]:
        (answer,) = image_predictions({"probs": logits}, SCORES, Postprocessing(activation=activation), CATS, None)
        return [t["score"] for t in answer["top"]]

    assert scores(None) == scores("none") == [1001.0, 1000.0, -1000.0]
    assert scores("softmax") == pytest.approx([0.7310586, 0.2689414, 0.0], abs=1e-6)
    assert scores("sigmoid") == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("shape", [(None,), (1,)])
def test_examples_of_one_number_are_not_compared_with_each_other(shape: tuple[int | None, ...]) -> None:
    def numbers(activation: Any) -> list[float]:
        given = Postprocessing(activation=activation)
        (answer,) = tensor_prediction({"p": f32(0, 1, 1000)}, signature(p=shape), given, [], None)
        return answer["outputs"][0]["data"]

    assert numbers("softmax") == [0, 1, 1000]
    assert numbers("sigmoid") == pytest.approx([0.5, 0.7310586, 1.0])


def test_the_classes_of_an_output_without_examples_are_compared() -> None:
    given = Postprocessing(activation="softmax")

    (answer,) = tensor_prediction({"p": f32(0, 1, -1000)}, signature(p=(3,)), given, [], None)

    assert answer["outputs"][0]["data"] == pytest.approx([0.2689414, 0.7310586, 0])


def test_activations_are_computed_in_double_precision() -> None:
    x = np.random.default_rng(1).normal(0, 20, (7, 1000)).astype(np.float32)
    powers = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True).astype(np.float64))

    assert softmax(x).dtype == sigmoid(x).dtype == np.float32
    np.testing.assert_array_equal(softmax(x), (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32))
    np.testing.assert_allclose(sigmoid(x), 0.5 * (1 + np.tanh(x.astype(np.float64) / 2)), atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 0.1], ids=["numbers", "some NaN"])
@pytest.mark.parametrize("size", [1, 2, 10, 1000, 50_000])
def test_the_best_are_those_of_a_full_sort(size: int, share: float) -> None:
    chance = np.random.default_rng(5)
    four_values = chance.integers(0, 4, size).astype(float)
    mostly_infinite = np.where(four_values == 3, 0, -np.inf)
    for values in (chance.normal(size=size), four_values, np.zeros(size), mostly_infinite):
        scores = values.astype(np.float32)
        scores[chance.random(size) < share] = np.nan
        wanted = sorted(
            range(size), key=lambda i: (np.isnan(scores[i]), -scores[i] if scores[i] == scores[i] else 0, i)
        )
        for count in (1, 5, size, size + 3):
            assert best_indices(scores, count) == wanted[:count]


def test_scores_that_are_no_numbers_come_last_and_as_text() -> None:
    (answer,) = image_predictions({"probs": f32([np.nan, -np.inf, np.inf])}, SCORES, PLAIN, CATS, None)

    assert [(t["label"], t["score"]) for t in answer["top"]] == [
        ("frog", "Infinity"), ("dog", "-Infinity"), ("cat", "NaN"),
    ]  # fmt: skip


def test_whole_number_scores_stay_whole() -> None:
    (answer,) = image_predictions({"probs": np.array([[0, 255, 3]], dtype=np.uint8)}, SCORES, PLAIN, CATS, 1)

    assert answer == {"top": [{"index": 1, "label": "dog", "score": 255}]}


def test_one_score_and_two_labels_give_both() -> None:
    answers = image_predictions({"p": f32([0.25], [0.75], [0.5])}, ONE, PLAIN, ["no", "yes"], None)

    assert [[(t["index"], t["label"], t["score"]) for t in answer["top"]] for answer in answers] == [
        [(0, "no", 0.75), (1, "yes", 0.25)],
        [(1, "yes", 0.75), (0, "no", 0.25)],
        [(0, "no", 0.5), (1, "yes", 0.5)],
    ]


def test_one_score_outside_of_0_to_1_stays_a_number_unless_sigmoid_is_asked_for() -> None:
    (answer,) = image_predictions({"p": f32([3.0])}, ONE, PLAIN, ["no", "yes"], None)
    assert answer == {"outputs": [{"name": "p", "dtype": "float32", "shape": [1], "data": [3.0]}]}

    (answer,) = image_predictions({"p": f32([3.0])}, ONE, Postprocessing(activation="sigmoid"), ["no", "yes"], None)
    assert [t["label"] for t in answer["top"]] == ["yes", "no"]
    assert [t["score"] for t in answer["top"]] == pytest.approx([0.9525741, 0.0474259], abs=1e-6)


def test_the_form_of_a_pictures_answer_does_not_depend_on_the_pictures_beside_it() -> None:
    rows = f32([0.25], [3.0], [np.nan], [1.0])
    alone = [image_predictions({"p": row[None]}, ONE, PLAIN, ["no", "yes"], None)[0] for row in rows]

    together = image_predictions({"p": rows}, ONE, PLAIN, ["no", "yes"], None)

    assert [list(answer) for answer in together] == [["top"], ["outputs"], ["outputs"], ["top"]]
    assert together == alone


@pytest.mark.parametrize("labels", [[], ["only"]])
def test_one_score_without_two_labels_is_a_number(labels: list[str]) -> None:
    (answer,) = image_predictions({"p": f32([0.5])}, ONE, PLAIN, labels, None)

    assert answer["outputs"][0]["data"] == [0.5]


def test_a_vector_is_given_as_it_is_without_the_batch_axis() -> None:
    answers = image_predictions({"probs": f32([1, 2, 3], [4, 5, 6])}, SCORES, Postprocessing(kind="vector"), [], 5)

    assert [answer["outputs"] for answer in answers] == [
        [{"name": "probs", "dtype": "float32", "shape": [3], "data": [1, 2, 3]}],
        [{"name": "probs", "dtype": "float32", "shape": [3], "data": [4, 5, 6]}],
    ]


def test_pictures_as_answers_are_nested_with_texts_for_what_json_lacks() -> None:
    mask = np.full((2, 2, 2, 1), 0.5, dtype=np.float32)
    mask[0, 0, 0, 0], mask[0, 0, 1, 0], mask[0, 1, 0, 0] = np.nan, np.inf, -np.inf

    answers = image_predictions({"mask": mask}, signature(mask=(None, 2, 2, 1)), PLAIN, [], None)

    assert answers[0]["outputs"][0]["data"] == [[["NaN"], ["Infinity"]], [["-Infinity"], [0.5]]]
    assert answers[1]["outputs"][0]["shape"] == [2, 2, 1]
    json.dumps(answers, allow_nan=False)


def test_several_outputs_are_all_given_in_the_models_order() -> None:
    both = signature(boxes=(None, 2, 4), probs=(None, 3))
    outputs = {"probs": f32([1, 2, 3], [3, 2, 1]), "boxes": np.zeros((2, 2, 4), dtype=np.float32)}

    answers = image_predictions(outputs, both, PLAIN, [], None)

    assert [[o["name"] for o in answer["outputs"]] for answer in answers] == [["boxes", "probs"]] * 2


def test_of_several_outputs_the_named_one_or_the_one_that_fits_the_labels_answers() -> None:
    both = signature(embedding=(None, 8), probs=(None, 3))
    outputs = {"embedding": np.ones((1, 8), dtype=np.float32), "probs": f32([1, 2, 3])}

    for settings, labels in ((Postprocessing(output="probs"), []), (PLAIN, CATS)):
        (answer,) = image_predictions(outputs, both, settings, labels, 1)
        assert answer["top"][0]["index"] == 2
    (answer,) = image_predictions(outputs, both, Postprocessing(output="embedding", kind="vector"), CATS, 1)
    assert [o["name"] for o in answer["outputs"]] == ["embedding"]


def test_an_unknown_output_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValidationFailed, match=r"no output “scores”. Its outputs are boxes, probs") as caught:
        image_predictions({}, signature(boxes=(None, 4), probs=(None, 3)), Postprocessing(output="scores"), [], None)

    assert list(caught.value.fields) == ["postprocessing"]


def test_scores_in_the_middle_of_ones_are_classes_if_asked_for() -> None:
    old = {"probs": f32([[[1, 3, 2]]])}

    (answer,) = image_predictions(old, signature(probs=(None, 1, 1, 3)), Postprocessing(kind="classes"), CATS, 1)

    assert answer["top"][0]["label"] == "dog"


def test_outputs_without_a_batch_axis_belong_to_a_single_picture_only() -> None:
    found = {"found": np.zeros((5, 7), dtype=np.float32)}
    spec = signature(found=(None, None, 7))

    (answer,) = image_predictions(found, spec, Postprocessing(kind="vector"), [], None, pictures=1)
    assert answer["outputs"][0]["shape"] == [5, 7]
    with pytest.raises(EngineFailed, match="5 rows for 2 pictures"):
        image_predictions(found, spec, Postprocessing(kind="vector"), [], None, pictures=2)


def test_tensors_keep_their_batch() -> None:
    (answer,) = tensor_prediction({"probs": f32([1, 2, 3], [4, 5, 6])}, SCORES, PLAIN, CATS, None)

    assert answer == {
        "outputs": [{"name": "probs", "dtype": "float32", "shape": [2, 3], "data": [[1, 2, 3], [4, 5, 6]]}]
    }


def test_tensors_answer_labels_only_when_asked() -> None:
    outputs = {"probs": f32([1, 2, 3], [6, 5, 4])}

    answers = tensor_prediction(outputs, SCORES, Postprocessing(top=3), CATS, 1)

    assert [answer["top"][0]["label"] for answer in answers] == ["frog", "cat"]
    assert "outputs" in tensor_prediction(outputs, SCORES, Postprocessing(top=3), CATS, None)[0]


def test_other_dtypes_are_given_as_json_can_hold_them() -> None:
    outputs = {
        "words": np.array([[b"a", b"\xc3\xa9"]], dtype=object),
        "flags": np.array([[True, False]]),
        "big": np.array([[2**53 + 1]], dtype=np.int64),
        "half": np.array([[0.5, np.nan]], dtype=np.float16),
    }

    (answer,) = tensor_prediction(outputs, signature(**dict.fromkeys(outputs, (None, None))), PLAIN, [], None)

    assert {o["name"]: (o["dtype"], o["data"]) for o in answer["outputs"]} == {
        "words": ("string", [["a", "é"]]),
        "flags": ("bool", [[True, False]]),
        "big": ("int64", [[2**53 + 1]]),
        "half": ("float16", [[0.5, "NaN"]]),
    }


@pytest.mark.parametrize(
    ("count", "model", "settings", "sentence"),
    [
        (0, SCORES, PLAIN, None),
        (3, SCORES, PLAIN, None),
        (2, ONE, PLAIN, None),
        (1, ONE, PLAIN, None),
        (7, signature(probs=(None, None)), PLAIN, None),
        (2, signature(mask=(None, 8, 8, 2)), PLAIN, None),
        (3, signature(probs=(None, 1, 1, 3)), PLAIN, None),
        (3, signature(embedding=(None, 8), probs=(None, 3)), PLAIN, None),
        (2, SCORES, PLAIN, "2 labels were given and the model has 3 scores. "),
        (1, SCORES, PLAIN, "1 label was given and the model has 3 scores. "),
        (1001, signature(probs=(None, 1000)), PLAIN, "1,001 labels were given and the model has 1,000 scores. "),
        (3, ONE, PLAIN, "3 labels were given and the model has one score. Give two labels"),
        (4, signature(embedding=(None, 8), probs=(None, 3)), PLAIN, "4 labels .* (embedding 8, probs 3)"),
        (8, signature(embedding=(None, 8), probs=(None, 3)), Postprocessing(output="probs"), "8 labels .* 3 scores"),
    ],
)
def test_labels_must_be_as_many_as_the_scores(
    count: int, model: Signature, settings: Postprocessing, sentence: str | None
) -> None:
    found = check_labels([str(n) for n in range(count)], model, settings)

    if sentence is None:
        assert found is None
    else:
        assert found is not None and all(part in found for part in sentence.split(" .* "))


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (None, []),
        ("", []),
        ("cat\ndog", ["cat", "dog"]),
        ("\ufeffcat\r\ndog\r\n\r\n", ["cat", "dog"]),
        (b"\xef\xbb\xbfcat\rd\xc3\xa9j\xc3\xa0\n", ["cat", "déjà"]),
        ("cat \n\nfrog", ["cat", "", "frog"]),
        ('["cat", "dog"]', ["cat", "dog"]),
        (' [0, 90, "180"]\n', ["0", "90", "180"]),
        ("[UNK]\ncat", ["[UNK]", "cat"]),
        ("\ncat\n", ["", "cat"]),
        (["cat", "dog "], ["cat", "dog"]),
        ("[]", []),
    ],
)
def test_labels_come_as_json_or_one_a_line(given: object, labels: list[str]) -> None:
    assert parse_labels(given) == labels


@pytest.mark.parametrize(
    "given",
    [
        b"\xff\xfe", 3, {"0": "cat"}, '{"0": "cat"}', "{\n}", [["cat"]], [None], [True], '["cat", "dog"', "cat\0",
        ["\ud800"], ["x" * 5000],
    ],
)  # fmt: skip
def test_other_labels_are_refused_with_a_sentence(given: object) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_labels(given)

    assert list(caught.value.fields) == ["labels"]
    assert caught.value.message.endswith(".")


def test_labels_that_are_deep_json_are_only_text() -> None:
    assert parse_labels("[\n" * 10_000) == ["["] * 10_000
