"""Recordings in files: any rate and number of channels, brought to one channel at one rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.formats.padding import check_padding

SUFFIXES = {".flac", ".ogg", ".wav"}
RATES = (1_000, 400_000)  # samples a second; what lies outside is a damaged header
LONGEST = 3_600  # seconds of one file: more is cut before it comes here, or meant to fill the memory
MOST_SAMPLES = 1 << 26  # of one file, those of all channels: 69 minutes at 16 kHz
PACKED = (
    16  # samples for each byte of a file that may be more: speech and music have fewer, packed silence has thousands
)
BLOCK = 1 << 18  # samples that are read at a time
FULL = 32_768  # the size of a sample that represents 1.0
LOUDEST = 10.0  # of samples that are floating-point numbers from -1 to 1; a little beyond is a loud recording
PIPED = 0x7FFF_0000  # sizes from here on are in the header of a WAV file that was written into a pipe, or 0
CHUNKS = 1_000  # pieces of a WAV file among which its samples are looked for
COUNTED = 64  # bytes of a header that some programs count among the samples
LONGEST_PAGE = 65_307  # bytes of an Ogg page
TABLE = 23  # where the sizes of its segments are, behind their number, counted from behind its first four bytes


@dataclass(frozen=True)
class Sound:
    """The samples of a file, and the form that they had there."""

    samples: np.ndarray  # (T,) int16, one channel, T at least 1
    rate: int  # samples a second in the file
    channels: int  # in the file


def read_sound(source: Path | IO[bytes], sample_rate: int) -> Sound:
    """Reads one recording at `sample_rate` samples a second; channels are mixed, other rates are resampled.

    16 bits at the same rate come through unchanged. Raises ValueError for a file that is damaged, cut short, empty or
    not a recording.
    """
    soundfile = _library()
    name = source if isinstance(source, Path) else "the recording"
    try:
        _check_whole(source)
        size = _size_of(source)
        with soundfile.SoundFile(source) as file:
            _check_header(file, size)
            values, highest = _one_channel(file)
            rate, channels = int(file.samplerate), int(file.channels)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError, MemoryError) as error:
        raise ValueError(
            f"{name}: not readable as a recording ({_reason(error)}); replace the file or remove it"
        ) from None
    if not math.isfinite(highest):
        raise ValueError(f"{name}: holds samples that are no finite numbers; replace the file or remove it")
    if highest > LOUDEST:
        raise ValueError(f"{name}: found floating-point samples up to {highest:g}; allowed: from -1 to 1; scale them")
    return Sound(_whole_numbers(_at_rate(values, rate, sample_rate)), rate, channels)


def written(samples: np.ndarray, sample_rate: int) -> bytes:
    """Encodes (T,) or (T, channels) int16 as a WAV file."""
    import io
    import wave

    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim > 1 else 1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    return stream.getvalue()


def padded_samples(sounds: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, S) int16 with zeros behind the shorter ones, and (N,) their lengths."""
    lengths = np.array([len(sound) for sound in sounds], dtype=np.int64)
    check_padding(lengths, 2)
    table = np.zeros((len(sounds), int(lengths.max(initial=1))), dtype=np.int16)
    for row, sound in zip(table, sounds, strict=True):
        row[: len(sound)] = sound
    return table, lengths


def _one_channel(file: Any) -> tuple[np.ndarray, float]:
    """Returns (T,) float64, the mean of all channels, and the largest sample of any; reads not all at once."""
    count, highest = int(file.frames), 0.0
    values = np.empty(count)
    start = 0
    while start < count:
        block = file.read(min(max(BLOCK // file.channels, 1), count - start), dtype="float64", always_2d=True)  # (t, C)
        if not len(block):  # the header has promised more
            break
        values[start : start + len(block)] = block.mean(axis=1)
        highest = float(np.maximum(highest, np.abs(block).max()))  # NaN stays NaN
        start += len(block)
    if not start:
        raise ValueError("it has no samples")
    return values[:start], highest


def _at_rate(values: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Resamples (T,) to another rate, by a filter that lets nothing through that the lower rate cannot hold."""
    from scipy.signal import resample_poly  # in any case: what is loaded for an answer is pinned with a served model

    if rate == wanted:
        return values
    shared = math.gcd(rate, wanted)
    resampled: np.ndarray = resample_poly(values, wanted // shared, rate // shared)
    return resampled


def _whole_numbers(values: np.ndarray) -> np.ndarray:
    scaled = values * FULL
    np.clip(np.round(scaled, out=scaled), -FULL, FULL - 1, out=scaled)
    return scaled.astype(np.int16)


def _size_of(source: Path | IO[bytes]) -> int:
    if isinstance(source, Path):
        return source.stat().st_size
    size = source.seek(0, 2)
    source.seek(0)
    return size


def _check_header(file: Any, size: int) -> None:
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise ValueError(f"found {file.samplerate} samples a second; allowed: {RATES[0]} to {RATES[1]}")
    if not file.frames:
        raise ValueError("it has no samples")
    if file.frames > LONGEST * file.samplerate:
        raise ValueError(f"it lasts {file.frames / file.samplerate:,.0f} s; allowed: up to {LONGEST} s")
    if file.frames * file.channels > max(MOST_SAMPLES, PACKED * size):
        contents = f"{file.frames:,} samples in each of {file.channels} channels"
        raise ValueError(
            f"it has {contents}; allowed: up to {MOST_SAMPLES:,} in all, or {PACKED} for each byte of the file; cut it "
            "into pieces"
        )


def _check_whole(source: Path | IO[bytes]) -> None:
    """Raises ValueError for a WAV or Ogg file without its end; the library would read what is left."""
    if isinstance(source, Path):
        with source.open("rb") as stream:
            _check_whole(stream)
        return
    head, length = source.read(12), source.seek(0, 2)
    if not length:
        raise ValueError("the file is empty")
    if head[:4] == b"OggS" and not _ends_with_a_page(source, length):
        raise ValueError("the file is cut short in the middle of a page")
    if head[:4] == b"RIFF" and length > len(head):
        stated, samples = _end(8, head[4:8]), _end_of_samples(source)
        if stated > length + 1 or samples > length + COUNTED:  # 1: a byte that makes the size even
            raise ValueError(f"the file is cut short: its header says {max(stated, samples)} bytes, {length} are there")
    source.seek(0)


def _ends_with_a_page(source: IO[bytes], length: int) -> bool:
    source.seek(max(length - LONGEST_PAGE, 0))
    page = source.read().rpartition(b"OggS")[2]
    if len(page) < TABLE:
        return False
    count = page[TABLE - 1]
    return len(page) >= TABLE + count + sum(page[TABLE : TABLE + count])


def _end_of_samples(source: IO[bytes]) -> int:
    """Counts the bytes of a WAV file up to the end of its samples, by the header of these."""
    place = 12
    for _ in range(CHUNKS):
        source.seek(place)
        kind, size = source.read(4), source.read(4)
        if kind == b"data" or len(size) < 4:
            return _end(place + 8, size) if kind == b"data" else 0
        place += 8 + int.from_bytes(size, "little")
        place += place % 2
    return 0


def _end(start: int, written: bytes) -> int:
    """Returns where a piece of a WAV file ends; 0 where nobody knew when it was written."""
    size = int.from_bytes(written, "little")
    return 0 if size == 0 or size >= PIPED else start + size


def _reason(error: Exception) -> str:
    """Returns the message of the library, without the object that it read from."""
    text = getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".") or type(error).__name__


def _library() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # the second where the library that it calls is missing
        raise ValueError("recordings are read by the extra `speech`: pip install -e '.[speech]'") from None
    return soundfile
