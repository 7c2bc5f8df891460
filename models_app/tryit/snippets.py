"""Code that asks the model from a program, with the names of this model and this host, ready to paste."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from inference import texts
from inference.protocols.datatypes import datatype_of
from inference.signature import TensorSpec
from models_app.models import ModelVersion
from models_app.tryit.inputs import example_rows, example_shape, is_small, takes_pictures, zero

_CURL_PICTURE = """\
curl {address} \\
  -H "Authorization: Bearer $KEY" \\
  -F image=@picture.png"""
_CURL_TENSOR = """\
curl {address} \\
  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
  -d {body}"""
_CURL_LARGE = """\
python3 -c {body} |
  curl {address} \\
  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" -d @-"""
_PYTHON_PICTURE = """\
import os, requests

answer = requests.post(
    "{address}",
    headers={{"Authorization": f"Bearer {{os.environ['KEY']}}"}},
    files={{"image": open("picture.png", "rb")}},
)
print(answer.json()["predictions"][0])"""
_PYTHON_TENSOR = """\
import os, requests

answer = requests.post(
    "{address}",
    headers={{"Authorization": f"Bearer {{os.environ['KEY']}}"}},
    json={{"instances": {rows}}},
)
print(answer.json()["predictions"][0])"""

_TRITON = """\
import os
import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient("{place}"{more})
{inputs}
answer = client.infer("{model}", [{names}]{number},
                      headers={{"Authorization": f"Bearer {{os.environ['KEY']}}"}})
print(answer.as_numpy({output!r}))"""
_TRITON_PICTURE = """\
picture = triton.InferInput({name!r}, [1], "BYTES")
picture.set_data_from_numpy(np.array([open("picture.png", "rb").read()], dtype=object))"""
_TRITON_TENSOR = """\
{variable} = triton.InferInput({name!r}, {shape}, "{datatype}")
{variable}.set_data_from_numpy({values})"""
_SERVING_PICTURE = """\
(printf '{{"instances": [{{"b64": "'; base64 < picture.png | tr -d '\\n'; printf '"}}]}}') |
  curl {address} \\
  -H "Authorization: Bearer $KEY" -d @-"""


@dataclass(frozen=True, slots=True)
class Snippet:
    """`value` is the name of the tab in the style sheet."""

    value: str
    word: str
    code: str


def snippets(version: ModelVersion, host: str, *, needs_number: bool) -> list[Snippet]:
    """`host` has its scheme. Without `needs_number` the version is asked by the model's name alone."""
    which = f"/versions/{version.number}" if needs_number else ""
    address = f"{host}/api/models/{version.model.name}{which}/predict/"
    serving_address = f"{host}/v1/models/{version.model.name}{which}:predict"
    if takes_pictures(version):
        curl, python, serving, rows, body = _CURL_PICTURE, _PYTHON_PICTURE, _SERVING_PICTURE, "", ""
    elif is_small(version):
        curl, python, serving, rows = _CURL_TENSOR, _PYTHON_TENSOR, _CURL_TENSOR, repr(example_rows(version))
        body = json.dumps({"instances": example_rows(version)})
    else:
        curl, python, serving, rows = _CURL_LARGE, _PYTHON_TENSOR, _CURL_LARGE, _large_rows(version)
        body = f'import json; print(json.dumps({{"instances": {rows}}}))'
    return [
        Snippet("curl", "curl", curl.format(address=address, body=shlex.quote(body))),
        Snippet("python", "Python", python.format(address=address, rows=rows)),
        Snippet("triton", "tritonclient", _triton(version, host, needs_number)),
        Snippet("tfs", "TensorFlow Serving", serving.format(address=serving_address, body=shlex.quote(body))),
    ]


def _large_rows(version: ModelVersion) -> str:
    """The row form of one example as an expression of Python: `[{"photo": [[[0] * 3] * 32] * 32}]`.

    With double quotes, which a shell's single quotes hold as they are.
    """
    values = []
    for spec in version.signature.inputs:
        value = '"a text"' if spec.dtype == texts.DTYPE else repr(zero(spec))
        for size in reversed(example_shape(spec)):
            value = f"[{value}] * {size}"
        values.append(value)
    if len(values) == 1:
        return f"[{values[0]}]"
    names = [json.dumps(spec.name) for spec in version.signature.inputs]
    return f"[{{{', '.join(f'{name}: {value}' for name, value in zip(names, values, strict=True))}}}]"


def _shape(spec: TensorSpec) -> list[int]:
    return [size or 1 for size in spec.shape]


def _values(spec: TensorSpec) -> str:
    """The expression of an example: zeros, or texts."""
    if spec.dtype == texts.DTYPE:
        return f'np.full({_shape(spec)}, "a text", dtype=object)'
    return f"np.zeros({_shape(spec)}, np.{'bool_' if spec.dtype == 'bool' else spec.dtype})"


def _triton(version: ModelVersion, host: str, needs_number: bool) -> str:
    """tritonclient[http] with the inputs of this model; tensors are zeros or texts."""
    scheme, _, place = host.partition("://")
    signature = version.signature
    if takes_pictures(version):
        name = signature.inputs[0].name if signature.inputs else "image"
        inputs, names = [_TRITON_PICTURE.format(name=name)], ["picture"]
    else:
        names = [f"input{index}" if len(signature.inputs) > 1 else "input" for index in range(len(signature.inputs))]
        inputs = [
            _TRITON_TENSOR.format(
                variable=variable,
                name=spec.name,
                shape=_shape(spec),
                datatype=datatype_of(spec.dtype),
                values=_values(spec),
            )
            for variable, spec in zip(names, signature.inputs, strict=True)
        ]
    return _TRITON.format(
        place=place,
        more=", ssl=True" if scheme == "https" else "",
        inputs="\n".join(inputs),
        model=version.model.name,
        names=", ".join(names),
        number=f', model_version="{version.number}"' if needs_number else "",
        output=signature.outputs[0].name if signature.outputs else "output",
    )
