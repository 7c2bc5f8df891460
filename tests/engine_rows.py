"""Rows of a comparison as the REST API shows them, for the tests of pages; nothing was measured."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from models_app.models import Comparison, ModelVersion


def row(engine: str, precision: str = "f32", **fields: Any) -> dict[str, Any]:
    measured = {
        "max_abs_diff": 1.5e-6,
        "max_rel_diff": 2.1e-6,
        "same_winner": 1.0,
        "load_seconds": 0.41,
        "p50_ms": 3.6,
        "p99_ms": 5.1,
        "best_batch": 16,
        "per_second": 278.0,
        "memory_bytes": 118_000_000,
        "error": "",
    }
    return {"engine": engine, "precision": precision, **measured, **fields}


def make_comparison(version: ModelVersion, **fields: Any) -> Comparison:
    """Of a Keras model: openvino is recommended, litert cannot run it."""
    nothing = dict.fromkeys(row("litert"))
    rows = [
        row("tensorflow", max_abs_diff=0.0, max_rel_diff=0.0, per_second=33.0, p50_ms=31.0, p99_ms=38.4,
            load_seconds=5.2, best_batch=8, memory_bytes=618_000_000),
        row("openvino"),
        row("openvino", "bf16", max_abs_diff=0.013, max_rel_diff=0.021, same_winner=0.96875, per_second=416.0,
            p50_ms=2.4, p99_ms=3.9, memory_bytes=121_000_000),
        row("onnxruntime", per_second=147.0, p50_ms=6.8, p99_ms=9.0, memory_bytes=65_000_000),
        {**nothing, "engine": "litert", "precision": "f32",
         "error": "The operation ResizeBicubic stands in the way."},
    ]  # fmt: skip
    given = {
        "measured_at": timezone.now(),
        "reference": "tensorflow",
        "rows": rows,
        "recommended": "openvino",
        "reason": "openvino is the fastest whose answers agree (278 examples a second, 8.4 times tensorflow).",
        "inputs": "8 random examples, the same for all",
        **fields,
    }
    return Comparison.objects.update_or_create(version=version, defaults=given)[0]
