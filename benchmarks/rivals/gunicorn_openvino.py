"""gunicorn with the model in its own process: one worker, four threads, plain WSGI. The simplest strong rival."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from classifier import Classifier

CORES = len(os.sched_getaffinity(0))
CLASSIFIER = Classifier(streams=CORES, threads=CORES)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    picture = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    body = json.dumps({"top": CLASSIFIER.classify(picture)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
