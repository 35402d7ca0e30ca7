import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.download import unpack as module
from pipeline.download.unpack import unpack


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w:gz", **attributes: object) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            archive.addfile(member, io.BytesIO(data))
    return path


def complaint(archive: Path, name: str, folder: Path) -> str:
    with pytest.raises(ValueError) as caught:
        unpack(archive, name, folder)
    assert type(caught.value) is ValueError
    return str(caught.value)


FILES = {"cats/a.txt": b"meow", "./dogs/b.txt": b"woof" * 1000, "empty.txt": b""}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("x.zip", zipped),
        ("X.ZIP", zipped),
        ("x.tar.gz", tarred),
        ("x.tgz", tarred),
        ("x.tar", lambda path, files: tarred(path, files, "w")),
        ("x.tar.xz", lambda path, files: tarred(path, files, "w:xz")),
    ],
)
def test_archives_are_unpacked_whole(tmp_path, name, make):
    archive = make(tmp_path / "0abc.part", FILES)
    (tmp_path / "out").mkdir()
    assert unpack(archive, name, tmp_path / "out") == 3
    found = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in (tmp_path / "out").rglob("*.txt")
    }
    assert found == {"cats/a.txt": b"meow", "dogs/b.txt": b"woof" * 1000, "empty.txt": b""}


@pytest.mark.parametrize("entry", ["../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "..\\evil.txt", "C:\\evil.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_name_leads_out_of_the_folder(tmp_path, entry, kind):
    archive = (zipped if kind == "zip" else tarred)(tmp_path / "x", {entry: b"x"})
    (tmp_path / "deep" / "out").mkdir(parents=True)
    message = complaint(archive, f"x.{kind}", tmp_path / "deep" / "out")
    assert "leads out of the folder" in message and "evil.txt" in message
    assert not list(tmp_path.rglob("evil*"))


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        archive = tarred(tmp_path / "x", {"link": b""}, type=kind, linkname="/etc/passwd")
        assert "'link' is a link or a device" in complaint(archive, "x.tar", tmp_path)
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    assert "'link' is a link or a device" in complaint(tmp_path / "z", "z.zip", tmp_path)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_that_unpacks_to_far_more_than_its_size_is_stopped(tmp_path, make, monkeypatch):
    monkeypatch.setattr(module, "SMALLEST_LIMIT", 1 << 20)
    archive = make(tmp_path / "x", {f"{number}": b"\0" * (1 << 20) for number in range(4)})
    message = complaint(archive, "x.zip" if make is zipped else "x.tgz", tmp_path)
    assert "unpacks to more than 100 times its size" in message


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_of_countless_files_is_stopped_before_it_fills_the_disk(tmp_path, make, monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 10)
    archive = make(tmp_path / "x", {f"{number}/x": b"" for number in range(11)})
    message = complaint(archive, "x.zip" if make is zipped else "x.tgz", tmp_path / "out")
    assert "holds more than 10 files and folders" in message
    assert len(list((tmp_path / "out").rglob("x"))) == 10


@pytest.mark.parametrize("entry", [".", "./", "a/../b", "x" * 300, "d/" * 2100 + "x"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_name_no_file_are_refused_in_one_sentence(tmp_path, entry, kind):
    archive = (zipped if kind == "zip" else tarred)(tmp_path / "x", {entry: b"x"})
    (tmp_path / "out").mkdir()
    try:
        assert unpack(archive, f"x.{kind}", tmp_path / "out") == 0, "a folder, in a zip file"
    except ValueError as error:
        assert type(error) is ValueError and f"x.{kind}: " in str(error)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_sum_of_files_counts_not_each_of_them(tmp_path, monkeypatch):
    """Every file is below the limit: an overlapping or nested bomb is made of many."""
    monkeypatch.setattr(module, "SMALLEST_LIMIT", 1 << 20)
    archive = zipped(tmp_path / "x", {f"{number}": b"\0" * (1 << 18) for number in range(40)})
    assert "unpacks to more than 100 times its size" in complaint(archive, "x.zip", tmp_path / "out")
    written = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert written <= max(1 << 20, 100 * archive.stat().st_size) < 40 << 18


def test_damaged_protected_and_foreign_files_are_refused(tmp_path):
    for name, make in (("x.zip", zipped), ("x.tgz", tarred)):
        data = make(tmp_path / "x", FILES).read_bytes()
        for broken in (data[: len(data) // 2], b"", b"<html>not found</html>"):
            (tmp_path / "x").write_bytes(broken)
            assert f"{name}: the archive is damaged" in complaint(tmp_path / "x", name, tmp_path / "out")
    assert "allowed: .zip, .tar, .tar.gz" in complaint(tmp_path / "x", "x.rar", tmp_path)


def test_names_that_collide_are_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("here before")
    assert "'a.csv' occurs twice" in complaint(zipped(tmp_path / "x", {"a.csv": b""}), "x.zip", tmp_path / "out")
    archive = tarred(tmp_path / "y", {"b": b"", "b/c": b""})
    assert "a file and a folder at once" in complaint(archive, "y.tgz", tmp_path / "out")


def test_links_outside_of_what_is_taken_are_of_no_concern(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        link = tarfile.TarInfo("repo/README")
        link.type, link.linkname = tarfile.SYMTYPE, "docs/README.md"
        archive.addfile(link)
        member = tarfile.TarInfo("repo/images/a.txt")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"meow"))
    assert unpack(tmp_path / "x.tar", "x.tar", tmp_path / "out", "images") == 1
    with pytest.raises(ValueError, match="'repo/README' is a link or a device"):
        unpack(tmp_path / "x.tar", "x.tar", tmp_path / "all")


def test_names_in_a_zip_without_the_flag_of_utf8_are_read_as_most_programs_write_them(tmp_path):
    path = zipped(tmp_path / "x.zip", {"ee/a.txt": b"meow"})
    path.write_bytes(path.read_bytes().replace(b"ee/a.txt", "é/a.txt".encode()))
    assert unpack(path, "x.zip", tmp_path / "out") == 1
    assert (tmp_path / "out" / "é" / "a.txt").read_bytes() == b"meow"


def test_an_archive_of_nothing_is_told(tmp_path):
    assert complaint(zipped(tmp_path / "x.zip", {}), "x.zip", tmp_path / "out") == "x.zip: has no files"


def test_a_name_in_another_encoding_and_a_flipped_bit_are_refused(tmp_path):
    with tarfile.open(tmp_path / "y.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("café"))
    assert "is no name in UTF-8; pack the archive anew" in complaint(tmp_path / "y.tar", "y.tar", tmp_path / "y")
    packed = bytearray(tarred(tmp_path / "z.tar.bz2", {"a": bytes(range(256)) * 4000}, "w:bz2").read_bytes())
    packed[len(packed) // 2] ^= 255
    (tmp_path / "z.tar.bz2").write_bytes(packed)
    assert "the archive is damaged or protected" in complaint(tmp_path / "z.tar.bz2", "z.tar.bz2", tmp_path / "z")
