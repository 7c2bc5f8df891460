"""The entry points of django-q: `keep_loaded` in a node's models cluster, `run_job` in the jobs cluster."""

from __future__ import annotations

import logging

from models_app import stoppable_cluster
from models_app.services import jobs
from models_app.services.supervise import claim, supervise

logger = logging.getLogger("portal.tasks")


def keep_loaded(instance_pk: int, generation: int) -> None:
    """Lasts as long as the model is loaded. A stale delivery does nothing."""
    reporter = claim(instance_pk, generation)
    if reporter is not None:
        supervise(reporter, stoppable_cluster.stop_descriptor())


def run_job(job_pk: int) -> None:
    jobs.run(job_pk, stoppable_cluster.is_stopping)
