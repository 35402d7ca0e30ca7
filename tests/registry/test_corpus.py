"""Scores of all examples together: both models are resampled by the same draws, from evaluation to gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.intervals import corpus_score, resampled
from pipeline.evaluation.statistics import CorpusScore, paired_difference
from pipeline.params import Evaluation
from pipeline.registry.gate import decide
from pipeline.stages import evaluate
from pipeline.tasks import load_task
from pipeline.tasks.image_classification.task import ImageClassification

UNUSED: dict[str, Any] = {"dependent": False, "block": None, "resamples": 1, "seed": 0}


def error_rate(errors: np.ndarray, words: np.ndarray, block: int | None = None, seed: int = 0) -> CorpusScore:
    """Wrong words by all words: long sentences count more than short ones, so that it is no mean of sentences."""
    drawn = resampled(
        lambda weights: {"wer": weights @ errors / (weights @ words)},
        len(words), block=block, resamples=1000, seed=seed,
    )  # fmt: skip
    return corpus_score(drawn["wer"], len(words), dependent=block is not None, block=block)


def sentences(generator: np.random.Generator, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of sentences and the chance of a wrong word in each."""
    return generator.integers(1, 40, count), generator.beta(1, 9, count)


def test_score_is_that_of_the_whole_corpus_and_not_the_mean_of_sentences() -> None:
    errors, words = np.array([0.0, 10.0]), np.array([1.0, 10.0])
    found = error_rate(errors, words)
    assert found.value == pytest.approx(10 / 11)
    assert set(np.round(found.resampled, 6)) == {0.0, round(10 / 11, 6), 1.0}, "both once, or one of them twice"


def test_difference_is_paired_and_far_surer_than_the_scores() -> None:
    generator = np.random.default_rng(0)
    words, hard = sentences(generator)
    errors = generator.binomial(words, hard)
    fewer = generator.binomial(errors, 0.95)
    worse, better = error_rate(errors, words), error_rate(fewer, words)
    found = paired_difference(worse, better, confidence=0.95, **UNUSED)
    assert found.difference == pytest.approx((errors - fewer).sum() / words.sum())
    assert 0 < found.low < found.difference < found.high
    assert found.p_value < 0.001
    assert found.high - found.low < 0.3 * np.ptp(np.quantile(worse.resampled, [0.025, 0.975]))


def test_other_draws_are_no_pairs() -> None:
    generator = np.random.default_rng(1)
    words, hard = sentences(generator)
    errors = generator.binomial(words, hard)
    with pytest.raises(ValueError, match="need the same resamples of the same examples"):
        paired_difference(error_rate(errors, words), error_rate(errors[:99], words[:99]), confidence=0.95, **UNUSED)


def test_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not a finite number on every resample"):
        corpus_score(np.array([0.1, np.nan, 0.2]), 10, dependent=False, block=None)


def test_overlapping_examples_without_a_block_are_refused() -> None:
    """Drawn one by one they would make every interval too narrow."""
    with pytest.raises(ValueError, match="needs the task's `block`"):
        corpus_score(np.array([0.1, 0.1, 0.2]), 10, dependent=True, block=None)


def test_neighbours_that_share_their_errors_widen_the_interval() -> None:
    generator = np.random.default_rng(2)
    words = np.full(300, 10)
    a, b = np.repeat(generator.binomial(10, 0.2, (2, 30)), 10, axis=1)
    alone, together = (
        paired_difference(error_rate(a, words, block), error_rate(b, words, block), confidence=0.95, **UNUSED)
        for block in (None, 20)
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert together.method == "moments of the paired bootstrap of the corpus score, in blocks"


def test_gate_promotes_equal_models_seldom_and_better_ones_often() -> None:
    generator = np.random.default_rng(3)
    promoted = {1.0: 0, 0.8: 0}
    for _ in range(100):
        words, hard = sentences(generator)
        champion = error_rate(generator.binomial(words, hard), words)
        for scale in promoted:
            challenger = error_rate(generator.binomial(words, hard * scale), words)
            promoted[scale] += decide(
                challenger, champion, maximize=False, baseline_scores=None, confidence=0.95, margin=0.0, **UNUSED
            ).promoted
    assert promoted[1.0] <= 7, "2.5 % are expected at 95 % confidence"
    assert promoted[0.8] >= 90


@pytest.fixture
def macro_f1(monkeypatch: pytest.MonkeyPatch) -> ImageClassification:
    """A task whose score is the mean F1 of the classes."""
    monkeypatch.setattr(ImageClassification, "score", "macro_f1")
    monkeypatch.setattr(ImageClassification, "corpus", True)
    task = load_task("image_classification", {})
    assert isinstance(task, ImageClassification)
    return task


CARD = {"classes": ["a", "b", "c"]}


def predictions(right: np.ndarray) -> pd.DataFrame:
    labels = np.arange(len(right)) % 3
    predicted = np.where(right, labels, (labels + 1) % 3)
    return pd.DataFrame({"example": np.arange(len(right)), "label": labels, "predicted": predicted, "confidence": 0.9})


def test_evaluation_compares_corpus_scores_by_the_same_draws(macro_f1: ImageClassification) -> None:
    draws = np.random.default_rng(4).random(240)
    found = {name: {"test": predictions(draws < share)} for name, share in (("cnn", 0.9), ("rnn", 0.8), ("svc", 0.8))}
    evaluation = Evaluation(resamples=500, confidence=0.95)
    differences = evaluate._differences(macro_f1, found, CARD, ["cnn", "rnn"], evaluation, seed=0)
    both = differences["cnn − rnn"]
    scores = {name: macro_f1.metrics(table["test"], CARD)["macro_f1"] for name, table in found.items()}
    assert both["difference"] == pytest.approx(scores["cnn"] - scores["rnn"])
    assert both["low"] > 0 and both["method"] == "moments of the paired bootstrap of the corpus score"
    same = differences["rnn − svc"]
    assert (same["difference"], same["low"], same["high"], same["p_value"]) == (0, 0, 0, 1), "the same answers"
    measured = evaluate._measured(macro_f1, {**found["cnn"], "validation": found["cnn"]["test"]}, CARD, evaluation, 0)
    entry = measured["test"]["macro_f1"]
    assert entry["value"] == pytest.approx(scores["cnn"])
    assert entry["low"] < entry["value"] < entry["high"]
