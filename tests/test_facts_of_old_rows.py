"""Rows of a portal from before there were facts: an upgrade reads them once out of the sentences."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from models_app.choices import FileStatus
from models_app.models import ModelVersion, Transition
from models_app.pages.engine_choices import graph_ends
from models_app.pages.events import history_events
from tests.admin_rows import make_version

pytestmark = pytest.mark.django_db
fill = import_module("models_app.migrations.0007_facts_of_old_rows").fill


def row(reason: str, before: str = "ready") -> Transition:
    return Transition.objects.create(
        model_name="old", version_number=1, before=before, after="ready" if before else "uploaded", reason=reason
    )


def test_sizes_and_names_of_changes_are_read_out_of_the_history() -> None:
    rows = [
        row("Uploaded, 62000 bytes.", before=""),
        row("Changed: labels, postprocessing."),
        row("Changed: openvino bf16 from the next load."),
        row("Changed: litert from the next load. litert agrees and answers a single example soonest."),
    ]

    fill(apps, None)

    for one in rows:
        one.refresh_from_db()
    assert [one.facts for one in rows] == [
        {"size_bytes": 62_000},
        {"changed": ["labels", "postprocessing"]},
        {"changed": ["engine", "precision"]},
        {},
    ]
    assert [event.text for event in history_events(rows, timezone.now())][:2] == [
        "Uploaded, 62 KB.",
        "Changed: labels, scores.",
    ]


@pytest.mark.parametrize("status", [FileStatus.READY, FileStatus.REJECTED])
def test_the_ends_that_a_frozen_graph_offers_are_read_out_of_its_sentence(status: FileStatus) -> None:
    sentence = (
        "The graph does not say which outputs are meant; all were taken: 'y', 'aux/z:1'. "
        "Name others in the option graph_outputs."
    )
    form = "frozen_graph" if status == FileStatus.READY else ""
    version = make_version(status=status, status_detail=sentence, file_name="g.pb", format=form)
    others = make_version("others", notes=["The outputs are 'a' and 'b'."])

    fill(apps, None)

    kept = ModelVersion.objects.get(pk=version.pk)
    assert kept.candidates_json == {"graph_outputs": ["y", "aux/z:1"]}
    assert [end.name for end in graph_ends(kept).outputs] == ["y", "aux/z:1"]
    assert ModelVersion.objects.get(pk=others.pk).candidates_json == {}
