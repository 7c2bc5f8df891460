"""The way of a file from the upload to ready, as a list of steps."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.choices import PENDING_JOBS, FileStatus, JobKind
from models_app.models import Job, ModelVersion
from models_app.pages.words import plural, size_words
from models_app.services.choose import AUTO


@dataclass(frozen=True, slots=True)
class Step:
    """`state` is done, now, no (it ended here) or empty (still to come); `progress` in per cent where it is known."""

    state: str
    text: str
    detail: str = ""
    progress: int | None = None


STEPS_AHEAD = (
    Step("", "Upload", "streamed to disk; you can stop it at any time"),
    Step("", "What kind of file it is", "read from its first bytes"),
    Step("", "Inputs and outputs", "read in a process of its own, in two minutes at most"),
    Step("", "Labels", "as many as the model has scores"),
    Step("", "Ready", "load it when you like"),
    Step("", "The engines are measured", "only with the engine auto; the fastest with the same answers is used"),
)

MEASURED = "The engines are measured"
_CHECKS = ("What kind of file it is", "Inputs and outputs", "Labels")
_REACHED = ((90, 3), (30, 2), (0, 1))
"""Progress of the check in per cent → the step that it has reached."""


def check_steps(version: ModelVersion) -> tuple[Step, ...]:
    """While a version is checked or rejected, and while `auto` measures the engines; nothing after that."""
    uploaded = Step("done", "Uploaded", size_words(version.size_bytes))
    if version.status == FileStatus.REJECTED:
        return (uploaded, Step("no", "Checked and rejected", version.status_detail), Step("", "Ready"))
    if version.status != FileStatus.CHECKING:
        return _measuring_steps(version, uploaded)
    last = _last_job(version, JobKind.CHECK)
    progress, detail = (last.progress, last.detail) if last else (0, "Waiting to be checked.")
    reached = next(index for least, index in _REACHED if progress >= least)
    labels = f"{plural(len(version.labels), 'label')} given" if version.labels else "those inside the file, if any"
    steps = [uploaded]
    for index, text in enumerate((*_CHECKS, "Ready"), start=1):
        state = "done" if index < reached else "now" if index == reached else ""
        steps.append(Step(state, text, detail if index == reached else labels if text == "Labels" else ""))
    if version.engine == AUTO:
        steps.append(Step("", MEASURED, "it can be used already meanwhile"))
    return tuple(steps)


def _measuring_steps(version: ModelVersion, uploaded: Step) -> tuple[Step, ...]:
    job = _last_job(version, JobKind.CHOOSE)
    if job is None or job.state not in PENDING_JOBS:
        return ()
    checks = (Step("done", text) for text in _CHECKS)
    ready = Step("done", "Ready", f"it can be loaded already, in {version.engine_selected}")
    return (uploaded, *checks, ready, Step("now", MEASURED, job.detail, job.progress))


def _last_job(version: ModelVersion, kind: JobKind) -> Job | None:
    return max((job for job in version.jobs.all() if job.kind == kind), key=lambda job: job.pk, default=None)
