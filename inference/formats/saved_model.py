"""TensorFlow SavedModels: a folder of saved_model.pb, variables and assets, as one archive."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from inference.archives import Archive, folder_of, is_archive, opened_archive
from inference.formats.facts import BEGINS_ANEW, FileFacts
from inference.formats.graph_def import GraphDef, OpCheck, node_name, read_map, read_shape
from inference.formats.label_text import labels_beside
from inference.formats.protobuf import DAMAGED, Budget, Message, opened_bytes, opened_entry
from inference.formats.tensorflow_ops import DTYPES, RESTORE_OPS, VARIABLE_OPS, WRITING_OPS
from inference.refusal import FileRejected, listed, shown

_T = TypeVar("_T")

GRAPH, TEXT_GRAPH = "saved_model.pb", "saved_model.pbtxt"
DEFAULT_SIGNATURE = "serving_default"
# Signatures that TensorFlow keeps for itself; they are not for callers.
_INTERNAL_SIGNATURES = frozenset({"__saved_model_init_op", "__saved_model_train_op"})
_INIT_COLLECTIONS = frozenset({"saved_model_main_op", "legacy_init_op"})
# Functions of a resource that TensorFlow calls when it loads or unloads the model.
_RUN_BY_LOADING = frozenset({"_create_resource", "_initialize", "_destroy_resource"})

PACK = "Pack the whole folder of the SavedModel, with saved_model.pb and variables, as .zip or .tar.gz and upload that."
TEXT_FORM = (
    "The SavedModel is in the text form (saved_model.pbtxt), which is not read here. Export it again, which writes "
    "saved_model.pb."
)


def inspect_saved_model(path: Path, *, is_trusted: bool = False) -> FileFacts:
    """`path` is an archive, with the folder or its content at the top, or saved_model.pb alone if it uses no variables.
    Raises FileRejected, without `is_trusted` also where an operation that can run is not a plain calculation."""
    if is_archive(path):
        with opened_archive(path) as archive:
            return _inspect_archive(archive, is_trusted)
    with path.open("rb") as file:
        if file.read(64).lstrip().startswith((b"saved_model_schema_version", b"meta_graphs")):
            raise FileRejected(TEXT_FORM)
    with opened_bytes(path) as raw:
        ops = _checked_ops(raw, is_trusted)
    if ops.all & VARIABLE_OPS:
        raise FileRejected(f"saved_model.pb alone holds the graph but no weights: these lie beside it. {PACK}")
    return FileFacts("saved_model")


def _inspect_archive(archive: Archive, is_trusted: bool) -> FileFacts:
    folders = folder_of(archive.names, GRAPH)
    if not folders:
        raise FileRejected(TEXT_FORM if folder_of(archive.names, TEXT_GRAPH) else f"There is no saved_model.pb. {PACK}")
    if len(folders) > 1:
        places = listed([folder or "the top" for folder in folders])
        raise FileRejected(f"The archive holds several SavedModels, in {places}. Upload one at a time.")
    top = f"{folders[0]}/" if folders[0] else ""
    inside = {name.removeprefix(top): name for name in archive.names if name.startswith(top)}
    if TEXT_GRAPH in inside:
        raise FileRejected(TEXT_FORM)
    entry = next(entry for entry in archive.entries if entry.name == inside[GRAPH])
    with opened_entry(archive, entry) as raw:
        ops = _checked_ops(raw, is_trusted)
    if ops.all & VARIABLE_OPS:
        _check_variables(frozenset(inside))
    notes = (BEGINS_ANEW,) if ops.of_answers & WRITING_OPS else ()
    return FileFacts("saved_model", labels_beside(archive, PurePosixPath(folders[0])), notes)


def _check_variables(names: frozenset[str]) -> None:
    shards = [match for name in names if (match := re.fullmatch(r"variables/variables\.data-(\d+)-of-(\d+)", name))]
    if "variables/variables.index" not in names or not shards:
        raise FileRejected(f"The archive holds saved_model.pb but not its weights in the folder variables. {PACK}")
    if len({match[1] for match in shards}) != int(shards[0][2]):
        raise FileRejected(f"Of the weights in the folder variables, files are missing. {PACK}")


class _Ops(NamedTuple):
    """The types of operations that can run: `all`, and those that answering a request runs."""

    all: frozenset[str]
    of_answers: frozenset[str]


def _checked_ops(raw: memoryview, is_trusted: bool) -> _Ops:
    """Check all that can run. Raises FileRejected."""
    saved = Message(raw, Budget())
    if not saved.has(2):
        raise FileRejected(DAMAGED)
    meta = _serving_graph(saved)
    graph_message = meta.one(2)
    if graph_message is None:
        raise FileRejected(DAMAGED)
    signatures = dict(read_map(meta, 5))
    key = _chosen(signatures)
    check = OpCheck(GraphDef.read(graph_message), len(raw), is_trusted=is_trusted)
    chosen = [info.text(1) for number in (1, 2) for _, info in read_map(signatures[key], number)]
    check.check(starts=[name for name in chosen if name])
    of_answers = frozenset(check.ops)
    _check_loading(meta, check, signatures, key)
    _check_signature(signatures[key])
    return _Ops(frozenset(check.ops), of_answers)


def _serving_graph(saved: Message) -> Message:
    """The graph that TensorFlow loads: of several, the first that is tagged 'serve' and nothing else."""
    tagged = [(meta, set(about.texts(4)) if (about := meta.one(1)) else set()) for meta in saved.all(2)]
    for meta, tags in tagged:
        if tags == {"serve"} or (len(tagged) == 1 and "serve" in tags):
            return meta
    raise FileRejected(
        "The SavedModel has no graph tagged 'serve', which is the one for answering. Export it for serving again."
    )


def _chosen(signatures: dict[str, Message]) -> str:
    if DEFAULT_SIGNATURE in signatures:
        return DEFAULT_SIGNATURE
    keys = [key for key in signatures if key not in _INTERNAL_SIGNATURES]
    if not keys:
        raise FileRejected(
            "The SavedModel names no inputs and outputs: it has no signature. Export it with model.export(folder), "
            "or give tf.saved_model.save its signatures."
        )
    if len(keys) > 1:
        raise FileRejected(
            f"The SavedModel has several signatures, {listed(keys)}, and none is called '{DEFAULT_SIGNATURE}'. "
            "Export it with the one that is meant."
        )
    return keys[0]


def _check_signature(definition: Message) -> None:
    inputs, outputs = (_checked_tensors(definition, number) for number in (1, 2))
    if 0 in (inputs, outputs) and None not in (inputs, outputs):
        raise FileRejected("The signature of the SavedModel has no input or no output. Export it with both.")


def _checked_tensors(definition: Message, number: int) -> int | None:
    """The number of inputs or outputs; None where one has an unknown rank: those after it are not checked."""
    count = 0
    for name, info in read_map(definition, number):
        if info.has(4) or info.has(5):
            raise FileRejected(
                f"The tensor '{shown(name)}' of the signature is sparse or ragged, which cannot be asked for here. "
                "Export the model with dense tensors."
            )
        if info.integer(2) not in DTYPES:
            raise FileRejected(
                f"The tensor '{shown(name)}' of the signature holds no numbers or text. Export the model without it."
            )
        shape = info.one(3)
        if shape and read_shape(shape) is None:
            return None
        count += 1
    return count


def _check_loading(meta: Message, check: OpCheck, signatures: dict[str, Message], key: str) -> None:
    """Check all that loading the model can run, but not what only saving runs. Restoring the weights may also use
    RESTORE_OPS."""
    initial = []
    if "__saved_model_init_op" in signatures:
        initial += [info.text(1) for _, info in read_map(signatures["__saved_model_init_op"], 2)]
    for name, collection in read_map(meta, 4):
        if name in _INIT_COLLECTIONS:
            initial += [text for nodes in collection.all(1) for text in nodes.texts(1)]
    check.check(starts=[name for name in initial if name])
    saver = meta.one(3)
    restore = saver.text(3) if saver else ""
    if restore and node_name(restore) in check.graph.nodes:
        check.check(starts=[restore], also=RESTORE_OPS)
    objects = meta.one(7)
    if objects is not None:
        called, restoring = _called_objects(objects, key)
        check.check(functions=called)
        check.check(functions=restoring, also=RESTORE_OPS)


def _called_objects(objects: Message, key: str) -> tuple[list[str], list[str]]:
    """First the functions that loading calls through TensorFlow 2's objects (saved_object_graph.proto) and those of the
    signature, then those that restore weights."""
    nodes = list(objects.all(1))
    children = [[(child.text(2), child.integer(1)) for child in node.all(1)] for node in nodes]
    called: list[int] = []
    for node_children in children:
        called += [number for name, number in node_children if name in _RUN_BY_LOADING]
    for name, number in children[0] if children else []:
        if name == "signatures":
            called += [target for label, target in _at(children, number) if label == key]
    restoring = [saveable.integer(3) for node in nodes for _, saveable in read_map(node, 11)]
    names = [
        [name for number in numbers for name in _function_names(_at(nodes, number))] for numbers in (called, restoring)
    ]
    return names[0], names[1]


def _at(items: list[_T], number: int) -> _T:
    if not 0 <= number < len(items):
        raise FileRejected(DAMAGED)
    return items[number]


def _function_names(node: Message) -> list[str]:
    names = [name for function in node.all(6) for name in function.texts(1)]
    return names + [function.text(1) for function in node.all(8)]
