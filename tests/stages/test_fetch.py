import hashlib
import io
import re
import zipfile
from types import SimpleNamespace

import pytest

from pipeline.params import Download, ParamsError
from pipeline.stages.fetch import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_DATA_MIRROR", raising=False)
    return tmp_path


def downloads(name: str, **files: tuple[str, bytes, bool | None]):
    entries = {
        file.replace("_", "."): Download(url=url, sha256=hashlib.sha256(data).hexdigest(), unpack=unpack)
        for file, (url, data, unpack) in files.items()
    }
    return SimpleNamespace(downloads={name: entries})


def source(folder, name: str, data: bytes) -> str:
    (folder / "source").mkdir(exist_ok=True)
    (folder / "source" / name).write_bytes(data)
    return (folder / "source" / name).as_uri()


def test_the_packaged_digits_are_fetched(here, capsys):
    sha256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
    entry = Download(url="package://sklearn/datasets/data/digits.csv.gz", sha256=sha256)
    main("digits", SimpleNamespace(downloads={"digits": {"digits.csv.gz": entry}}))
    assert hashlib.sha256((here / "data/raw/digits/digits.csv.gz").read_bytes()).hexdigest() == sha256
    assert capsys.readouterr().out == "fetch: 1 file, 0.1 MB → data/raw/digits\n"
    assert not list((here / ".work" / "downloads").iterdir())


def test_files_and_archives_come_together_and_older_files_go(here):
    with zipfile.ZipFile(here / "pictures.zip", "w") as archive:
        archive.writestr("cats/a.txt", "meow")
    packed = (here / "pictures.zip").read_bytes()
    params = downloads(
        "mixed",
        pictures_zip=(source(here, "p.zip", packed), packed, True),
        kept_zip=(source(here, "k.zip", packed), packed, False),
        labels_csv=(source(here, "l.csv", b"a,b\n"), b"a,b\n", None),
    )
    (here / "data/raw/mixed").mkdir(parents=True)
    (here / "data/raw/mixed/old.csv").write_text("old")
    main("mixed", params)
    found = sorted(path.relative_to(here).as_posix() for path in (here / "data/raw").rglob("*") if path.is_file())
    assert found == ["data/raw/mixed/cats/a.txt", "data/raw/mixed/kept.zip", "data/raw/mixed/labels.csv"]
    assert [path.name for path in (here / "data/raw").iterdir()] == ["mixed"]


def test_a_mirror_is_used_for_a_name_with_a_hyphen(here, monkeypatch):
    (here / "mirror" / "fashion-mnist").mkdir(parents=True)
    (here / "mirror" / "fashion-mnist" / "t10k.gz").write_bytes(b"bytes")
    monkeypatch.setenv("PIPELINE_DATA_MIRROR", str(here / "mirror"))
    main("fashion-mnist", downloads("fashion-mnist", t10k_gz=("http://127.0.0.1:9/t10k.gz", b"bytes", None)))
    assert (here / "data/raw/fashion-mnist/t10k.gz").read_bytes() == b"bytes"


def test_a_wrong_checksum_leaves_earlier_data_and_the_good_files_for_the_next_try(here):
    good, bad = source(here, "good.csv", b"good"), source(here, "bad.csv", b"other")
    (here / "data/raw/x").mkdir(parents=True)
    (here / "data/raw/x/good.csv").write_text("earlier")
    with pytest.raises(ValueError, match="found SHA-256"):
        main("x", downloads("x", good_csv=(good, b"good", None), bad_csv=(bad, b"bad", None)))
    assert (here / "data/raw/x/good.csv").read_text() == "earlier"
    assert [path.name for path in (here / "data/raw").iterdir()] == ["x"]
    kept = f"{hashlib.sha256(b'good').hexdigest()}.part"
    assert [path.name for path in (here / ".work/downloads").iterdir()] == [kept]


def test_a_bad_archive_leaves_earlier_data(here):
    (here / "data/raw/x").mkdir(parents=True)
    (here / "data/raw/x/a.csv").write_text("earlier")
    with pytest.raises(ValueError, match=r"a.zip: the archive is damaged"):
        main("x", downloads("x", a_zip=(source(here, "a.zip", b"no zip"), b"no zip", True)))
    assert [path.name for path in (here / "data/raw").rglob("*")] == ["x", "a.csv"]


def test_an_unknown_download_is_named_with_the_nearest(here):
    params = downloads("digits", a_csv=("file:///a", b"", None))
    with pytest.raises(ParamsError, match=r"download: found digit; allowed: digits; did you mean `digits`"):
        main("digit", params)


def packed(*files: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return stream.getvalue()


UPSTREAM = packed(
    ("set-0abc/README.md", b"hello"),
    ("set-0abc/data/", b""),
    ("set-0abc/data/b.txt", b"two"),
    ("set-0abc/data/in/a.txt", b"one"),
    ("set-0abc/data/.DS_Store", b"left by a desktop"),
)
REPACKED = packed(("data/in/a.txt", b"one"), ("data/b.txt", b"two"))
CONTENTS = "f3a0326252cb5cef250fc4142a6e7e112e680c6c5773632b19f38645506fbff6"


def by_contents(here, archive: bytes, contents: str | None = None, folder: str = "data"):
    address = source(here, "set.zip", archive)
    entry = Download(url=address, unpack=True, folder=folder, contents=contents or CONTENTS)
    return SimpleNamespace(downloads={"set": {"set.zip": entry}})


@pytest.mark.parametrize("archive", [UPSTREAM, REPACKED])
def test_an_archive_is_known_by_what_is_in_it_however_it_was_packed(here, archive):
    main("set", by_contents(here, archive))
    found = {path.relative_to(here / "data/raw/set").as_posix() for path in (here / "data/raw").rglob("*.*")}
    assert found == {"data/b.txt", "data/in/a.txt"}, "what lies beside the folder, and hidden files, stay out"
    assert not list((here / ".work" / "downloads").iterdir())


def test_a_repacked_copy_in_a_mirror_is_checked_as_well(here, monkeypatch):
    params = by_contents(here, REPACKED)
    remote = params.downloads["set"]["set.zip"].model_copy(update={"url": "http://127.0.0.1:9/set.zip"})
    params.downloads["set"]["set.zip"] = remote
    (here / "mirror/set").mkdir(parents=True)
    (here / "mirror/set/set.zip").write_bytes(REPACKED)
    monkeypatch.setenv("PIPELINE_DATA_MIRROR", str(here / "mirror"))
    main("set", params)
    assert (here / "data/raw/set/data/b.txt").read_bytes() == b"two"
    (here / "mirror/set/set.zip").write_bytes(packed(("data/in/a.txt", b"one"), ("data/b.txt", b"2")))
    with pytest.raises(
        ValueError, match=r"set\.zip: the files of its folder data have the digest [0-9a-f]{64}; params"
    ):
        main("set", params)
    assert (here / "data/raw/set/data/b.txt").read_bytes() == b"two", "earlier data stay"


def test_an_archive_in_a_mirror_is_checked_against_the_sums_of_the_mirror(here, monkeypatch, caplog, capsys):
    params = by_contents(here, REPACKED)
    (here / "mirror/set").mkdir(parents=True)
    (here / "mirror/set/set.zip").write_bytes(REPACKED)
    monkeypatch.setenv("PIPELINE_DATA_MIRROR", str(here / "mirror"))
    caplog.set_level("INFO")
    main("set", params)
    assert "set/set.zip: from the mirror, whose SHA256SUMS does not list it" in caplog.text
    digest = hashlib.sha256(REPACKED).hexdigest()
    (here / "mirror/SHA256SUMS").write_text(f"{'0' * 64}  set/other.zip\n{digest}  set/set.zip\n")
    main("set", params)
    assert "packed anew there or a part; checked by its SHA256SUMS" in caplog.text
    assert "1 of 1 downloads from " in capsys.readouterr().out
    (here / "mirror/SHA256SUMS").write_text(f"{digest}  set/set.zip\n", encoding="utf-8-sig")
    main("set", params)
    (here / "mirror/SHA256SUMS").write_text(f"{digest}  set/set.zip\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"SHA256SUMS: not readable as text in UTF-8 .*; write it anew"):
        main("set", params)
    (here / "mirror/SHA256SUMS").write_text(f"{'0' * 64} *./set/set.zip\n")
    with pytest.raises(ValueError, match=rf"set\.zip: found SHA-256 {digest}; SHA256SUMS of the mirror has 0{{64}}"):
        main("set", params)
    assert (here / "data/raw/set/data/b.txt").read_bytes() == b"two", "earlier data stay"


def test_a_mirror_that_is_not_there_is_told(here, monkeypatch):
    monkeypatch.setenv("PIPELINE_DATA_MIRROR", str(here / "mirro"))
    with pytest.raises(ValueError, match=r"PIPELINE_DATA_MIRROR: found .*mirro, which is no folder; allowed: "):
        main("set", by_contents(here, REPACKED))


def test_a_folder_that_is_not_in_the_archive_is_named(here):
    with pytest.raises(ValueError, match=r"set\.zip: has no files in a folder images; look into it"):
        main("set", by_contents(here, UPSTREAM, folder="images"))


def test_some_files_of_a_folder_are_taken_by_their_names(here):
    params = by_contents(here, UPSTREAM)
    entry = params.downloads["set"]["set.zip"]
    params.downloads["set"]["set.zip"] = entry.model_copy(update={"only": ["a.*", "c.*"]})
    with pytest.raises(ValueError, match="have the digest") as caught:
        main("set", params)
    (digest,) = re.findall("digest ([0-9a-f]{64})", str(caught.value))
    params.downloads["set"]["set.zip"] = entry.model_copy(update={"only": ["a.*", "c.*"], "contents": digest})
    main("set", params)
    assert [path.name for path in (here / "data/raw/set").rglob("*.*")] == ["a.txt"]
    params.downloads["set"]["set.zip"] = entry.model_copy(update={"only": ["*.wav"]})
    with pytest.raises(ValueError, match=r"set\.zip: has no files with names like \*\.wav in a folder data"):
        main("set", params)


def test_what_an_earlier_run_left_of_another_packing_is_not_used(here):
    wrong = by_contents(here, packed(("data/b.txt", b"other")))
    with pytest.raises(ValueError, match="have the digest"):
        main("set", wrong)
    main("set", by_contents(here, REPACKED))
    assert (here / "data/raw/set/data/in/a.txt").read_bytes() == b"one"
