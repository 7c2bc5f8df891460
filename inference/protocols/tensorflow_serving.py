"""TensorFlow Serving's REST calls predict, classify and regress (its api_rest.md), also used for KServe V1.

Row form: `instances`, answered by `predictions`; column form: `inputs`, answered by `outputs`. For a model that takes
pictures, `{"b64": …}` is an encoded picture. Every error in a request is a 4xx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inference import tensors
from inference.errors import BadInput, NotFound, TooLarge, ValidationFailed
from inference.postprocessing import activated, both_scores
from inference.protocols import json_text
from inference.protocols.answer import Answer, json_answer
from inference.protocols.v2_classification import label_of
from inference.runner.config import MOST_PICTURES
from inference.served import ModelInput, Pictures, Served, Tensors
from inference.texts import as_base64, from_base64, is_encoded

Array = np.ndarray[Any, Any]
SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """`form` is the form of the request, which decides that of the response. `is_flat`: each example was one value."""

    model_input: ModelInput
    form: Literal["rows", "columns", "classify", "regress"]
    is_flat: bool = False


# ---- requests


def read_predict(body: bytes, served: Served) -> PredictRequest:
    """Parse the body of `:predict`; Content-Type is ignored. Raises ValidationFailed, BadInput or TooLarge."""
    given = json_text.read_object(body)
    _check_signature(given, "predict")
    if ("instances" in given) == ("inputs" in given):
        raise ValidationFailed("Send either instances or inputs.")
    form: Literal["rows", "columns"] = "rows" if "instances" in given else "columns"
    values = given["instances"] if form == "rows" else given["inputs"]
    if (examples := _single_values(values, served)) is not None:
        return PredictRequest(_rows([[value] for value in examples], served), form, is_flat=True)
    read = _rows if form == "rows" else _columns
    return PredictRequest(read(values, served), form)


def read_examples(body: bytes, served: Served, verb: Literal["classify", "regress"]) -> PredictRequest:
    """Parse the body of `:classify` or `:regress`: examples of features, and a context that all of them share."""
    given = json_text.read_object(body)
    _check_signature(given, verb)
    examples, context = given.get("examples"), given.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise ValidationFailed("examples is a list with at least one example.")
    if not isinstance(context, dict) or not all(isinstance(example, dict) for example in examples):
        raise ValidationFailed("Each example and the context is an object of features.")
    rows = [_example({**context, **example}, served) for example in examples]
    return PredictRequest(_rows(rows, served), verb)


def _example(features: Mapping[str, Any], served: Served) -> dict[str, Any]:
    """The inputs of one example. A list of one value and a single value are converted to what the input takes."""
    row: dict[str, Any] = {}
    for spec in served.signature.inputs:
        if spec.name not in features:
            raise BadInput(f"Each example has the features {', '.join(s.name for s in served.signature.inputs)}.")
        value = features[spec.name]
        if isinstance(value, list) and len(value) == 1 and (len(spec.shape) == 1 or is_encoded(value[0])):
            value = value[0]
        elif (is_encoded(value) or not isinstance(value, list | dict)) and len(spec.shape) == 2:
            value = [value]
        row[spec.name] = value
    return row


def _check_signature(given: Mapping[str, Any], verb: str) -> None:
    """Accepts the default signature, and one named after its verb, as in the documentation's example."""
    name = given.get("signature_name", SIGNATURE)
    if name not in (SIGNATURE, "", f"tensorflow/serving/{verb}"):
        raise ValidationFailed(f'Serving signature name: "{str(name)[:100]}" not found in signature def')


def _single_values(values: Any, served: Served) -> list[Any] | None:
    """The examples of `[1.0, 2.0]`, `[{"x": 1.0}, …]` or `{"x": [1.0, 2.0]}` if the only input is x (N, 1), else None.

    TensorFlow does not check the shape of such an input, so clients leave the inner brackets out, and get none back.
    """
    specs = served.signature.inputs
    if len(specs) != 1 or specs[0].shape[1:] != (1,):
        return None
    name = specs[0].name
    values = _unnamed(values, name)
    if not isinstance(values, list) or not values:
        return None
    examples = [_unnamed(value, name) for value in values]
    are_single = all(is_encoded(value) or not isinstance(value, list | dict) for value in examples)
    return examples if are_single else None


def _unnamed(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) and set(value) == {name} else value


def _rows(instances: Any, served: Served) -> ModelInput:
    if not isinstance(instances, list) or not instances:
        raise ValidationFailed("instances is a list with at least one example.")
    if served.takes_pictures:
        name = served.signature.inputs[0].name
        values = [_unnamed(row, name) for row in instances]
        if any(map(is_encoded, values)):
            return _pictures(values)
    return Tensors(tensors.conform(tensors.from_instances(instances, served.signature), served.signature))


def _columns(inputs: Any, served: Served) -> ModelInput:
    names = [spec.name for spec in served.signature.inputs]
    if served.takes_pictures:
        value = inputs[names[0]] if isinstance(inputs, dict) and names[0] in inputs else inputs
        if is_encoded(value):
            return _pictures([value])
        if isinstance(value, list) and any(map(is_encoded, value)):
            return _pictures(value)
    if isinstance(inputs, dict) and not is_encoded(inputs):  # names that the model does not have are ignored
        inputs = {name: inputs[name] for name in names if name in inputs}
    return Tensors(tensors.conform(tensors.from_columns(inputs, served.signature), served.signature))


def _pictures(values: Sequence[Any]) -> Pictures:
    if len(values) > MOST_PICTURES:
        raise TooLarge.of_pictures(MOST_PICTURES)
    pictures = []
    for index, value in enumerate(values):
        try:
            if not is_encoded(value) or not isinstance(value["b64"], str):
                raise ValueError
            pictures.append(from_base64(value["b64"]))
        except ValueError:
            raise BadInput(f'Example {index} is no {{"b64": text}} in standard base64, as others are.') from None
    return Pictures(pictures)


# ---- answers


def write_answer(request: PredictRequest, served: Served, outputs: Mapping[str, Array]) -> Answer:
    """Raises BadInput if the outputs cannot be assigned to the examples, or lack the scores that the request needs."""
    answers = {spec.name: outputs[spec.name] for spec in served.signature.outputs if spec.name in outputs}
    if served.answer is not None and served.answer.name in answers:
        name = served.answer.name
        answers[name] = activated(answers[name], served.answer, served.postprocessing)
    if request.is_flat:
        answers = {name: array[:, 0] if array.shape[1:] == (1,) else array for name, array in answers.items()}
    if request.form == "columns":
        value = [_values(name, array) for name, array in answers.items()]
        return json_answer({"outputs": value[0] if len(value) == 1 else dict(zip(answers, value, strict=True))})
    if request.form == "rows":
        return json_answer({"predictions": _predictions(answers)})
    scores = _scores(answers, served)
    if request.form == "classify":
        scores = both_scores(scores, served.labels)
        labels = [label_of(served.labels, index) for index in range(scores.shape[1])]
        return json_answer({"results": [list(zip(labels, map(_number, row), strict=True)) for row in scores]})
    if scores.shape[1] != 1:
        raise BadInput("The model gives several values for each example. Ask with predict.")
    return json_answer({"results": [_number(row[0]) for row in scores]})


def _predictions(answers: Mapping[str, Array]) -> Any:
    if len(answers) == 1:
        return _values(*next(iter(answers.items())))
    if len({len(array) if array.ndim else -1 for array in answers.values()}) != 1:
        raise BadInput("The outputs have different numbers of rows. Ask in the column form: inputs.")
    rows = len(next(iter(answers.values())))
    return [{name: _values(name, _row(array, row)) for name, array in answers.items()} for row in range(rows)]


def _row(array: Array, index: int) -> Array:
    return array[index : index + 1].reshape(array.shape[1:])  # with one axis, array[index] would not be an array


def _values(name: str, array: Array) -> Any:
    """Texts of an output whose name ends with _bytes become {"b64": …} (api_rest.md, "Encoding binary values")."""
    return as_base64(array) if array.dtype.kind == "O" and name.endswith("_bytes") else json_text.numbers(array)


def _scores(answers: Mapping[str, Array], served: Served) -> Array:
    """The output that is the answer, as (N, C)."""
    array = answers[served.answer.name] if served.answer is not None else next(iter(answers.values()))
    if array.ndim not in {1, 2} or not array.size or array.dtype.kind == "O":
        raise BadInput("The model gives no scores. Ask with predict.")
    return array.reshape(len(array), -1)


def _number(value: np.generic) -> Any:
    return json_text.numbers(np.asarray(value))


# ---- errors


def not_found(name: str, number: int | None, reason: str) -> NotFound:
    which = f"Latest({name[:100]})" if number is None else f"Specific({name[:100]}, {number})"
    return NotFound(f"Servable not found for request: {which}. {reason}")
