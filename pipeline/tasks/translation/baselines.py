"""Word-by-word translation with a dictionary learned from pairs of sentences (IBM model 1, Brown et al. 1993)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.data.tables import Table
from pipeline.data.tokens import as_texts
from pipeline.tasks.translation.metrics import prediction_table

ROUNDS = 6  # of expectation and maximisation; more changes little
WORDS = re.compile(r"\w+|[^\w\s]")
NOTHING = ""  # is in every source: for target words that nothing in it explains


class Dictionary:
    """For every word of the source language the likeliest one of the target language."""

    def __init__(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        first = [[NOTHING, *WORDS.findall(text)] for text in sources]
        second = [WORDS.findall(text) for text in targets]
        self.words = {word: index for index, word in enumerate(dict.fromkeys(word for row in first for word in row))}
        self.others = list(dict.fromkeys(word for row in second for word in row))
        numbers = {word: index for index, word in enumerate(self.others)}
        places = ((one, other) for one, row in zip(first, second, strict=True) for other in row)
        pairs = [(self.words[word], numbers[other], place) for place, (one, other) in enumerate(places) for word in one]
        self.best = _likeliest(np.array(pairs, dtype=np.int64).reshape(-1, 3), len(self.words), len(self.others))

    def translate(self, text: str) -> str:
        """Translates every word for itself, in the order of the source; a word that was never seen stays."""
        translated = [
            self.others[self.best[self.words[word]]] if word in self.words else word for word in WORDS.findall(text)
        ]
        return re.sub(r" (?=[.,;:!?])", "", " ".join(translated))


def word_by_word(tables: Mapping[str, Table]) -> dict[str, pd.DataFrame]:
    """Builds prediction tables of validation and test with the dictionary of train."""
    texts = {
        split: (as_texts(table["text"].numpy()), as_texts(table["reference"].numpy()))
        for split, table in tables.items()
    }
    words = Dictionary(*texts["train"])
    translated = {split: [words.translate(text) for text in texts[split][0]] for split in ("validation", "test")}
    return {split: prediction_table(*texts[split], translated[split]) for split in translated}


def _likeliest(pairs: np.ndarray, words: int, targets: int) -> np.ndarray:
    """Returns (words,) the target word with the highest probability of each source word.

    pairs: (P, 3) source word, target word, and which of all target words in their places it is.
    """
    entries, entry = np.unique(pairs[:, 0] * max(targets, 1) + pairs[:, 1], return_inverse=True)
    word, other = entries // max(targets, 1), entries % max(targets, 1)
    chance = np.ones(len(entries))
    for _ in range(ROUNDS):
        share = chance[entry] / np.bincount(pairs[:, 2], chance[entry])[pairs[:, 2]]
        count = np.bincount(entry, share, len(entries))
        chance = count / np.bincount(word, count, words)[word]
    order = np.lexsort((other, -chance, word))  # of equal ones the first
    _, first = np.unique(word[order], return_index=True)
    best: np.ndarray = other[order][first]
    return best
