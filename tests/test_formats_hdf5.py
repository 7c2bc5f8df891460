"""An HDF5 file must hold all of its weights itself, and no more than it is large."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from inference.formats import FileRejected, inspect_file
from tests.model_files import hdf5_model, layer, old_sequential

Fill = Callable[[h5py.File], object]


def refusal(folder: Path, fill: Fill) -> str:
    with pytest.raises(FileRejected) as caught:
        inspect_file(hdf5_model(folder / "bad.h5", fill=lambda file: fill(file) and None))
    return caught.value.message


def test_an_external_link_is_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["model_weights/answer/more"] = h5py.ExternalLink("/etc/passwd", "/x")

    assert refusal(tmp_path, fill).startswith("The entry 'model_weights/answer/more' is a link to another file")


def test_a_soft_link_is_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["model_weights/soft"] = h5py.SoftLink("/model_weights/answer")

    assert refusal(tmp_path, fill).startswith("The entry 'model_weights/soft' is a soft link instead of numbers.")


def test_a_link_in_place_of_the_weights_is_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink("other.h5", "/model_weights")

    assert refusal(tmp_path, fill).startswith("The entry 'model_weights' is a link to another file")


def test_external_storage_is_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("model_weights/raw", (4,), "f4", external=[("/etc/passwd", 0, 16)])

    assert refusal(tmp_path, fill).startswith("The entry 'model_weights/raw' is kept in another file")


def test_a_virtual_dataset_is_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
        file.create_virtual_dataset("model_weights/virtual", layout)

    assert refusal(tmp_path, fill).startswith("The entry 'model_weights/virtual' is a virtual dataset")


@pytest.mark.parametrize("place", ["/", "model_weights"])
def test_a_file_of_keras_1_says_what_still_reads_it(tmp_path: Path, place: str) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs.pop("keras_version")
        file[place].attrs["keras_version"] = "1.2.2"

    assert refusal(tmp_path, fill).startswith("The file was saved by Keras 1.2.2, which names layers")


@pytest.mark.parametrize("place", ["/", "model_weights"])
def test_a_version_that_is_no_text_is_damage(tmp_path: Path, place: str) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs.pop("keras_version")
        file[place].attrs["keras_version"] = 3

    assert refusal(tmp_path, fill).startswith("The HDF5 file is damaged or was cut off.")


def test_two_gib_declared_in_a_few_kb_are_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("model_weights/huge", (1 << 29,), "f4", chunks=(1 << 20,), compression="gzip")

    sentence = refusal(tmp_path, fill)

    assert sentence.startswith("The entry 'model_weights/huge' brings the declared size of the HDF5 file to 2.1 GB")


def test_many_datasets_that_declare_too_much_together_are_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        for number in range(40):
            file.create_dataset(f"model_weights/{number}", (1 << 18,), "f4", chunks=(1 << 18,))

    assert "brings the declared size of the HDF5 file to" in refusal(tmp_path, fill)


def test_compressed_weights_are_accepted(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        numbers = np.random.default_rng(1).standard_normal((64, 64)).astype("f4")
        file.create_dataset("model_weights/packed", data=numbers, compression="gzip", shuffle=True)

    assert inspect_file(hdf5_model(tmp_path / "good.h5", fill=fill)).format == "hdf5"


def test_a_filter_that_needs_a_plug_in_is_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((4,))
        plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file["model_weights"].id, b"blosc", h5py.h5t.IEEE_F32LE, space, plan)

    assert refusal(tmp_path, fill).startswith(
        "The entry 'model_weights/blosc' is packed with an HDF5 plug-in (number 32001)"
    )


def test_groups_that_contain_themselves_are_walked_once(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["model_weights/answer/again"] = file["model_weights"]

    assert inspect_file(hdf5_model(tmp_path / "round.h5", fill=fill)).format == "hdf5"


def test_groups_nested_too_deep_are_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.create_group("model_weights/" + "/".join("g" * 100))

    assert refusal(tmp_path, fill).startswith("The HDF5 file is nested deeper or has more entries than any real model.")


def test_a_description_that_is_no_text_is_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["model_config"] = np.arange(4)

    assert refusal(tmp_path, fill).startswith("The HDF5 file is damaged")


def test_a_description_nested_100000_deep_is_refused(tmp_path: Path) -> None:
    # Text of this length is kept out of HDF5's attribute header only as a string of variable length.
    path = hdf5_model(tmp_path / "deep.h5", '{"class_name": "Model", "config": ' + "[" * 100_000 + "]" * 100_000 + "}")

    with pytest.raises(FileRejected) as caught:
        inspect_file(path)

    assert caught.value.message.startswith("The description of the layers is nested more than 200 levels deep")


def test_a_layer_whose_words_the_file_does_not_hold_is_named(tmp_path: Path) -> None:
    def words(vocabulary: object) -> Path:
        lookup = layer("StringLookup", "breed", vocabulary=vocabulary)
        return hdf5_model(tmp_path / "words.h5", old_sequential(lookup))

    with pytest.raises(FileRejected, match="The layer 'breed' has lost its vocabulary: HDF5 does not hold what"):
        inspect_file(words(None))
    assert inspect_file(words(["beagle", "collie"])).format == "hdf5"
