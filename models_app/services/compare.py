"""Compare: every engine that can run a version, measured against the one that made its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from inference.catalog import ENGINES, FORMATS
from inference.comparison import compare as measure_all
from inference.comparison.examples import make_examples, of_few_numbers, widened
from inference.comparison.measurement import BRIEF, Candidate, Effort
from inference.comparison.results import Comparison as Measured
from inference.comparison.results import Row
from inference.conversion import ConversionFailed
from inference.errors import BadInput, NotFound, TooLarge
from inference.free_sizes import free_sizes
from inference.host.devices import choose_device, list_devices, load_nvml
from inference.preprocessing import plan_image, value_range
from models_app.choices import JobKind
from models_app.models import Comparison, Conversion, Job, ModelVersion
from models_app.services.actor import Actor
from models_app.services.checked_ends import lock_with_same_ends
from models_app.services.convert import convert_version
from models_app.services.database_retry import with_retries
from models_app.services.dispatch import request
from models_app.services.engine_file import target_for
from models_app.services.find import check_ready
from models_app.services.outcome import JobFailed, Progress

EXAMPLES = 8
_CONVERTED_AT = 40
"""Per cent of the whole at which the conversions are done."""


def request_comparison(version: ModelVersion, *, by: Actor) -> Job:
    """Queue a full measurement. Raises NotReady for a file that is not checked."""
    check_ready(version)
    return request(JobKind.COMPARE, version, by=by, detail="Waiting to be measured.")


def last_comparison(version: ModelVersion) -> Comparison:
    """Raises NotFound where none was made."""
    comparison = Comparison.objects.filter(version=version).first()
    if comparison is None:
        raise NotFound(f"The engines of {version} were not measured yet. POST to compare/ measures them.")
    return comparison


def compare_version(
    job: Job, progress: Progress, effort: Effort = BRIEF, *, all_precisions: bool = False
) -> Comparison:
    """Convert what is missing, measure, keep the rows. An engine that cannot run it has a row that says why."""
    version = job.version
    engines = FORMATS[version.format].engines
    targets = [target for engine in engines if (target := target_for(version, engine))]
    conversions = convert_version(job, targets, _part(progress, 0, _CONVERTED_AT))
    able = [_able(version, engine, conversions, all_precisions) for engine in engines]
    candidates = _on_their_devices([candidate for chosen in able for candidate in chosen.candidates])
    measured = measure_all(
        candidates,
        _examples(version),
        job.workspace,
        progress=_part(progress, _CONVERTED_AT, 100),
        effort=effort,
        sandbox=settings.PORTAL_SANDBOX,
    )
    return with_retries(lambda: _store(version, measured, [row for chosen in able for row in chosen.unable]))


@dataclass(frozen=True, slots=True)
class _Able:
    candidates: Sequence[Candidate] = ()
    unable: Sequence[Row] = ()


def _able(
    version: ModelVersion, engine: str, conversions: Mapping[str, Conversion | ConversionFailed], all_precisions: bool
) -> _Able:
    """What there is to measure of one engine, or the row that says why there is nothing."""
    precisions = ENGINES[engine].precisions if all_precisions else ("f32",)
    threads, is_trusted = version.options.threads, bool(version.trusted_by)
    target = target_for(version, engine)
    if not target:
        source = Candidate(
            engine, version.path, version.format, signature=version.signature, threads=threads, is_trusted=is_trusted,
            **version.options.graph_ends,
        )  # fmt: skip
        return _Able([replace(source, precision=precision) for precision in precisions])
    made = conversions[target]
    if isinstance(made, ConversionFailed):
        return _Able(unable=[Row(engine, "f32", error=str(made))])
    if not made.is_made:
        return _Able(unable=[Row(engine, "f32", error=made.sentence)])
    converted = Candidate(
        engine, made.path, target, names=made.names, signature=version.signature, threads=threads, is_trusted=is_trusted
    )
    return _Able([replace(converted, precision=precision) for precision in precisions])


def _on_their_devices(candidates: Sequence[Candidate]) -> list[Candidate]:
    """An engine that is loaded on a GPU is measured there. The reference computes on the CPU as well: its answers there
    are what all others are compared with, those of the GPU among them."""
    gpus = [device for device in list_devices(load_nvml()) if device.kind == "gpu"]
    if not gpus:
        return list(candidates)
    gpu = choose_device(gpus)
    placed = [replace(one, gpu=gpu) if ENGINES[one.engine].has_gpu else one for one in candidates]
    return placed if placed[0] == candidates[0] else [candidates[0], *placed]


def _store(version: ModelVersion, measured: Measured, unable: Sequence[Row]) -> Comparison:
    with transaction.atomic():
        lock_with_same_ends(version)
        comparison, _ = Comparison.objects.update_or_create(
            version=version,
            defaults={
                "measured_at": timezone.now(),
                "reference": measured.reference,
                "rows": [row.as_json() for row in (*measured.rows, *unable)],
                "recommended": measured.recommended,
                "reason": measured.reason,
                "inputs": f"{EXAMPLES} random examples, the same for all",
            },
        )
    return comparison


def _examples(version: ModelVersion) -> Iterator[Mapping[str, Any]]:
    """Examples to be tried in turn: with numbers beyond 32 bits, where inputs take them; without; with 0 and 1 for all
    whole numbers; then with more steps or samples, where a file leaves their number free. Made one at a time, as most
    models answer the first. Raises JobFailed where an example is too large."""
    signature, values = version.signature, _value_range(version)
    known: set[tuple[Any, ...]] = set()
    for size in free_sizes(signature.inputs):
        try:
            examples = make_examples(signature, count=EXAMPLES, value_range=values, free=size)
        except TooLarge as refusal:
            raise JobFailed(refusal.message) from refusal
        shapes = tuple(array.shape for array in examples.values())
        if not known and (wide := widened(examples, signature)) is not None:
            yield wide
        if shapes not in known:  # pictures have a size of their own
            known.add(shapes)
            yield examples
            if (few := of_few_numbers(examples, signature)) is not None:
                yield few


def _value_range(version: ModelVersion) -> tuple[float, float]:
    """The range that preprocessing maps pixels to; 0 to 1 for inputs that are no pictures."""
    try:
        return value_range(plan_image(version.preprocessing, version.signature.inputs[0]))
    except (BadInput, IndexError):
        return (0.0, 1.0)


def _part(progress: Progress, start: int, end: int) -> Progress:
    """The progress of a part: its 0 to 100 per cent are `start` to `end` of the whole."""
    return lambda percent, sentence: progress(start + (end - start) * percent // 100, sentence)
