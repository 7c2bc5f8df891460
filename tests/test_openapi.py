"""The OpenAPI document: clean, and true. Calls made from it, fitting and not, never end in a 500."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.running_portal import Api, RunningPortal

pytestmark = pytest.mark.portal

FUZZED = "fuzzed"
FEW = {"token_create", "models_create", "versions_create", "origin_register"}
"""Each call takes long: it hashes a password, or has a file checked."""
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def document(portal: RunningPortal) -> Iterator[Any]:
    """The schema as schemathesis reads it; a rejected model to try things on, the sample loaded to be asked."""
    load_all_checks()
    api = portal.client("manage")
    before = {model["name"] for model in api.get("/api/models/").json()["results"]}
    api.post("/api/models/", data={"name": FUZZED}, files={"file": ("x.keras", b"no model")})
    api.checked(FUZZED)
    api.load("digits")
    yield schemathesis.openapi.from_url(f"{portal.url}/api/schema/", headers={"Accept": "application/json"})
    api.unload("digits")
    while rest := [m for m in api.get("/api/models/").json()["results"] if m["name"] not in before]:
        for model in rest:
            api.delete(f"/api/models/{model['name']}/", params={"unload": "true"})


def test_the_document_is_clean(portal: RunningPortal, tmp_path: Path) -> None:
    made = portal.manage("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))

    assert made.returncode == 0, made.stderr
    assert (tmp_path / "schema.yml").stat().st_size > 10_000


def test_the_document_names_what_a_put_takes(portal: RunningPortal) -> None:
    schemas = portal.client().get("/api/schema/", params={"format": "json"}).json()["components"]["schemas"]
    use = {"model_id", "model_path", "labels", "preprocessing", "postprocessing", "options", "engine"}

    assert set(schemas["OriginModelRequest"]["properties"]) == use | {"file"}
    assert set(schemas["OriginModelBodyRequest"]["properties"]) == use


def test_what_swagger_writes_into_a_form_beforehand_is_what_is_meant_without_it(portal: RunningPortal) -> None:
    """Without a default it writes the largest number (64 copies) or the text "string", and sends them."""
    schemas = portal.client().get("/api/schema/", params={"format": "json"}).json()["components"]["schemas"]
    filled = {
        form: {name: facts.get("default") for name, facts in schemas[form]["properties"].items()}
        for form in ("LoadWishRequest", "UnloadWishRequest", "NewVersionRequest")
    }
    texts = dict.fromkeys(("labels", "preprocessing", "postprocessing", "options"), "")

    assert filled["LoadWishRequest"] == {"wait": 0, "instances": 1}
    assert filled["UnloadWishRequest"] == {"wait": 35}
    assert filled["NewVersionRequest"] == {**texts, "engine": "auto", "file": None}
    for form in ("NewModelRequest", "OriginModelRequest"):
        assert {name: schemas[form]["properties"][name]["default"] for name in texts} == texts


def test_programs_can_make_clients_from_the_document(portal: RunningPortal) -> None:
    """openapi-generator makes a syntax error of an enum of null, openapi-python-client sends no body that comes in
    several types."""
    document = portal.client().get("/api/schema/", params={"format": "json"}).json()
    enums = [facts["enum"] for facts in document["components"]["schemas"].values() if "enum" in facts]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    bodies = [
        list(operation["requestBody"]["content"].values()) for operation in operations if "requestBody" in operation
    ]

    assert enums and [None] not in enums
    assert bodies and all(len({str(kind["schema"]) for kind in kinds}) == len(kinds) for kinds in bodies)


def aimed(case: Any) -> Any:
    """Most made-up names lead to a 404: a third of the calls go to what exists and may be spoilt."""
    if len(str(case.path_parameters)) % 3 and case.path_parameters and case.method != "DELETE":
        names = {"name": "digits" if "predict" in case.path else FUZZED, "number": 1}
        case.path_parameters.update({key: names[key] for key in case.path_parameters if key in names})
    return case


def tried(operation: Any, mode: GenerationMode, examples: int, api: Api) -> int:
    count = 0

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        nonlocal count
        count += 1
        authorization = {"Authorization": str(api.headers["Authorization"])}
        case = aimed(case)
        response = case.call(base_url=api.base, headers=authorization, timeout=60)
        case.validate_response(response, checks=CHECKS)

    try:
        call()
    except hypothesis.errors.Unsatisfiable:
        pass  # nothing that does not fit can be made for a call without parameters
    return count


def test_calls_made_from_the_document_never_end_in_a_500(document: Any, api: Api) -> None:
    count = 0
    problems: list[str] = []

    for result in document.get_all_operations():
        operation = result.ok()
        name = operation.definition.raw["operationId"]
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                count += tried(operation, mode, 4 if name in FEW else 12, api)
            except (Exception, FailureGroup) as error:  # every operation is tried; all problems are shown together
                problems.append(f"{name}, {mode.value}: {error}")

    print(f"{count} calls")
    assert not problems, "\n\n".join(problem[:1500] for problem in problems)
    assert count > 200
