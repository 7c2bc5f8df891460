"""Archives from outside are looked through before anything is unpacked, and never lead out of their folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.archives import opened_archive, unpack
from inference.refusal import FileRejected

Fill = Callable[[tarfile.TarFile], None]


def zip_of(folder: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path = folder / "upload.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def tar_of(folder: Path, *entries: tuple[str, bytes, bytes], packing: str = "") -> Path:
    """Entries are name, content and tarfile's type."""
    path = folder / "upload.tar"
    with tarfile.open(path, f"w:{packing}") as archive:
        for name, content, kind in entries:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content)
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname, member.size = "/etc/passwd", 0
            archive.addfile(member, io.BytesIO(content))
    return path


def refusal(path: Path) -> str:
    target = path.parent / "out"
    with pytest.raises(FileRejected) as caught:
        unpack(path, target)
    assert not target.exists()
    assert not list(path.parent.glob("*.partial"))
    return caught.value.message


@pytest.mark.parametrize("packing", ["", "gz"])
def test_a_tar_is_unpacked_with_the_mode_of_its_owner_only(tmp_path: Path, packing: str) -> None:
    path = tar_of(
        tmp_path, ("./top", b"", tarfile.DIRTYPE), ("./top/a/b", b"x" * 5000, tarfile.REGTYPE), packing=packing
    )

    unpack(path, tmp_path / "out")

    found = tmp_path / "out/top/a/b"
    assert found.read_bytes() == b"x" * 5000
    assert found.stat().st_mode & 0o777 == 0o600


def test_what_file_managers_add_is_left_out(tmp_path: Path) -> None:
    path = zip_of(tmp_path, ("model.xml", b"x"), ("__MACOSX/._model.xml", b"y"), (".DS_Store", b"z"))

    unpack(path, tmp_path / "out")

    assert [found.name for found in (tmp_path / "out").rglob("*")] == ["model.xml"]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a\\..\\evil", "C:/evil"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    assert "points outside of the archive" in refusal(tar_of(tmp_path, (name, b"x", tarfile.REGTYPE)))
    info = zipfile.ZipInfo("x")
    info.filename = name
    assert "points outside of the archive" in refusal(zip_of(tmp_path, (info, b"x")))


def test_a_zip_of_windows_has_folders(tmp_path: Path) -> None:
    path = zip_of(
        tmp_path, ("my model\\", b""), ("my model\\variables\\x.index", b"1"), ("my model\\saved_model.pb", b"2")
    )

    unpack(path, tmp_path / "out")

    assert (tmp_path / "out/my model/variables/x.index").read_bytes() == b"1"
    assert (tmp_path / "out/my model/saved_model.pb").read_bytes() == b"2"


@pytest.mark.parametrize("name", ["..\\..\\x", "C:\\x", "\\x", "\\\\host\\x", "a\\..\\..\\x"])
def test_names_of_windows_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    assert "points outside of the archive" in refusal(zip_of(tmp_path, ("good\\y", b"y"), (name, b"x")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_of_windows_are_unique_and_of_one_kind(tmp_path: Path) -> None:
    assert "points outside of the archive" in refusal(zip_of(tmp_path, ("a/b", b"1"), ("a\\b", b"2")))
    assert "holds 'a/b' twice" in refusal(zip_of(tmp_path, ("a\\b", b"1"), ("a\\.\\b", b"2")))
    assert "both as a file and as a folder" in refusal(zip_of(tmp_path, ("a", b"1"), ("a\\b", b"2")))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    sentence = refusal(tar_of(tmp_path, ("good", b"x", tarfile.REGTYPE), ("door", b"", kind)))

    assert sentence.startswith("The entry 'door' is a link or a device")


def test_a_symlink_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("door")
    info.external_attr = 0o120777 << 16

    assert refusal(zip_of(tmp_path, (info, b"/etc/passwd"))).startswith("The entry 'door' is a link or a device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "holds 'a' twice" in refusal(zip_of(tmp_path, ("a", b"1"), ("a", b"2")))
    assert "holds 'a' twice" in refusal(tar_of(tmp_path, ("a", b"1", tarfile.REGTYPE), ("./a", b"2", tarfile.REGTYPE)))


def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path) -> None:
    assert "both as a file and as a folder" in refusal(zip_of(tmp_path, ("a", b"1"), ("a/b", b"2")))


@pytest.mark.parametrize("packing", ["zip", "tar"])
def test_too_many_entries_are_refused(tmp_path: Path, packing: str) -> None:
    if packing == "zip":
        path = zip_of(tmp_path, *[(str(n), b"") for n in range(10_001)])
    else:
        path = tar_of(tmp_path, *[(str(n), b"", tarfile.REGTYPE) for n in range(10_001)])

    assert refusal(path).startswith("The archive has more than 10,000 entries")


def test_a_gigabyte_of_zeros_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive, (tmp_path / "zeros").open("w+b") as zeros:
        zeros.truncate(1 << 28)
        member = tarfile.TarInfo("zeros")
        member.size = 1 << 28
        archive.addfile(member, zeros)

    assert refusal(path).startswith("Unpacked, the archive would take 268 MB or more, though it has only")


def test_a_zip_that_declares_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path, ("a", b"x" * 1000))
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24  # the uncompressed size in the table of contents (APPNOTE.TXT, 4.3.12)
    raw[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(raw)

    assert refusal(path).startswith("The archive is damaged")


def test_a_zip_from_whose_begin_bytes_are_missing_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path, ("a", bytes(range(256)) * 8))
    path.write_bytes(b"PK" + path.read_bytes()[100:])

    assert refusal(path).startswith("The archive is damaged")


def test_a_password_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path, ("a", b"x"))
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)

    assert refusal(path).startswith("The archive is protected with a password.")


@pytest.mark.parametrize("packing", ["", "gz"])
def test_a_tar_that_was_cut_off_is_refused(tmp_path: Path, packing: str) -> None:
    path = tar_of(tmp_path, ("a", bytes(range(256)) * 400, tarfile.REGTYPE), packing=packing)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])

    assert refusal(path).startswith("The archive is damaged")


def test_a_header_that_asks_for_a_gigabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "upload.tar"
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    path.write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))

    assert refusal(path).startswith("The archive is damaged")


def test_entries_are_listed_with_their_sizes(tmp_path: Path) -> None:
    with opened_archive(zip_of(tmp_path, ("a/b", b"123"))) as archive:
        assert [(entry.name, entry.size_bytes) for entry in archive.entries] == [("a/b", 3)]
