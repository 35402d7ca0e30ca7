"""Identity of records: a digest of the content, by which a record keeps its split and is recognised."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.formats.records import Recordings


def digests_of(contents: Iterable[bytes]) -> np.ndarray:
    """Returns (N,) uint64, 64 bits of the BLAKE2b hash of every content."""
    digests = [int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") for content in contents]
    return np.array(digests, dtype=np.uint64)


def digests_of_pictures(files: Sequence[Path]) -> np.ndarray:
    """Returns (N,) uint64 of the pixels of picture files, upright and in their own size; ignores other contents."""
    from pipeline.formats.image import upright_image

    def content(file: Path) -> bytes:
        picture = upright_image(file)
        return repr(picture.size).encode() + picture.tobytes()

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets other threads run; map keeps the order
        return digests_of(pool.map(content, files))


def digests_of_files(files: Sequence[Path]) -> np.ndarray:
    """Returns (N,) uint64 of the files' bytes."""
    return digests_of(file.read_bytes() for file in files)


def digests_of_recordings(recordings: Recordings) -> np.ndarray:
    """Returns (N,) uint64 of the files' bytes, or of the samples where there is no file."""
    if recordings.files is None:
        return digests_of(sound.tobytes() for sound in recordings.samples)
    return digests_of_files(recordings.files)


def digests_of_texts(texts: Iterable[str]) -> np.ndarray:
    """Returns (N,) uint64 of texts, whatever their capitals, composition of accents and width of blanks."""

    return digests_of(normalised(text, lowercase=True).encode() for text in texts)


def digests_of_times(times: np.ndarray) -> np.ndarray:
    """Returns (T,) uint64 of datetime64 or seconds: a row is known by its time, also where values are corrected."""
    seconds = times.astype("datetime64[s]").astype(np.int64)
    return digests_of(int(second).to_bytes(8, "little", signed=True) for second in seconds)


def normalised(text: str, lowercase: bool) -> str:
    """Unifies compatible forms of letters (Unicode NFKC) and makes blanks single; lower case on request."""
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    return text.lower() if lowercase else text
