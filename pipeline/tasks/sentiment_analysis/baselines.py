"""Logistic regression on the words of a sentence and their pairs of neighbours: the classical method for text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

PENALTIES = np.geomspace(0.25, 64, 9)  # the inverse strength of the penalty; the best one on validation is taken
WORDS = r"\w+|[^\w\s]"


def logistic_regression(texts: Mapping[str, list[str]], labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns (N, K) scores of validation and test, of words and pairs weighed by their rarity in train (TF-IDF)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORDS, sublinear_tf=True)
    rows = {"train": words.fit_transform(texts["train"])}
    rows |= {split: words.transform(texts[split]) for split in ("validation", "test")}
    models = [LogisticRegression(C=penalty, max_iter=1000).fit(rows["train"], labels["train"]) for penalty in PENALTIES]
    best = max(models, key=lambda model: float(model.score(rows["validation"], labels["validation"])))
    return {split: _scores(best.decision_function(rows[split])) for split in ("validation", "test")}


def _scores(decision: np.ndarray) -> np.ndarray:
    """Returns a score for every class, also of two, for which scikit-learn returns one number."""
    return decision if decision.ndim == 2 else np.stack([-decision, decision], axis=1) / 2
