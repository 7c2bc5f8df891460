"""What is loaded, as the lean path keeps it in memory: read at once for all models, with as few queries as may be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from django.conf import settings

from inference.errors import PortalError
from inference.postprocessing import Postprocessing, choose_output
from inference.runner.config import MOST_BATCH
from inference.served import Served, ServedInstance
from inference.signature import Signature, TensorSpec
from models_app.choices import InstanceState
from models_app.models import Instance, ModelVersion

Routes = Mapping[str, Mapping[int, Served]]
"""Model name → version number → what serves it; only what is loaded."""

_FACTS = ("pk", "socket", "engine", "device", "memory_bytes", "device_memory_bytes")


def served_version(version: ModelVersion, instances: Iterable[Instance]) -> Served:
    """A version with the instances of it that answer."""
    return _served(version, [ServedInstance(*(getattr(i, name) for name in _FACTS)) for i in instances])


def read_routes(known: Routes) -> dict[str, dict[int, Served]]:
    """All that is loaded. `known` is what the last reading gave: what `Served` says of a version cannot change while
    the same instances live, so only others are read anew. Two queries, the second one only where something is new.
    """
    by_version: dict[int, list[ServedInstance]] = defaultdict(list)
    names: dict[int, tuple[str, int]] = {}
    rows = Instance.objects.filter(state=InstanceState.READY).exclude(socket="").order_by("pk")
    for version_pk, name, number, *facts in rows.values_list(
        "version_id", "version__model__name", "version__number", *_FACTS
    ):
        by_version[version_pk].append(ServedInstance(*facts))
        names[version_pk] = name, number
    routes: dict[str, dict[int, Served]] = defaultdict(dict)
    unknown: dict[int, list[ServedInstance]] = {}
    for version_pk, instances in by_version.items():
        name, number = names[version_pk]
        served = known.get(name, {}).get(number)
        if served is not None and {i.pk for i in served.instances} == {i.pk for i in instances}:
            routes[name][number] = _with(served, instances)
        else:
            unknown[version_pk] = instances
    if unknown:
        for version in ModelVersion.objects.select_related("model").filter(pk__in=list(unknown)):
            routes[version.model.name][version.number] = _served(version, unknown[version.pk])
    return dict(routes)


def _served(version: ModelVersion, instances: Sequence[ServedInstance]) -> Served:
    signature, postprocessing = version.signature, version.postprocessing
    return Served(
        model=version.model.name,
        number=version.number,
        format=version.format,
        engine=instances[0].engine or version.engine_selected,
        signature=signature,
        labels=tuple(version.labels),
        postprocessing=postprocessing,
        answer=_answer(version, signature, postprocessing),
        takes_pictures=version.takes_pictures,
        max_batch=version.options.max_batch or MOST_BATCH,
        timeout_s=float(version.options.predict_timeout_s or settings.PORTAL_PREDICT_TIMEOUT_S),
        instances=tuple(instances),
        paths=tuple(i.socket for i in instances),
    )


def _answer(version: ModelVersion, signature: Signature, postprocessing: Postprocessing) -> TensorSpec | None:
    try:
        return choose_output(signature, postprocessing, version.labels)
    except PortalError:  # an output that the model does not have; requests are told so
        return None


def _with(served: Served, instances: Sequence[ServedInstance]) -> Served:
    if served.instances == tuple(instances):
        return served
    return replace(served, instances=tuple(instances), paths=tuple(i.socket for i in instances))
