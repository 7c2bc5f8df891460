"""What helps a rejected file: another one, other labels, or somebody who trusts it; the page offers just that."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from models_app.choices import FileStatus, JobKind, Remedy
from models_app.models import ModelVersion
from models_app.services.check import check
from tests.admin_client import text_of
from tests.admin_rows import make_superuser, make_version
from tests.graph_files import CLASSIFIER, FLOAT, graph_def, node, of_type, placeholder
from tests.model_files import dense, keras_zip, layer, sequential, weights_bytes

pytestmark = pytest.mark.django_db
PAGE = "/admin/models_app/modelversion/{}/change/"


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_FILES_DIR = tmp_path / "models"
    settings.PORTAL_RUN_DIR = tmp_path / "run"
    settings.PORTAL_RUN_DIR.mkdir()


def checked(file: Path, **fields: Any) -> ModelVersion:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    version = make_version(status=FileStatus.CHECKING, with_file=True, sha256=digest, **fields)
    shutil.copy(file, version.path)
    check(version.jobs.create(kind=JobKind.CHECK), lambda percent, detail: None)
    version.refresh_from_db()
    return version


def page_of(version: ModelVersion) -> str:
    client = Client()
    client.force_login(make_superuser())
    return text_of(client.get(PAGE.format(version.pk)))


def test_a_layer_that_is_not_allowed_can_be_trusted(tmp_path: Path) -> None:
    version = checked(keras_zip(tmp_path / "m.keras", sequential(dense(), layer("Lambda", "touch"))))

    assert (version.status, version.remedy) == (FileStatus.REJECTED, Remedy.TRUST)
    assert "Trust this file" in (page := page_of(version)) and "Upload again" in page


def test_an_operation_that_is_not_allowed_can_be_trusted(tmp_path: Path) -> None:
    file = tmp_path / "graph.pb"
    file.write_bytes(graph_def([placeholder("image", -1, 3), node("read", "ReadFile", "image")]))

    assert checked(file).remedy == Remedy.TRUST


def test_trusting_weights_alone_is_not_offered(tmp_path: Path) -> None:
    file = tmp_path / "weights.h5"
    file.write_bytes(weights_bytes())

    version = checked(file)

    assert (version.status, version.remedy) == (FileStatus.REJECTED, Remedy.UPLOAD)
    assert "Trust this file" not in (page := page_of(version)) and "Upload again" in page


@pytest.mark.parametrize(
    ("options", "labels"),
    [({"graph_outputs": ["nothing"]}, []), ({}, ["one", "two"])],
    ids=["no-such-output", "labels"],
)
def test_the_ends_of_a_rejected_graph_can_be_chosen(
    tmp_path: Path, options: dict[str, list[str]], labels: list[str]
) -> None:
    (tmp_path / "net.pb").write_bytes(graph_def([*CLASSIFIER, node("features", "Relu", "product", T=of_type(FLOAT))]))

    version = checked(tmp_path / "net.pb", file_name="net.pb", options_json=options, labels=labels)

    page = page_of(version)
    assert version.status == FileStatus.REJECTED
    assert version.candidates == {"graph_inputs": ("image",), "graph_outputs": ("answer", "features")}
    assert 'name="pick_inputs" value="image"' in page and 'name="pick_outputs" value="features"' in page


def test_wrong_labels_lead_to_the_labels(tmp_path: Path) -> None:
    version = checked(keras_zip(tmp_path / "m.keras", sequential(dense())), labels=["one", "two"])

    page = page_of(version)

    assert (version.status, version.remedy) == (FileStatus.REJECTED, Remedy.LABELS)
    assert f'{PAGE.format(version.pk)}?edit=labels">Correct the labels</a>' in page
    assert "Trust this file" not in page and "Upload again" not in page
