"""The same question from a program, with the names of this model and this host, ready to paste."""

from __future__ import annotations

import json
from dataclasses import dataclass

from models_app.models import ModelVersion
from models_app.tryit.inputs import example_rows, takes_pictures

_CURL_PICTURE = """\
curl {address} \\
  -H "Authorization: Bearer $KEY" \\
  -F image=@picture.png"""
_CURL_TENSOR = """\
curl {address} \\
  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
  -d '{{"instances": {example}}}'"""
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
    json={{"instances": {example}}},
)
print(answer.json()["predictions"][0])"""


@dataclass(frozen=True, slots=True)
class Snippet:
    """`value` is what the style sheet knows the tab by."""

    value: str
    word: str
    code: str


def snippets(version: ModelVersion, host: str, *, needs_number: bool) -> list[Snippet]:
    """`host` with its scheme. The version that answers by itself is asked by the model's name alone."""
    which = f"versions/{version.number}/" if needs_number else ""
    address = f"{host}/api/models/{version.model.name}/{which}predict/"
    rows = example_rows(version)
    in_shell = json.dumps(rows).replace("'", "'\\''")
    if takes_pictures(version):
        curl, python = _CURL_PICTURE, _PYTHON_PICTURE
    else:
        curl, python = _CURL_TENSOR, _PYTHON_TENSOR
    return [
        Snippet("curl", "curl", curl.format(address=address, example=in_shell)),
        Snippet("python", "Python", python.format(address=address, example=repr(rows))),
    ]
