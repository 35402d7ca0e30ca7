"""Recordings with transcripts: records of all parts → splits → characters or words of train → tables and card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.classes import duplicates
from pipeline.data.splits import BY_CONTENT, Shares, described, in_order, shares_of_pool, split_rows
from pipeline.data.tables import SPLITS, Prepared, schema
from pipeline.data.tokens import as_bytes, padded
from pipeline.formats.audio import FULL, padded_samples, written
from pipeline.formats.contents import digests_of_recordings, normalised
from pipeline.formats.records import Recordings

MOST_TOKENS = 5_000
STILL = 1e-2  # the least deviation of a band: one that is silent throughout is shifted, not scaled

Ear = Any  # tensors of (1, T) samples from -1 to 1 → (1, bands, frames); `frames` of a number of samples


def prepare_recordings(
    parts: Mapping[str, Recordings], split: Shares, seed: int, ears: Callable[[int], Ear], *, units: str,
    lowercase: bool, longest: float,
) -> Prepared:  # fmt: skip
    """Splits the recordings, by content where the parts are not published, and describes them.

    Tables: samples (N, S) int16 with zeros behind the lengths (N,); targets (N, L), the places of the `units`
    (characters or words) in the card's alphabet from 1 on, with zeros behind the target_lengths (N,); reference (N, R)
    uint8, the transcripts in UTF-8; rows (N,). Recordings of train of more than `longest` seconds are left out and
    counted; validation and test stay whole. `ears` makes for a sample rate what computes the bands; their means and
    deviations over all frames of train go into the card. Raises ValueError if the parts do not fit together, share
    recordings that were joined, or have an empty transcript.
    """
    shares, order = shares_of_pool(parts, split), in_order(parts)
    _check_parts({name: parts[name] for name in order})
    records = [parts[name] for name in order]
    rate, ear = records[0].sample_rate, ears(records[0].sample_rate)
    samples = list(chain.from_iterable(part.samples for part in records))
    texts = [normalised(text, lowercase) for part in records for text in part.texts]
    sizes = {name: len(part.texts) for name, part in zip(order, records, strict=True)}
    contents = _contents(records, shares)
    _check_apart(contents, rows := split_rows(sizes, shares, seed, contents, classes=["recordings"]))
    drawn, rows["train"] = len(rows["train"]), _short(rows["train"], samples, longest, rate)
    left_out = drawn - len(rows["train"])
    spelt = [text.split() if units == "words" else list(text) for text in texts]
    alphabet = _alphabet([spelt[row] for row in rows["train"]], units)
    tables = {part: _table(samples, texts, spelt, rows[part], alphabet) for part in SPLITS}
    speakers = _speakers(records, rows)
    card: dict[str, Any] = {
        "shape": "sequence",
        "schema": schema(tables),
        "counts": {part: len(rows[part]) for part in SPLITS},
        "split": described(shares, order, "content", BY_CONTENT, seed),
        "units": units,
        "alphabet": alphabet,
        "lowercase": lowercase,
        "sample_rate": rate,
        "seconds": {part: _seconds(table["lengths"], rate) for part, table in tables.items()},
        **_bands(tables["train"], ear),
        "frames_for_a_token": _frames_for_a_token(tables["train"], ear),
        "words": {part: sum(len(texts[row].split()) for row in rows[part]) for part in SPLITS},
        "speakers": speakers,
        "missing": {},
        "unit": "recordings",
        "facts": _facts(tables, speakers, rate, alphabet, units),
    }
    longer = [f"{left_out} recordings of train of more than {longest:g} s are left out"] if left_out else []
    data_warnings = [*_doubled(samples, rows), *_shared_speakers(speakers), *_strangers(spelt, rows, alphabet, units)]
    card["warnings"] = [*(warning for part in records for warning in part.warnings), *longer, *data_warnings]
    return Prepared(tables, card, _sent(records, rows["test"]), {part: contents[rows[part]] for part in SPLITS})


def _contents(records: list[Recordings], shares: Mapping[str, float]) -> np.ndarray:
    """Returns (N,) digests of the recordings, or (N, S) of those that each was joined of.

    Raises ValueError where joined recordings would be split by shares: one recording more makes other strings.
    """
    if any(part.sources is None for part in records):
        return np.concatenate([digests_of_recordings(part) for part in records])
    if shares:
        raise ValueError(
            f"split: found shares for {' and '.join(shares)} of joined recordings, whose strings are others with every "
            "recording that is added; name these parts under data.parts, by `numbers` or `speakers`"
        )
    made_of = [part.sources for part in records if part.sources is not None]
    longest = max(digests.shape[1] for digests in made_of)
    return np.concatenate(
        [np.pad(digests, ((0, 0), (0, longest - digests.shape[1])), mode="edge") for digests in made_of]
    )


def _sent(records: list[Recordings], rows: np.ndarray) -> pd.DataFrame:
    """Returns what a user would send of these rows of all records: the files, or WAV files of what was joined."""
    every = [(part, own) for part in records for own in range(len(part.samples))]
    chosen = [every[row] for row in rows]
    files = [
        written(part.samples[own], part.sample_rate) if part.files is None else part.files[own].read_bytes()
        for part, own in chosen
    ]
    return pd.DataFrame({"audio": pd.Series(files, dtype=object)})


def _doubled(samples: list[np.ndarray], rows: Mapping[str, np.ndarray]) -> Iterator[str]:
    return duplicates(_hashes(samples, rows), "recordings", "sample")


def _check_parts(parts: Mapping[str, Recordings]) -> None:
    for name, part in parts.items():
        if not isinstance(part, Recordings):
            kind = type(part).__name__
            raise ValueError(f"part {name} holds {kind}; choose a data.format that reads recordings")
        for file, text in zip(part.names, part.texts, strict=True):
            if not text.strip():
                raise ValueError(
                    f"{file} of part {name} has an empty transcript; write down what is said, or remove it"
                )
    rates = {name: part.sample_rate for name, part in parts.items()}
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name} has {rate}" for name, rate in rates.items())
        raise ValueError(f"recordings of all parts need one sample_rate: {listed}; write it into options")


def _check_apart(contents: np.ndarray, rows: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError where joined recordings of two splits share one that they are made of."""
    if contents.ndim == 1:
        return
    for earlier, later in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = np.intersect1d(contents[rows[earlier]], contents[rows[later]])
        if len(shared):
            raise ValueError(
                f"{len(shared)} recordings stand in strings of {earlier} and of {later}; "
                "name parts whose recordings differ, by `numbers` or `speakers`"
            )


def _short(rows: np.ndarray, samples: list[np.ndarray], longest: float, rate: int) -> np.ndarray:
    """Returns those of the rows whose recordings last no longer than that, in seconds."""
    kept = [row for row in rows if len(samples[row]) <= longest * rate]
    if not kept:
        raise ValueError(f"settings.longest: found {longest}; every recording of train lasts longer, in seconds")
    return np.array(kept, dtype=np.int64)


def _alphabet(spelt: list[list[str]], units: str) -> list[str]:
    tokens = sorted(set(chain.from_iterable(spelt)))
    if len(tokens) > MOST_TOKENS:
        hint = "; take characters" if units == "words" else ""
        reason = f"the transcripts of train have {len(tokens)} different {units}"
        raise ValueError(f"settings.units: {reason}; allowed: up to {MOST_TOKENS}{hint}")
    return tokens


def _table(
    samples: list[np.ndarray], texts: list[str], spelt: list[list[str]], rows: np.ndarray, alphabet: list[str]
) -> dict[str, np.ndarray]:
    place = {token: number for number, token in enumerate(alphabet, start=1)}
    known = [[place[token] for token in spelt[row] if token in place] for row in rows]
    targets, target_lengths = padded(known, np.int64)
    sounds, lengths = padded_samples([samples[row] for row in rows])
    return {
        "samples": sounds, "lengths": lengths, "targets": targets, "target_lengths": target_lengths,
        "reference": as_bytes([texts[row] for row in rows]), "rows": np.asarray(rows, dtype=np.int64),
    }  # fmt: skip


def _bands(train: Mapping[str, np.ndarray], ear: Ear) -> dict[str, list[float]]:
    """Returns mean and deviation of each band, rounded so far that they are the same on every machine."""
    import torch

    sounds = zip(train["samples"], train["lengths"], strict=True)
    heard = [ear(torch.from_numpy(row[:length] / np.float32(FULL))[None])[0].double() for row, length in sounds]
    frames = torch.cat(heard, dim=1)  # (bands, all frames)
    deviation = frames.std(1, correction=0).clamp_min(STILL)
    return {name: [round(value, 4) for value in values.tolist()]
            for name, values in (("mean", frames.mean(1)), ("deviation", deviation))}  # fmt: skip


def _frames_for_a_token(train: Mapping[str, np.ndarray], ear: Any) -> int:
    """Returns how many frames may make one token so that all but a hundredth of the recordings of train have enough.

    A character needs a token, and two of the same kind need a blank one between them.
    """
    targets = train["targets"]
    twins = (targets[:, 1:] == targets[:, :-1]) & (targets[:, 1:] > 0)
    needed = train["target_lengths"] + twins.sum(1)
    return max(int(np.quantile(ear.frames(train["lengths"]) / np.maximum(needed, 1), 0.01)), 1)


def _seconds(lengths: np.ndarray, rate: int) -> dict[str, float]:
    figures = {"shortest": lengths.min(), "longest": lengths.max(), "total": lengths.sum()}
    return {name: round(float(value) / rate, 3) for name, value in figures.items()}


def _hashes(samples: list[np.ndarray], rows: Mapping[str, np.ndarray]) -> dict[str, list[bytes]]:
    return {
        part: [hashlib.blake2b(samples[row].tobytes(), digest_size=16).digest() for row in numbers]
        for part, numbers in rows.items()
    }


def _facts(
    tables: Mapping[str, Mapping[str, np.ndarray]], speakers: Mapping[str, Mapping[str, int]], rate: int,
    alphabet: list[str], units: str,
) -> dict[str, str]:  # fmt: skip
    """Lists the facts about the data that the report shows."""
    lengths = {part: table["lengths"] / rate for part, table in tables.items()}
    durations = {
        f"Recordings of {part}": f"{seconds.sum() / 60:.1f} minutes, {seconds.min():.2f} to {seconds.max():.2f} s each"
        for part, seconds in lengths.items()
    }
    voices = {f"Speakers of {part}": ", ".join(list(names)[:8]) for part, names in speakers.items()}
    return {"Samples a second": str(rate), **durations, **voices, f"Different {units}": str(len(alphabet))}


def _speakers(records: list[Recordings], rows: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """Counts the recordings of each speaker in every split; returns nothing where they are not all known."""
    if any(part.speakers is None for part in records):
        return {}
    names = np.array([name for part in records for name in part.speakers or ()], dtype=object)
    counted = {part: np.unique(names[numbers].astype(str), return_counts=True) for part, numbers in rows.items()}
    return {part: dict(zip(known.tolist(), counts.tolist(), strict=True)) for part, (known, counts) in counted.items()}


def _shared_speakers(speakers: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    shared = sorted(set(speakers.get("train", ())) & set(speakers.get("test", ())))
    if shared:
        all_of = "all" if len(shared) == len(speakers["test"]) else str(len(shared))
        yield f"{all_of} speakers of test speak in train, too: the figures say nothing about other speakers"


def _strangers(
    spelt: list[list[str]], rows: Mapping[str, np.ndarray], alphabet: list[str], units: str
) -> Iterator[str]:
    for part in SPLITS[1:]:
        strange = sorted(set(chain.from_iterable(spelt[row] for row in rows[part])) - set(alphabet))
        if strange:
            yield f"{part} has {len(strange)} {units} that train lacks ({' '.join(strange[:10])}); each is an error"
