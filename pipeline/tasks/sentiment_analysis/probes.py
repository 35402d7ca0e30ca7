"""Requests that try a served model of sentences, see ``probes``."""

from __future__ import annotations

import pandas as pd

from pipeline.data.tables import Card
from pipeline.tasks.classification import class_answer
from pipeline.tasks.probes import BATCHES, CLOSE, Probe


def sentence_probes(texts: list[str], predictions: pd.DataFrame, card: Card) -> list[Probe]:
    """Lists requests: `texts` are the first test examples, `predictions` the rows that were stored of all of them."""
    answers, probes = class_answer(predictions[: len(texts)], card), []
    for size in BATCHES:
        rows = [row % len(texts) for row in range(size)]
        answer = answers.iloc[rows].reset_index(drop=True)
        probes.append(Probe(f"{size} sentences", _texts(*(texts[row] for row in rows)), answer, absolute=CLOSE))
    probes.append(Probe("blanks around a sentence", _texts(f"  {texts[0]}\t\n"), answers.iloc[:1], absolute=CLOSE))
    variants = {
        "a word beside a long text": (texts[0].split()[0], " ".join(texts) * 20),
        "signs of no alphabet": ("☃ ☃", "🙂"),
    }
    probes += [Probe(name, _texts(*sentences)) for name, sentences in variants.items()]
    probes.append(Probe("no sentence", _texts(), answers.iloc[:0]))
    probes.append(Probe("an empty sentence", _texts(texts[0], " "), error="expected a sentence"))
    return probes


def _texts(*texts: str) -> pd.DataFrame:
    return pd.DataFrame({"text": pd.Series(list(texts), dtype=object)})
