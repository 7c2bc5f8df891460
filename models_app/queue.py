"""Handing work to django-q: ids and strings only as arguments, because payloads are signed pickles."""

from __future__ import annotations

from django.conf import settings
from django_q.brokers import get_broker
from django_q.tasks import async_task

from models_app.cluster_names import models_cluster
from models_app.models import Instance, Job


def keep_loaded(instance: Instance) -> None:
    """One task that lasts as long as the model is loaded; it goes to the node's own cluster."""
    async_task(
        "models_app.tasks.keep_loaded",
        instance.pk,
        instance.generation,
        cluster=models_cluster(instance.node.name),
        timeout=-1,
        save=False,
    )


def run_job(job: Job) -> None:
    """No timeout here: a job's child processes have their own, which grow with the file (inference.limited_child)."""
    async_task("models_app.tasks.run_job", job.pk, cluster=settings.JOBS_CLUSTER, timeout=-1, save=False)


def is_there(cluster: str) -> bool:
    """Whether the broker answers for the queue of this cluster."""
    try:
        return bool(get_broker(cluster).ping())
    except Exception:  # whatever the broker's client raises
        return False
