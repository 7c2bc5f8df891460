"""The page of one version: what its row does not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from inference.errors import BadInput
from inference.owner.output import read_lines
from inference.preprocessing import SizeMissing, describe
from inference.signature import Signature
from models_app.choices import OWNED, InstanceState, JobKind
from models_app.models import Comparison, Instance, ModelVersion, Transition
from models_app.pages.background_work import Work, background_work, pending
from models_app.pages.comparison_table import ComparisonTable, comparison_table
from models_app.pages.downloads import Download, downloads
from models_app.pages.engine_choices import EndChoices, graph_ends, is_frozen_graph
from models_app.pages.events import Event, history_events
from models_app.pages.scaling_hint import NO_SIZE, scaling_hint
from models_app.pages.signature_words import TensorWords, input_words, output_words
from models_app.pages.steps import Step, check_steps
from models_app.pages.words import count_words, date_words, moment_words, short_seconds, size_words
from models_app.services import find
from models_app.services.supervise import log_path

HISTORY_SHOWN = 30
LOG_LINES_SHOWN = 12
LABELS_SHOWN = 24
_SANDBOX_TONES = {"full": "loaded", "partial": "restarting", "none": "failed"}
_SHOWN_APART = {"precision", "graph_inputs", "graph_outputs"}
"""Options that have a line of their own."""
_BADGES = {"ready": "loaded", "stopped": "unloaded"}


@dataclass(frozen=True, slots=True)
class InstanceRow:
    pid: str
    state: str
    badge: str
    device: str
    memory: str
    loaded: str
    requests: str
    errors: str
    sandbox: str
    sandbox_tone: str


@dataclass(frozen=True, slots=True)
class Label:
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class VersionPage:
    sha256: str
    sha_short: str
    uploaded: str
    uploader: str
    file_name: str
    model_pk: int
    description: str
    trusted: str
    engine_why: str
    engine_wish: str
    precision: str
    options: str
    steps: tuple[Step, ...]
    instances: tuple[InstanceRow, ...]
    inputs: tuple[TensorWords, ...]
    outputs: tuple[TensorWords, ...]
    preprocessing_words: str
    postprocessing_words: str
    labels: tuple[Label, ...]
    more_labels: tuple[Label, ...]
    label_count: str
    log: tuple[str, ...]
    log_note: str
    history: tuple[Event, ...]
    work: tuple[Work, ...]
    is_working: bool
    is_measuring: bool
    comparison: ComparisonTable | None
    downloads: tuple[Download, ...]
    next_engine: str
    notes: tuple[str, ...]
    scaling: str
    ends: EndChoices | None
    ends_words: str


def build_version_page(version: ModelVersion, now: datetime) -> VersionPage:
    signature = version.signature
    labels = tuple(Label(index, text) for index, text in enumerate(version.labels))
    transitions = history(version)
    conversions, jobs = list(version.conversions.all()), list(version.jobs.all())
    comparison = Comparison.objects.filter(version=version).first()
    work_ahead = pending(jobs)
    log = tuple(read_lines(log_path(version)))
    return VersionPage(
        sha256=version.sha256,
        sha_short=f"sha256 {version.sha256[:4]} {version.sha256[4:8]} …",
        uploaded=date_words(version.created_at),
        uploader=version.created_by.get_username() if version.created_by else "",
        file_name=version.file_name,
        model_pk=version.model_id,
        description=version.model.description,
        trusted=f"trusted by {version.trusted_by}: {version.trusted_reason}" if version.trusted_by else "",
        engine_why=version.engine_reason.rstrip("."),
        engine_wish=version.engine,
        precision=version.precision,
        options=", ".join(
            f"{name} {value}" for name, value in version.options_json.items() if name not in _SHOWN_APART
        ),
        steps=check_steps(version),
        instances=tuple(_instance_row(i, now) for i in version.shown_instances if i.state in OWNED),
        inputs=tuple(input_words(spec, version.preprocessing) for spec in signature.inputs),
        outputs=tuple(output_words(spec, len(labels)) for spec in signature.outputs),
        preprocessing_words=preprocessing_words(version, signature),
        postprocessing_words=postprocessing_words(version),
        labels=labels[:LABELS_SHOWN],
        more_labels=labels[LABELS_SHOWN:],
        label_count=count_words(len(labels)),
        log=log[-LOG_LINES_SHOWN:],
        log_note=log_note(version, transitions, bool(log), now),
        history=history_events(transitions, now),
        work=background_work(jobs, conversions, comparison),
        is_working=bool(work_ahead),
        is_measuring=any(job.kind != JobKind.CONVERT for job in work_ahead),
        comparison=comparison_table(version, comparison, now) if comparison else None,
        downloads=downloads(version, conversions, jobs),
        next_engine=next_engine(version),
        notes=tuple(map(str, version.notes)),
        scaling=scaling_hint(version),
        ends=graph_ends(version) if is_frozen_graph(version) else None,
        ends_words="as chosen"
        if {"graph_inputs", "graph_outputs"} & set(version.options_json)
        else "as found in the file",
    )


def next_engine(version: ModelVersion) -> str:
    """Engine and precision of the next load, where a process runs with others now; else empty."""
    wanted = f"{version.engine_selected} {version.precision}"
    running = {f"{i.engine} {i.precision or 'f32'}" for i in version.shown_instances if i.state in OWNED and i.engine}
    return wanted if running - {wanted} else ""


def history(version: ModelVersion) -> Sequence[Transition]:
    return list(find.history(version)[:HISTORY_SHOWN])


def log_note(version: ModelVersion, transitions: Sequence[Transition], has_lines: bool, now: datetime) -> str:
    """What to say beside the last output lines; empty while a process runs and prints."""
    if any(i.state in OWNED for i in version.shown_instances):
        return "" if has_lines else "The process has printed nothing yet."
    if not has_lines:
        return "No process is running, and none has printed anything yet."
    ended = next((row.at for row in transitions if row.after in {"stopped", "failed", "queued"} and row.before), None)
    when = f" that ended {moment_words(ended, now)}" if ended else " before"
    return f"No process is running. These are the last lines of the one{when}."


def preprocessing_words(version: ModelVersion, signature: Signature) -> str:
    """What happens to a picture, or why none can be taken."""
    if not signature.inputs:
        return ""
    if len(signature.inputs) > 1:
        return "The model has several inputs: it takes tensors, not pictures."
    try:
        return describe(version.preprocessing, signature.inputs[0])
    except SizeMissing:
        return NO_SIZE
    except BadInput as error:
        return error.message.removesuffix(" Send `instances`.")


def postprocessing_words(version: ModelVersion) -> str:
    wish = version.postprocessing
    ways = {"softmax": "Scores are put through softmax.", "sigmoid": "Scores are put through sigmoid."}
    texts = [ways.get(wish.activation or "none", "Scores are shown as the model gives them.")]
    if wish.output:
        texts.append(f"The answer is the output {wish.output}.")
    if wish.kind == "vector":
        texts = ["The answer is a vector of numbers."]
    elif wish.top:
        texts.append(f"An answer holds the best {wish.top}.")
    return " ".join(texts)


def _instance_row(instance: Instance, now: datetime) -> InstanceRow:
    loaded = ""
    if instance.loaded_at:
        took = f", in {short_seconds(instance.load_seconds)}" if instance.load_seconds is not None else ""
        loaded = moment_words(instance.loaded_at, now) + took
    memory = size_words(instance.memory_bytes) or "–"
    if instance.device_memory_bytes:
        estimated = " (estimated)" if instance.device_memory_estimated else ""
        memory += f" + {size_words(instance.device_memory_bytes)} GPU{estimated}"
    has_process = instance.state in {InstanceState.READY, InstanceState.UNLOADING}
    return InstanceRow(
        pid=str(instance.pid or "–"),
        state=instance.state,
        badge=_BADGES.get(instance.state, instance.state),
        device=instance.device or "–",
        memory=memory,
        loaded=loaded or "–",
        requests=count_words(instance.requests),
        errors=count_words(instance.errors),
        sandbox=instance.sandbox if has_process else "–",
        sandbox_tone=_SANDBOX_TONES.get(instance.sandbox, "") if has_process else "",
    )
