"""Requests by which a served recogniser is tried: recordings as they are, in other forms, short, long and broken."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.data.tables import Card, Table
from pipeline.formats.audio import written
from pipeline.tasks.probes import BATCHES, CLOSE, Probe
from pipeline.tasks.speech_recognition.metrics import answer_table, wav_files


def speech_probes(table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
    """Lists requests; `predictions` are the rows that were stored of all recordings of `table`."""
    rate = card["sample_rate"]
    files = wav_files(table, card, max(BATCHES))
    answers = answer_table(predictions[: len(files)])
    probes = []
    for size in BATCHES:
        rows = [row % len(files) for row in range(size)]
        answer = answers.iloc[rows].reset_index(drop=True)
        probes.append(Probe(f"{size} recordings", _request(*(files[row] for row in rows)), answer, absolute=CLOSE))
    first = table["samples"][0, : int(table["lengths"][0])].numpy()
    twice = written(np.stack([first, first], axis=1), rate)
    one = answers.iloc[:1].reset_index(drop=True)
    probes.append(Probe("a recording in stereo, both sides alike", _request(twice), one, absolute=CLOSE))
    variants = {
        "a recording at another rate": written(first, rate + rate // 4),
        "one sample": written(first[:1], rate),
        "half of a recording": written(first[: -(-len(first) // 2)], rate),
        "five recordings in a row": written(np.tile(first, 5), rate),
        "three seconds of silence": written(np.zeros(3 * rate, dtype=np.int16), rate),
    }
    probes += [Probe(f"{name} beside a whole one", _request(file, files[0])) for name, file in variants.items()]
    probes.append(Probe("no recording", _request(), answer_table(None)))
    probes.append(Probe("an empty file", _request(b""), error="not readable as a recording"))
    probes.append(Probe("a file cut short", _request(files[0][: len(files[0]) // 2]), error="the file is cut short"))
    return probes


def _request(*files: bytes) -> pd.DataFrame:
    return pd.DataFrame({"audio": pd.Series(list(files), dtype=object)})
