"""`python -m tests.engine_process`: runs model files in engines, in a process of its own, so that pytest's stays clean.

Reads one JSON list on standard input; each item has `engine`, `format`, `path`, `inputs` (npz or null), `outputs` (npz)
and may have `names`, `graph_inputs`, `graph_outputs`, `precision`, `streams`, `threads_at_once`. Batches are split
where the file fixes them at one. Answers a list of `{"inputs": specs, "outputs": specs, "parallel": n, "callers": n,
"may_loop": bool, "libraries": names}` or `{"unusable": sentence}`.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from inference.engines import Engine, EngineSettings, ModelUnusable, open_engine

LIBRARIES = ("tensorflow", "openvino", "onnxruntime", "ai_edge_litert", "django")


def main() -> None:
    tasks = json.loads(sys.stdin.read())
    answer = os.dup(1)
    os.dup2(2, 1)
    said = json.dumps([_done(task) for task in tasks]).encode()
    with os.fdopen(answer, "wb") as out:
        out.write(said)


def _done(task: dict[str, Any]) -> dict[str, Any]:
    settings = EngineSettings(
        precision=task.get("precision", "f32"),
        streams=task.get("streams", 1),
        names=task.get("names", {}),
        graph_inputs=tuple(task.get("graph_inputs", ())),
        graph_outputs=tuple(task.get("graph_outputs", ())),
    )
    try:
        engine = open_engine(task["engine"], Path(task["path"]), task["format"], settings)
    except ModelUnusable as refusal:
        return {"unusable": str(refusal)}
    if task.get("inputs"):
        given = dict(np.load(task["inputs"]))
        if len(given) == 1 and next(iter(given)) not in {spec.name for spec in engine.signature.inputs}:
            given = {engine.signature.inputs[0].name: next(iter(given.values()))}
        with ThreadPoolExecutor(task.get("threads_at_once", 1)) as pool:
            answers = list(pool.map(lambda part: engine.run(part), _parts(engine, given)))
        np.savez(task["outputs"], **{name: np.concatenate([a[name] for a in answers]) for name in answers[0]})
    facts = engine.signature.as_json()
    facts["parallel"], facts["callers"], facts["may_loop"] = engine.parallel, engine.callers, engine.may_loop
    facts["libraries"] = [name for name in LIBRARIES if name in sys.modules]
    return facts


def _parts(engine: Engine, given: dict[str, Any]) -> list[dict[str, Any]]:
    rows = len(next(iter(given.values())))
    if any(spec.shape[:1] == (None,) for spec in engine.signature.inputs) and engine.parallel == 1:
        return [given]
    return [{name: array[i : i + 1] for name, array in given.items()} for i in range(rows)]


if __name__ == "__main__":
    main()
