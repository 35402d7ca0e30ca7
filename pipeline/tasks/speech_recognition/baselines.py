"""The baseline of speech recognition: cepstra of equal stretches, and logistic regression.

A recording is cut into as many equal parts as its length lets expect words, and each part is one word of train. Where
every recording of train is one word, this is the usual classifier of single words.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from pipeline.data.tables import Card, Table
from pipeline.data.tokens import as_texts
from pipeline.tasks.speech_recognition.metrics import compared
from pipeline.tasks.speech_recognition.network import FULL, LogMel

CEPSTRA, STRETCHES = 13, 8  # numbers of a frame, and stretches of a word over which they are averaged


def cepstral_predictions(tables: Mapping[str, Table], card: Card, seed: int, ear: LogMel) -> dict[str, pd.DataFrame]:
    """Builds prediction tables of validation and test."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    texts = {split: [text.split() for text in as_texts(table["reference"].numpy())] for split, table in tables.items()}
    cepstra = {split: cepstra_of(table, ear) for split, table in tables.items()}
    spoken = [word for words in texts["train"] for word in words]
    counts = [len(words) for words in texts["train"]]
    parts = [part for frames, count in zip(cepstra["train"], counts, strict=True) for part in features(frames, count)]
    model = None
    if len(set(spoken)) > 1:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))
        model.fit(np.stack(parts), spoken)
    usual = sum(map(len, cepstra["train"])) / len(spoken)  # frames of a word
    most, fewest = max(counts), min(counts)
    predictions = {}
    for split in ("validation", "test"):
        written, sure = [], []
        for frames in cepstra[split]:
            count = min(max(round(len(frames) / usual), fewest), most)
            rows = np.stack(features(frames, count))
            chances = model.predict_proba(rows) if model is not None else np.ones((count, 1))
            classes = model.classes_ if model is not None else np.array(spoken[:1])
            written.append(" ".join(classes[chances.argmax(1)].tolist()))
            sure.append(float(np.exp(np.log(chances.max(1)).mean())))
        predictions[split] = compared(written, sure, tables[split], card)
    return predictions


def cepstra_of(table: Table, ear: LogMel) -> list[np.ndarray]:
    """Computes (T, 13) cepstra of recordings: first coefficients of the cosine transform of their log-mel features."""
    from scipy.fft import dct

    cepstra = []
    with torch.inference_mode():
        for samples, length in zip(table["samples"], table["lengths"].tolist(), strict=True):
            heard = ear(samples[None, :length] / FULL)[0].numpy().T  # (T, bands)
            cepstra.append(dct(heard.astype(np.float64), norm="ortho", axis=1)[:, :CEPSTRA])
    return cepstra


def features(frames: np.ndarray, count: int) -> list[np.ndarray]:
    """Splits (T, 13) into `count` equal parts, each as (8 · 13,) means over its stretches."""
    edges = np.linspace(0, len(frames), count * STRETCHES + 1)
    starts = np.minimum(edges[:-1].astype(int), len(frames) - 1)
    ends = np.maximum(np.ceil(edges[1:]).astype(int), starts + 1)
    means = np.stack([frames[start:end].mean(0) for start, end in zip(starts, ends, strict=True)])
    return list(means.reshape(count, -1))
