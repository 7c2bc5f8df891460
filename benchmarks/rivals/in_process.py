"""The limit for all servers: decode and infer in a loop on all cores, in one process, without any server.

Several ways are tried at the start, and the fastest is measured: threads with one picture each at a time, or batches
that one thread runs while others decode. For one client it is the one that answered soonest.

Reads lines on standard input: {"clients": 16, "seconds": 5} → a line with what was measured. Each answer is kept, and
checked after the window.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
from classifier import MATERIAL, SIDE, Classifier, Top, best, decode

CORES = len(os.sched_getaffinity(0))
TRY_S = 1.0


class TensorFlowClassifier:
    """The Keras file as one traced function; its calls use all cores."""

    def __init__(self) -> None:
        import keras
        import tensorflow as tf

        model = keras.models.load_model(MATERIAL / "mobilenet.keras", compile=False)
        spec = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)
        self._function = tf.function(lambda values: model(values, training=False), input_signature=[spec])

    def classify_rows(self, values: np.ndarray[Any, Any]) -> list[Top]:
        return [best(row) for row in self._function(values).numpy()]

    def classify(self, picture: bytes) -> Top:
        return self.classify_rows(decode(picture))[0]


@dataclass(frozen=True, slots=True)
class Way:
    """`rows` pictures in a call, on `threads` threads. With several rows all threads decode, one at a time calls."""

    classifier: Any
    threads: int
    rows: int = 1


class Loop:
    """One window of measurement of a `Way`."""

    def __init__(self, way: Way, pictures: list[bytes], seconds: float) -> None:
        self._way = way
        self._pictures = pictures
        self._numbers = itertools.count()
        self._calling = threading.Lock()
        self._seconds = seconds
        self._until = 0.0
        self.answers: list[tuple[int, Top]] = []
        self.times: list[float] = []

    def run(self) -> dict[str, Any]:
        cpu_s = time.process_time()
        self._until = time.perf_counter() + self._seconds
        workers = [threading.Thread(target=self._work) for _ in range(self._way.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        times, count = sorted(self.times), len(self.times)
        return {
            "requests": count,
            "seconds": self._seconds,
            "p50_ms": times[count // 2] * 1000 if times else 0.0,
            "p99_ms": times[int(0.99 * count)] * 1000 if times else 0.0,
            "client_cpu_s": 0.0,
            "asked": count,
            "server_cpu_s": time.process_time() - cpu_s,
        }

    def _work(self) -> None:
        while (start := time.perf_counter()) < self._until:
            numbers = [next(self._numbers) % len(self._pictures) for _ in range(self._way.rows)]
            tops = self._classify(numbers)
            end = time.perf_counter()
            if end <= self._until:
                self.times += [end - start] * len(numbers)
                self.answers += zip(numbers, tops, strict=True)

    def _classify(self, numbers: list[int]) -> list[Top]:
        if len(numbers) == 1:
            return [self._way.classifier.classify(self._pictures[numbers[0]])]
        values = np.concatenate([decode(self._pictures[number]) for number in numbers])
        with self._calling:
            found: list[Top] = self._way.classifier.classify_rows(values)
            return found


def main() -> None:
    pictures = [path.read_bytes() for path in sorted(MATERIAL.glob("*.jpg"))]
    right = json.loads((MATERIAL / "answers.json").read_text())["pictures"]
    for_many, for_one = ways_of(sys.argv[1])
    for way in (*for_many, *for_one):
        Loop(way, pictures, TRY_S / 4).run()
    fastest, soonest = (
        max(ways, key=lambda way: Loop(way, pictures, TRY_S).run()["requests"]) for ways in (for_many, for_one)
    )
    print(f"{sys.argv[1]}: {fastest.threads} threads, {fastest.rows} pictures a call", file=sys.stderr)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        loop = Loop(soonest if order["clients"] == 1 else fastest, pictures, order["seconds"])
        measured = loop.run()
        measured["failures"] = sum(not agrees(top, right[number]) for number, top in loop.answers)
        print(json.dumps(measured), flush=True)


def ways_of(engine: str) -> tuple[list[Way], list[Way]]:
    """The ways to try for many clients, and for one."""
    if engine == "tensorflow":
        model = TensorFlowClassifier()
        return [Way(model, CORES), Way(model, 2 * CORES), Way(model, CORES, 4), Way(model, CORES, 8)], [Way(model, 1)]
    streams = Classifier(streams=CORES, threads=CORES)
    whole = Classifier(streams=1, threads=CORES)
    return [Way(streams, CORES * n) for n in (1, 2, 3)], [Way(streams, 1), Way(whole, 1)]


def agrees(top: Top, right: list[list[float]]) -> bool:
    return all(i == wanted and abs(score - s) < 1e-3 for (i, score), (wanted, s) in zip(top, right, strict=True))


if __name__ == "__main__":
    main()
