"""Whether a version is still ready, with the ends (inputs and outputs) that it had when a long job began.

A graph with other ends is another model: what was made or measured with the old ones is of no use.
"""

from __future__ import annotations

from models_app.choices import FileStatus
from models_app.models import ModelVersion
from models_app.services.outcome import JobFailed


def has_same_ends(before: ModelVersion, now: ModelVersion) -> bool:
    """Whether both are ready, with the same ends, and no check for trust came between, which drops what was made of the
    file. `before` is the version as the job read it at its start."""
    were_checked = before.status == now.status == FileStatus.READY and before.trusted_at == now.trusted_at
    return were_checked and before.options.graph_ends == now.options.graph_ends


def lock_with_same_ends(version: ModelVersion) -> ModelVersion:
    """The version as it is now, locked until the transaction ends. Raises JobFailed if it is gone or not as before."""
    now = ModelVersion.objects.select_for_update(of=("self",)).select_related("model").filter(pk=version.pk).first()
    if now is None or not has_same_ends(version, now):
        raise JobFailed("The version was deleted, or its file was checked again meanwhile.")
    return now
