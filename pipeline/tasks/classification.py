"""The parts that all tasks with one label per example share: prediction tables, figures, calibration and answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.data.tables import Card

CALIBRATION_BINS = 15
ANSWER = ("series", "class", "confidence", "file", "picture", "text")  # columns of answers that are not probabilities


def prediction_table(probabilities: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Builds one row per example: label, predicted class, its confidence, and (N, K) probabilities as columns."""
    table = pd.DataFrame({"example": np.arange(len(labels)), "label": labels, "predicted": probabilities.argmax(1)})
    table["confidence"] = probabilities.max(1)
    columns = {f"probability_{index}": probabilities[:, index] for index in range(probabilities.shape[1])}
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def resampled_metrics(predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Computes all figures of a prediction table, (R,) values each, if every example counted `weights` (R, N) times."""
    truth, predicted, confidence = (predictions[name].to_numpy() for name in ("label", "predicted", "confidence"))
    classes = np.arange(len(card["classes"]))
    is_truth, is_predicted = truth[:, None] == classes, predicted[:, None] == classes  # (N, K)
    hits = weights @ (is_truth & is_predicted)  # (R, K)
    truths, positives = weights @ is_truth, weights @ is_predicted  # (R, K)
    right = (truth == predicted).astype(np.float64)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = weights @ ((right - confidence)[:, None] * (bins[:, None] == np.arange(CALIBRATION_BINS)))
    count = weights.sum(1)
    return {
        "accuracy": weights @ right / count,
        "macro_f1": _mean_where(2 * hits, truths + positives, truths > 0),
        "calibration_error": np.abs(gaps).sum(1) / count,  # Guo et al. 2017
        # of the classes that were drawn
        "worst_class_recall": np.where(truths > 0, hits / np.maximum(truths, 1e-12), np.inf).min(1),
    }


def worst_class_counts(predictions: pd.DataFrame) -> tuple[int, int]:
    """Counts (right answers, test examples) of the class of lowest recall; of equals the one with fewest examples."""
    right = predictions["label"] == predictions["predicted"]
    counted = right.groupby(predictions["label"]).agg(["sum", "count"])
    hits, count = min(zip(counted["sum"], counted["count"], strict=True), key=lambda pair: (pair[0] / pair[1], pair[1]))
    return int(hits), int(count)


def example_scores(predictions: pd.DataFrame) -> np.ndarray:
    """Returns (N,) 1 where the label was predicted, else 0."""
    return (predictions["label"] == predictions["predicted"]).to_numpy(np.float64)


def calibrated(scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    """Builds prediction tables of validation and test for (N, K) scores whose largest one names the class.

    Probabilities are the softmax of the scores, at the temperature that suits validation best.
    """
    divisor = temperature(scores["validation"], labels["validation"])
    return {
        split: prediction_table(softmax(scores[split] / divisor), labels[split]) for split in ("validation", "test")
    }


def class_answer(predictions: pd.DataFrame, card: Card) -> pd.DataFrame:
    """Builds a served classifier's answer: the class, its confidence, and every class's probability by its name."""
    classes = [str(name) for name in card["classes"]]
    answer = pd.DataFrame({"class": [classes[index] for index in predictions["predicted"]]})
    answer["confidence"] = predictions["confidence"].to_numpy()
    for index, name in enumerate(probability_columns(card)):
        answer[name] = predictions[f"probability_{index}"].to_numpy()
    return answer


def predictions_of(responses: pd.DataFrame, labels: np.ndarray, card: Card) -> pd.DataFrame:
    """Builds the prediction table of a served model's answers, with the labels (N,) of the classes of this card."""
    if len(responses) != len(labels):
        raise ValueError(f"found {len(responses)} answers to {len(labels)} examples")
    table = prediction_table(responses[probability_columns(card)].to_numpy(np.float64), labels)
    place = {str(name): index for index, name in enumerate(card["classes"])}
    table["predicted"] = [place[name] for name in responses["class"]]
    table["confidence"] = responses["confidence"].to_numpy(np.float64)
    return table


def probability_columns(card: Card) -> list[str]:
    """Returns the columns of the probabilities in an answer: the names of the classes, unless they are taken."""
    return [f"probability of {name}" if name in ANSWER else str(name) for name in card["classes"]]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Turns (N, K) scores into (N, K) probabilities."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    result: np.ndarray = powers / powers.sum(1, keepdims=True)
    return result


def temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the divisor of the scores that makes them most likely on validation (Guo et al. 2017)."""
    candidates = np.geomspace(0.01, 10, 61)
    losses = [-np.log(softmax(scores / value)[np.arange(len(labels)), labels] + 1e-12).mean() for value in candidates]
    return float(candidates[int(np.argmin(losses))])


def _mean_where(numerator: np.ndarray, denominator: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Averages (R, K) ratios over the columns that are used: (R,)."""
    ratios = np.where(used, numerator / np.maximum(denominator, 1e-12), 0.0)
    result: np.ndarray = ratios.sum(1) / used.sum(1)
    return result
