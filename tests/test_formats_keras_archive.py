"""The .keras archive itself: its table of contents, what it unpacks to, and the HDF5 file in it."""

from __future__ import annotations

import json
import stat
import time
import warnings
import zipfile
from pathlib import Path

import h5py
import pytest

from inference.formats import inspect_file
from tests.model_files import dense, keras_zip, refusal, sequential, weights_bytes


def patched(path: Path, entry: str, offset: int, value: bytes) -> Path:
    """Overwrites a field of the entry's record in the central directory (APPNOTE.TXT, 4.3.12)."""
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02")
    while not raw[at + 46 :].startswith(entry.encode()):
        at = raw.index(b"PK\x01\x02", at + 4)
    raw[at + offset : at + offset + len(value)] = value
    path.write_bytes(raw)
    return path


def test_a_recompressed_archive_is_accepted(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", compression=zipfile.ZIP_DEFLATED)

    assert inspect_file(path).format == "keras"


def test_an_archive_with_assets_is_accepted(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", extra=[("assets/words/vocabulary.txt", b"cat\ndog\n")])

    assert inspect_file(path).format == "keras"


def test_an_archive_without_metadata_is_accepted(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", without=["metadata.json"])

    assert inspect_file(path).format == "keras"


def test_metadata_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", without=["metadata.json"], extra=[("metadata.json", b"[]")])

    assert refusal(path).startswith("The description of the layers inside the file is damaged.")


def test_two_descriptions_in_one_archive_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        path = keras_zip(tmp_path / "small.keras", extra=[("config.json", b"{}")])

    assert refusal(path).startswith("The archive holds 'config.json' twice")


@pytest.mark.parametrize("name", ["../evil", "assets/../../evil", "/etc/evil", "assets\\..\\evil", "C:/evil"])
def test_an_entry_outside_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = keras_zip(tmp_path / "small.keras", extra=[(name, b"x")])

    assert refusal(path).startswith(f"The entry '{name.replace(chr(92), '/')}' points outside of the archive. Save the")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./config.json", "The archive holds 'config.json' twice"),
        ("config.json/x", "The archive holds 'config.json' both as a file and as a folder."),
        ("assets/a\nb", "The name 'assets/a?b' in the archive is not readable."),
        ("assets/" + "x" * 300, "The name 'assets/xxx"),
    ],
)
def test_a_name_that_no_archive_may_hold_is_refused_here_too(tmp_path: Path, name: str, sentence: str) -> None:
    assert refusal(keras_zip(tmp_path / "small.keras", extra=[(name, b"x")])).startswith(sentence)


def test_what_file_managers_add_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", extra=[("__MACOSX/._config.json", b"x"), (".DS_Store", b"x")])

    assert inspect_file(path).format == "keras"


def test_a_symbolic_link_in_the_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = keras_zip(tmp_path / "small.keras", extra=[(link, b"/etc/passwd")])

    assert refusal(path).startswith("The entry 'assets/link' is a link or a device, not a plain file. Save the model")


def test_a_protected_archive_is_refused(tmp_path: Path) -> None:
    path = patched(keras_zip(tmp_path / "small.keras"), "config.json", 8, b"\x01\x00")

    assert refusal(path).startswith("The archive is protected with a password.")


def test_an_unusual_packing_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", compression=zipfile.ZIP_LZMA)

    assert "is packed with a method that is not read here. Save the model" in refusal(path)


def test_800_mb_of_spaces_as_description_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("metadata.json", "{}")
        with archive.open("config.json", "w") as entry:
            for _ in range(100):
                entry.write(b" " * (8 << 20))
        archive.writestr("model.weights.h5", weights_bytes())
    begun = time.monotonic()

    sentence = refusal(path)

    assert sentence.startswith("The description of the layers is 839 MB long; at most 67.1 MB are read.")
    assert time.monotonic() - begun < 5


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", compression=zipfile.ZIP_DEFLATED)
    patched(path, "config.json", 24, (8).to_bytes(4, "little"))

    assert refusal(path).startswith("The archive is damaged or was cut off.")


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    path = keras_zip(
        tmp_path / "bomb.keras", extra=[("assets/zeros", b"\0" * (80 << 20))], compression=zipfile.ZIP_DEFLATED
    )

    assert refusal(path).startswith("Unpacked, the archive would take 83.")


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "many.keras", extra=[(f"assets/{n}", b"") for n in range(10_001)])

    assert refusal(path).startswith("The archive has more than 10,000 entries, which no model has. Save the model")


def test_npz_weights_are_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", without=["model.weights.h5"], extra=[("model.weights.npz", b"PK")])

    assert refusal(path).startswith("The weights are kept in the npz form, which is not read here.")


def test_damaged_weights_in_the_archive_are_refused(tmp_path: Path) -> None:
    for weights in (b"not hdf5", weights_bytes()[:700]):
        path = keras_zip(tmp_path / "small.keras", weights=weights)
        assert refusal(path).startswith("The weights inside the archive are damaged.")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_weights_in_the_archive_that_point_elsewhere_are_refused(tmp_path: Path, compression: int) -> None:
    def point_elsewhere(file: h5py.File) -> None:
        file["layers/dense/vars/2"] = h5py.ExternalLink("/etc/passwd", "/x")

    path = keras_zip(
        tmp_path / "small.keras",
        sequential(dense()),
        weights=weights_bytes(point_elsewhere),
        compression=compression,
    )

    assert refusal(path).startswith("The entry 'layers/dense/vars/2' is a link to another file")


def test_a_description_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", json.dumps(sequential(dense())).encode("utf-16"))

    assert refusal(path).startswith("The description of the layers inside the file is damaged.")


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    for text in ('{"class_name": ', "[]", "nonsense", '{"a": ' + "9" * 5000 + "}"):
        path = keras_zip(tmp_path / "small.keras", text)
        assert refusal(path).startswith("The description of the layers inside the file is damaged.")


@pytest.mark.parametrize("name", ["\ud800", "cat\udc80"])
def test_half_of_a_character_in_a_name_is_refused(tmp_path: Path, name: str) -> None:
    config = sequential(dense())
    config["config"]["name"] = name

    assert refusal(keras_zip(tmp_path / "small.keras", config)).startswith(
        "The description of the layers holds half of a character"
    )


def test_a_name_of_rare_characters_is_accepted(tmp_path: Path) -> None:
    config = sequential(dense(name="answer \U0001f98a"))

    assert inspect_file(keras_zip(tmp_path / "small.keras", config)).format == "keras"


def test_a_description_without_a_model_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", {"name": "x"})

    assert refusal(path).startswith("The file does not say which layers the model has.")


def test_a_description_nested_100000_deep_is_refused_at_once(tmp_path: Path) -> None:
    text = '{"class_name": "Sequential", "config": ' + "[" * 100_000 + "]" * 100_000 + "}"
    path = keras_zip(tmp_path / "deep.keras", text)
    begun = time.monotonic()

    assert refusal(path).startswith("The description of the layers is nested more than 200 levels deep")
    assert time.monotonic() - begun < 5


def test_brackets_inside_of_names_do_not_count_as_nesting(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", sequential(dense(name='odd "' + "[{" * 500 + '\\" name\\')))

    assert inspect_file(path).format == "keras"


def test_a_description_of_endless_parts_is_refused_at_once(tmp_path: Path) -> None:
    text = '{"class_name": "Sequential", "config": [' + "[]," * 5_000_000 + "[]]}"
    path = keras_zip(tmp_path / "many.keras", text)
    begun = time.monotonic()

    assert refusal(path).startswith("The description of the layers has more parts than any real model.")
    assert time.monotonic() - begun < 5
