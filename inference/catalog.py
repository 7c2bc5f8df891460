"""The catalog of model formats and engines: what the rest of the portal asks about them. It imports no library.

A new format needs, besides its entry in FORMATS and in FormatName: how its content is told from others
(`inference/formats/recognise.py`), a file in `inference/formats` that says what may be in it, called by `inspect_file`,
and its case in the `load` of each engine that opens it. A new engine needs, besides its entry in ENGINES, a file of its
name in `inference/engines` (see there), and its library in the list of `pyproject.toml` that keeps libraries behind
that door. Where files are converted, `inference/conversion/work.py` says by what. README.md lists both for users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FormatName = Literal["keras", "hdf5", "saved_model", "frozen_graph", "onnx", "openvino", "tflite"]
"""The keys of FORMATS, where mypy is to see that none is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatFacts:
    """A format of model files. Engines and formats are named by their keys in the tables below."""

    word: str
    """The format in pages and sentences for people; JSON has its name."""
    suffix: str
    """The file name ending that loaders expect. A SavedModel is unpacked by its engine, inside the sandbox."""
    direct_engines: tuple[str, ...]
    """Engines that open the file itself, the reference first."""
    converting_engines: tuple[str, ...] = ()
    """Engines that run it only once it is converted to their `target`."""
    targets: tuple[str, ...]
    """Formats that it can be converted to; for its own, the file is copied."""
    download_ending: str = ""
    """How the name of a converted file ends; of a zip it says of what. Empty: no file is converted to this format."""
    has_layers: bool = False
    """Whether the file lists Keras' layers, so that it is known whether the model scales pictures by itself."""
    has_graph_ends: bool = False
    """Whether the owner may choose its inputs and outputs, as the file does not say what they are."""

    @property
    def reference(self) -> str:
        """The engine with whose answers those of all others are compared."""
        return self.direct_engines[0]

    @property
    def engines(self) -> tuple[str, ...]:
        """All that can run it, the reference first."""
        return self.direct_engines + self.converting_engines


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """An engine. Its name is that of its file in `inference/engines`."""

    hint: str
    """What it is good for, where people choose it."""
    target: str = ""
    """The format that a file is converted to for it. Empty: it runs only what it opens itself."""
    precisions: tuple[str, ...] = ("f32",)
    is_parallel: bool = False
    """Whether it computes several calls at the same time, each in a stream of its own."""
    is_spinning: bool = False
    """Whether its threads spin for a while after a call, on cores that others could use meanwhile."""
    is_narrow: bool = False
    """Whether it computes integers of any type as int32, so 2^33 + 5 as 5 (see `tensors.check_width`), and float64 as
    float32."""
    has_gpu: bool = False
    """Whether it uses a GPU where there is one; the others would only hold its device files open."""
    has_texts: bool = False
    """Whether it runs models with texts as inputs or outputs; the others need extensions that are not installed."""


_ALL_BUT_TENSORFLOW = ("openvino", "onnxruntime", "litert")
_FROM_TENSORFLOW = ("saved_model", "frozen_graph", "onnx", "openvino", "tflite")

FORMATS: dict[str, FormatFacts] = {
    "keras": FormatFacts(
        word="Keras",
        suffix=".keras",
        direct_engines=("tensorflow",),
        converting_engines=_ALL_BUT_TENSORFLOW,
        targets=_FROM_TENSORFLOW,
        has_layers=True,
    ),
    "hdf5": FormatFacts(
        word="HDF5",
        suffix=".h5",
        direct_engines=("tensorflow",),
        converting_engines=_ALL_BUT_TENSORFLOW,
        targets=_FROM_TENSORFLOW,
        has_layers=True,
    ),
    "saved_model": FormatFacts(
        word="SavedModel",
        suffix=".archive",
        direct_engines=("tensorflow",),
        converting_engines=_ALL_BUT_TENSORFLOW,
        targets=_FROM_TENSORFLOW,
        download_ending="-saved_model.zip",
    ),
    "frozen_graph": FormatFacts(
        word="Frozen .pb",
        suffix=".pb",
        direct_engines=("tensorflow",),
        converting_engines=_ALL_BUT_TENSORFLOW,
        targets=_FROM_TENSORFLOW,
        download_ending=".pb",
        has_graph_ends=True,
    ),
    "onnx": FormatFacts(
        word="ONNX",
        suffix=".onnx",
        direct_engines=("onnxruntime", "openvino"),
        targets=("onnx", "openvino"),
        download_ending=".onnx",
    ),
    "openvino": FormatFacts(
        word="OpenVINO",
        suffix=".zip",
        direct_engines=("openvino",),
        targets=("openvino",),
        download_ending="-openvino.zip",
    ),
    "tflite": FormatFacts(
        word="TensorFlow Lite",
        suffix=".tflite",
        direct_engines=("litert",),
        # Its reader of these files leaves quantised ends as stored; the conversion puts their scale into the graph.
        converting_engines=("openvino",),
        targets=("openvino", "tflite"),
        download_ending=".tflite",
    ),
}

ENGINES: dict[str, EngineFacts] = {
    "tensorflow": EngineFacts(hint="Keras and graphs as is", has_gpu=True, has_texts=True),
    "openvino": EngineFacts(
        hint="mostly the fastest on a CPU",
        target="openvino",
        precisions=("f32", "bf16", "f16"),
        is_parallel=True,
        is_spinning=True,
        is_narrow=True,
    ),
    "onnxruntime": EngineFacts(hint="ONNX as it is", target="onnx", is_spinning=True, has_texts=True),
    "litert": EngineFacts(hint="TensorFlow Lite as it is", target="tflite", is_spinning=True),
}


def engines_computing_in(precision: str) -> tuple[str, ...]:
    return tuple(name for name, facts in ENGINES.items() if precision in facts.precisions)


def precision_refusal(engine: str, precision: str) -> str:
    """The sentence for an engine that does not compute in this precision; empty where it does."""
    if precision in ENGINES[engine].precisions:
        return ""
    known, able = " and ".join(ENGINES[engine].precisions), " or ".join(engines_computing_in(precision))
    return f"{engine} computes in {known} only. Choose {able} for {precision}."
