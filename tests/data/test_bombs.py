"""Small files that make much memory: each is refused before the memory is taken.

A process of its own tries them all, whose memory the system holds down to ROOM more than it has after its imports.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.download.tar_files import MOST_HEADER, members, opened_tar
from pipeline.formats import padding
from pipeline.formats.padding import check_padding
from pipeline.tasks.requests import texts_of

ROOT = Path(__file__).parents[2]
ROOM = 512 << 20  # bytes
GIGABYTES = 5
PIECE = bytes(64 << 20)
PROGRAM = """
import json, resource, sys
from pathlib import Path
import numpy as np, pandas as pd, soundfile, PIL.Image, lzma, bz2, scipy.signal
from pipeline.formats.audio import read_sound
from pipeline.formats import FORMATS
from pipeline.formats.idx import IMAGES, read_idx
from pipeline.formats.image import read_image, upright_image
from pipeline.tasks.request_files import READERS
from pipeline.tasks.requests import files_of
from pipeline.formats.text import sentences
from pipeline.formats.ts import read_ts
from pipeline.download.unpack import unpack
from pipeline.formats.voc import read_voc
PIL.Image.init()
folder, room = Path(sys.argv[1]), int(sys.argv[2])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))

def served(name, column, read):
    files_of(pd.DataFrame({column: [(folder / name).read_bytes()]}), column, read)

picture = {"height": 8, "width": 8, "mode": "RGB"}
ways = {
    "archive": [lambda name: unpack(folder / name, name, folder / "out")],
    "picture": [lambda name: read_image(folder / name, **picture), lambda name: upright_image(folder / name),
                lambda name: READERS["picture"](folder / name, {}, {}),
                lambda name: served(name, "image", lambda stream: read_image(stream, **picture))],
    "sound": [lambda name: read_sound(folder / name, 8000),
              lambda name: READERS["recording"](folder / name, {"sample_rate": 8000}, {}),
              lambda name: served(name, "audio", lambda stream: read_sound(stream, 8000))],
    "text": [lambda name: sentences(folder, name), lambda name: read_ts(folder / name),
             lambda name: READERS["text"](folder / name, {}, {}),
             lambda name: READERS["draws"](folder / name, {}, {}),
             lambda name: FORMATS["csv_series"](folder, file=name, date="date", date_format="ISO8601", columns=["a"]),
             lambda name: FORMATS["labelled_text"](folder, file=name), lambda name: read_idx(folder, name, IMAGES)],
}
for line in sys.stdin:
    kind, name = line.split()
    for number, way in enumerate(ways[kind]):
        try:
            said = repr(way(name))[:80]
        except ValueError as error:
            said = str(error)
        except MemoryError:
            said = "MemoryError"
        print(json.dumps([name, number, said]))
"""


def zeros(compress: Callable[[bytes], bytes], gigabytes: int = GIGABYTES) -> bytes:
    """So many gigabytes of zeros: one packed piece again and again, as gzip, bzip2 and xz allow."""
    return compress(PIECE) * (gigabytes * 1024 // 64)


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def xz_with_a_dictionary_of_4_gib(data: bytes) -> bytes:
    packed = bytearray(lzma.compress(data))
    length = (packed[12] + 1) * 4  # of the header of the first block, which begins at 12
    place = packed.index(b"\x21\x01", 12) + 2
    packed[place] = 40
    packed[12 + length - 4 : 12 + length] = struct.pack("<I", zlib.crc32(bytes(packed[12 : 12 + length - 4])))
    return bytes(packed)


def zip_of(method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    return stream.getvalue()


def png(width: int, height: int, colour: int = 2) -> bytes:
    """Black, of colour type 2 (RGB) or 0 (grey), of which every row begins with its filter."""
    row = 1 + width * (3 if colour == 2 else 1)
    packer = zlib.compressobj(1)
    data = b"".join([packer.compress(bytes(row)) for _ in range(height)] + [packer.flush()])
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    written = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
               for kind, data in chunks]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def tiff_with_large_tiles() -> bytes:
    tags = [
        (256, 16),
        (257, 16),
        (258, 8),
        (259, 1),
        (262, 1),
        (277, 1),
        (322, 32768),
        (323, 32768),
        (324, 8),
        (325, 64),
    ]
    block = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return block + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(64)


def silence(kind: str, channels: int, rate: int, frames: int) -> bytes:
    import soundfile

    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", rate, channels, format=kind) as file:
        for _ in range(0, frames, 1 << 20):
            file.write(np.zeros((1 << 20, channels), dtype=np.int16))
    return stream.getvalue()


def bombs() -> dict[str, tuple[str, Callable[[], bytes], str]]:
    """kind, content and what is said of it."""
    size, much = GIGABYTES << 30, "which would fill the memory; pack the archive anew, plainly"
    holes = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1", "GNU.sparse.name": "x"}
    sparse = tarfile.TarInfo("x")
    sparse.size, sparse.pax_headers = size, holes
    many = b"".join(
        tarfile.TarInfo.create_pax_global_header({f"{n}-{m}": "x" * 100 for m in range(900)}) for n in range(9)
    )
    return {
        "pax.tar.gz": ("archive", lambda: gzip.compress(header(b"x", size)) + zeros(gzip.compress), much),
        "pax.tar.bz2": ("archive", lambda: bz2.compress(header(b"x", size)) + zeros(bz2.compress), much),
        "global.tar.xz": ("archive", lambda: lzma.compress(header(b"g", size)) + zeros(lzma.compress, 1), much),
        "long.tar.gz": ("archive", lambda: gzip.compress(header(b"L", size)) + zeros(gzip.compress), much),
        "link.tar": ("archive", lambda: header(b"K", size) + bytes(1024), much),
        "sparse.tar.gz": ("archive", lambda: gzip.compress(header(b"S", size)) + zeros(gzip.compress, 1), "sparse"),
        "holes.tar.gz": ("archive", lambda: gzip.compress(sparse.tobuf(tarfile.PAX_FORMAT)) + zeros(gzip.compress, 1),
                         "sparse file"),
        "globals.tar.gz": ("archive", lambda: gzip.compress(many), "very many headers for all files"),
        "dictionary.tar.xz": ("archive", lambda: xz_with_a_dictionary_of_4_gib(header(b"0", 0)), "emory usage limit"),
        "later.tar.xz": ("archive", lambda: lzma.compress(header(b"0", 1 << 20))
                         + xz_with_a_dictionary_of_4_gib(bytes(1 << 20)), "emory usage limit"),
        "bzip2.zip": ("archive", lambda: zip_of(zipfile.ZIP_BZIP2), "is not packed by deflate"),
        "lzma.zip": ("archive", lambda: zip_of(zipfile.ZIP_LZMA), "is not packed by deflate"),
        "large.png": ("picture", lambda: png(13_300, 13_300), "found 13300 × 13300 pixels; allowed: up to 67,108,864"),
        "grey.png": ("picture", lambda: png(16_384, 4_097, 0), "found 16384 × 4097 pixels; allowed: up to 67,108,864"),
        "tiles.tif": ("picture", tiff_with_large_tiles, "found 32768 × 32768 pixels; allowed"),
        "eight.flac": ("sound", lambda: silence("FLAC", 8, 48_000, 9 << 20), "in each of 8 channels"),
        "hour.flac": ("sound", lambda: silence("FLAC", 1, 1_000, 5 << 20), "allowed: up to 3600 s"),
        "line.gz": ("text", lambda: zeros(gzip.compress, 1), "line.gz"),
        "lines.gz": ("text", lambda: gzip.compress(b"12,34,56\n" * (1 << 20)) * 2, "lines.gz"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What every way to read a bomb says of it."""
    folder = tmp_path_factory.mktemp("bombs")
    (folder / "out").mkdir()
    made = bombs()
    for name, (_, content, _) in made.items():
        (folder / name).write_bytes(content())
        assert (folder / name).stat().st_size < 6 << 20, name
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(ROOM)],
        input="".join(f"{kind} {name}\n" for name, (kind, _, _) in made.items()),
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[str]] = {}
    for name, _, text in map(json.loads, done.stdout.splitlines()):
        found.setdefault(name, []).append(text)
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="holds memory down by RLIMIT_AS")
@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused_before_it_takes_memory(name: str, said: dict[str, list[str]]) -> None:
    expected = bombs()[name][2]
    for text in said[name]:
        assert expected in text and "MemoryError" not in text, text


def test_the_bombs_would_take_more_memory_than_there_is(tmp_path: Path) -> None:
    """Otherwise the test above proves nothing: the library itself ends for want of memory."""
    (tmp_path / "pax.tar.gz").write_bytes(bombs()["pax.tar.gz"][1]())
    program = "import resource, sys, tarfile; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
    program += "tarfile.open(sys.argv[1]).getmembers()"
    command = [sys.executable, "-c", program, str(tmp_path / "pax.tar.gz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr


def test_long_names_and_properties_within_the_bounds_are_read_and_no_entry_is_kept(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(20):
            member = tarfile.TarInfo(f"{number}/" + "long/" * 100 + "x")
            member.pax_headers = {"comment": "x" * (MOST_HEADER - 2000)}
            archive.addfile(member)
    with opened_tar(tmp_path / "x.tar") as source:
        for number, member in enumerate(members(source)):
            assert member.name.startswith(f"{number}/long/") and len(vars(source)["members"]) <= 1
    assert number == 19


def test_one_long_example_among_many_short_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.data.tokens import as_bytes, padded
    from pipeline.formats.audio import padded_samples
    from pipeline.tasks.series_classification.preparation import padded as padded_series

    monkeypatch.setattr(padding, "MOST", 1 << 20)
    longest = 1 << 20
    for make in (
        lambda: padded([[1]] * 50 + [[1] * longest]),
        lambda: as_bytes(["x"] * 50 + ["x" * longest]),
        lambda: padded_samples([np.zeros(1, np.int16)] * 50 + [np.zeros(longest, np.int16)]),
        lambda: padded_series([np.zeros((1, 1))] * 50 + [np.zeros((1, longest))]),
    ):
        with pytest.raises(
            ValueError, match="the longest of 51 examples has 1,048,576 steps, the middle one 1; filled"
        ):
            make()
    check_padding(np.array([longest] * 50), 1000)  # what they hold is theirs
    monkeypatch.setattr(padding, "MOST", 1 << 30)
    assert padded([[1]] * 50 + [[1] * longest])[0].shape == (51, longest)


def test_a_sentence_of_a_request_has_a_longest_length() -> None:
    with pytest.raises(ValueError, match="row 1: found 100,001 characters; expected up to 100,000"):
        texts_of(pd.DataFrame({"text": ["fine", "x" * 100_001]}))
