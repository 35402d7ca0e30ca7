"""Connected speech made of recordings of single words: each string of them is of one speaker."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.formats.contents import digests_of_recordings
from pipeline.formats.records import Recordings

MOST_WORDS, LONGEST_GAP = 100, 10.0  # of a string, and seconds between two words of it


def joined(single: Recordings, words: Sequence[int], gap: Sequence[float], passes: int) -> Recordings:
    """Joins `words` [fewest, most] recordings to strings with `gap` [shortest, longest] seconds of silence between.

    Every recording is in `passes` strings, each time next to others; a string at the end of a pass takes what is
    left and may be shorter. The draw depends on the names of the recordings alone, so that parts of a data set are
    joined in their own ways. A string is known by the digests of its recordings, `sources`: whoever knows one of
    them knows a part of it. Raises ValueError for options out of range, and where no speakers are known.
    """
    _check(single, words, gap, passes)
    assert single.speakers is not None
    draw = np.random.default_rng(zlib.crc32("\n".join(single.names).encode()))
    by_speaker: dict[str, list[int]] = {}
    for row, speaker in enumerate(single.speakers):
        by_speaker.setdefault(speaker, []).append(row)
    strings = [
        (speaker, string)
        for _ in range(passes)
        for speaker, rows in by_speaker.items()
        for string in _cut(draw.permutation(rows), words, draw)
    ]
    return Recordings(
        samples=[
            _connected([single.samples[row] for row in rows], single.sample_rate, gap, draw) for _, rows in strings
        ],
        texts=[" ".join(single.texts[row] for row in rows) for _, rows in strings],
        speakers=[speaker for speaker, _ in strings],
        names=["+".join(single.names[row] for row in rows) for _, rows in strings],
        sample_rate=single.sample_rate,
        warnings=single.warnings,
        sources=_sources(digests_of_recordings(single), [rows for _, rows in strings]),
    )


def _sources(digests: np.ndarray, strings: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns (N, S) digests of the recordings of every string; shorter ones repeat their first."""
    longest = max(map(len, strings), default=0)
    filled = [[*rows, *[rows[0]] * (longest - len(rows))] for rows in strings]
    return digests[np.array(filled, dtype=np.int64).reshape(len(strings), longest)]


def _cut(rows: np.ndarray, words: Sequence[int], draw: np.random.Generator) -> Iterator[list[int]]:
    """Cuts rows into strings of random lengths."""
    start = 0
    while start < len(rows):
        count = int(draw.integers(words[0], words[1] + 1))
        yield rows[start : start + count].tolist()
        start += count


def _connected(
    sounds: Sequence[np.ndarray], sample_rate: int, gap: Sequence[float], draw: np.random.Generator
) -> np.ndarray:
    pieces = [sounds[0]]
    for sound in sounds[1:]:
        pieces += [np.zeros(round(draw.uniform(gap[0], gap[1]) * sample_rate), dtype=np.int16), sound]
    return np.concatenate(pieces)


def _check(single: Recordings, words: Sequence[int], gap: Sequence[float], passes: int) -> None:
    if len(words) != 2 or not 1 <= words[0] <= words[1] <= MOST_WORDS:
        raise ValueError(f"data.options.words_joined: found {words!r}; allowed: [fewest, most], 1 to {MOST_WORDS}")
    if len(gap) != 2 or not 0 <= gap[0] <= gap[1] <= LONGEST_GAP:
        raise ValueError(
            f"data.options.gap: found {gap!r}; allowed: [shortest, longest] in seconds, 0 to {LONGEST_GAP}"
        )
    if not 1 <= passes <= 1000:
        raise ValueError(f"data.options.passes: found {passes!r}; allowed: 1 to 1000")
    if single.speakers is None:
        raise ValueError("data.options.pattern: names no {speaker}; recordings of one speaker only can be joined")
