"""The way of a file from the upload to ready, as a list of steps."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.choices import FileStatus, JobKind
from models_app.models import ModelVersion
from models_app.pages.words import plural, size_words


@dataclass(frozen=True, slots=True)
class Step:
    """`state` is done, now, no (it ended here) or empty (still to come)."""

    state: str
    text: str
    detail: str = ""


STEPS_AHEAD = (
    Step("", "Upload", "streamed to disk; you can stop it at any time"),
    Step("", "What kind of file it is", "read from its first bytes"),
    Step("", "Inputs and outputs", "read in a process of its own, in two minutes at most"),
    Step("", "Labels", "as many as the model has scores"),
    Step("", "Ready", "load it when you like"),
)

_REACHED = ((90, 3), (30, 2), (0, 1))
"""Progress of the check in per cent → the step that it has reached."""


def check_steps(version: ModelVersion) -> tuple[Step, ...]:
    """While a version is checked or rejected; nothing once it is ready."""
    uploaded = Step("done", "Uploaded", size_words(version.size_bytes))
    if version.status == FileStatus.REJECTED:
        return (uploaded, Step("no", "Checked and rejected", version.status_detail), Step("", "Ready"))
    if version.status != FileStatus.CHECKING:
        return ()
    jobs = sorted((job for job in version.jobs.all() if job.kind == JobKind.CHECK), key=lambda job: job.pk)
    progress, detail = (jobs[-1].progress, jobs[-1].detail) if jobs else (0, "Waiting to be checked.")
    reached = next(index for least, index in _REACHED if progress >= least)
    labels = f"{plural(len(version.labels), 'label')} given" if version.labels else "those inside the file, if any"
    texts = ("Uploaded", "What kind of file it is", "Inputs and outputs", "Labels", "Ready")
    steps = [uploaded]
    for index, text in enumerate(texts[1:], start=1):
        state = "done" if index < reached else "now" if index == reached else ""
        steps.append(Step(state, text, detail if index == reached else labels if text == "Labels" else ""))
    return tuple(steps)
