"""What rows from before 0005 and 0006 say in sentences, as the data that is read since then."""

import re

from django.db import migrations
from django.db.models import Q

_UPLOADED = re.compile(r"Uploaded, (\d+) bytes\.")
_CHANGED = re.compile(r"Changed: (\w+(?:, \w+)*)\.")
_CHOSEN = re.compile(r"Changed: \w+ \w+ from the next load\.")
_ENDS = re.compile(r"(inputs|outputs)\b(?:[^:']*(?::|; it has))?\s*((?:'[^']+'(?:, | and )?)+)")
_MOST_ENDS, _LONGEST_NAME = 64, 500


def _facts(reason):
    if found := _UPLOADED.fullmatch(reason):
        return {"size_bytes": int(found[1])}
    if found := _CHANGED.fullmatch(reason):
        return {"changed": found[1].split(", ")}
    return {"changed": ["engine", "precision"]} if _CHOSEN.fullmatch(reason) else {}


def _candidates(sentences):
    found = {"graph_inputs": [], "graph_outputs": []}
    for sentence in sentences:
        for kind, names in _ENDS.findall(sentence):
            known = found[f"graph_{kind}"]
            known += [name for name in re.findall(r"'([^']+)'", names) if name not in known]
    return {kind: [n for n in names if len(n) <= _LONGEST_NAME][:_MOST_ENDS] for kind, names in found.items() if names}


def fill(apps, schema_editor):
    history = apps.get_model("models_app", "Transition").objects
    said = Q(reason__startswith="Uploaded, ") | Q(reason__startswith="Changed: ")
    for row in history.filter(said, facts={}).order_by("pk").iterator():
        if facts := _facts(row.reason):
            history.filter(pk=row.pk).update(facts=facts)
    versions = apps.get_model("models_app", "ModelVersion").objects
    graphs = Q(format="frozen_graph") | Q(format="", file_name__iendswith=".pb")
    for version in versions.filter(graphs, candidates_json={}):
        if candidates := _candidates([version.status_detail, *map(str, version.notes)]):
            versions.filter(pk=version.pk).update(candidates_json=candidates)


class Migration(migrations.Migration):

    dependencies = [
        ('models_app', '0006_history_facts'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
