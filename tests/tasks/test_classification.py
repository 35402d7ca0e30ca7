"""What all tasks share that give one label to an example."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pipeline.tasks import TASKS, load_task
from pipeline.tasks.classes import never_predicted, untested_classes
from pipeline.tasks.classification import resampled_metrics, worst_class_counts
from pipeline.tasks.network import by_length, keyword_names
from pipeline.tasks.task import ClassificationTask

SETTINGS = {
    "image_classification": {},
    "series_classification": {"normalise": "none"},
    "sentiment_analysis": {"vocabulary": 40, "lowercase": True, "longest": 30},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_label_smoothing_counts_in_training_alone(name: str) -> None:
    task, network = load_task(name, SETTINGS[name]), nn.Module()
    assert isinstance(task, ClassificationTask) and "label_smoothing" in keyword_names(task.network)
    network.label_smoothing = 0.2  # type: ignore[assignment]
    output, batch = torch.tensor([[2.0, 0.0, -1.0]]), {"labels": torch.tensor([0])}
    plain = float(-torch.log_softmax(output, 1)[0, 0])
    assert float(task.loss(network.eval(), output, batch)) == pytest.approx(plain)
    assert float(task.loss(network.train(), output, batch)) > plain + 0.1


def test_every_classification_is_asked() -> None:
    assert {name for name in TASKS if "classification" in name} <= set(SETTINGS)


CARD = {"classes": ["a", "b", "rare", "c"]}
ANSWERS = pd.DataFrame({"label": [0] * 8 + [1] * 9 + [3], "predicted": [0] * 17 + [3], "confidence": 0.9})


def test_worst_class_is_one_of_those_with_test_examples() -> None:
    """A class without any, or one that a resample leaves out, neither passes nor fails."""
    once, without_b = np.ones((1, 18)), np.ones((1, 18))
    without_b[0, 8:17] = 0
    assert resampled_metrics(ANSWERS, CARD, once)["worst_class_recall"].tolist() == [0.0]
    assert resampled_metrics(ANSWERS, CARD, without_b)["worst_class_recall"].tolist() == [1.0]
    assert worst_class_counts(ANSWERS) == (0, 9)


def test_classes_without_test_examples_and_without_predictions_are_named() -> None:
    assert untested_classes(ANSWERS, CARD) == ["rare"]
    assert never_predicted(ANSWERS, CARD) == ["b", "rare"]
    boxes = pd.DataFrame({"predicted": [0, -1], "truths_0": [0, 1], "truths_1": [2, 0], "truths_2": 0, "truths_3": 1})
    assert untested_classes(boxes, CARD) == ["rare"] and never_predicted(boxes, CARD) == ["b", "rare", "c"]
    assert untested_classes(ANSWERS, {}) == never_predicted(pd.DataFrame({"forecast": [1.0]}), {}) == []


class Told(nn.Module):
    """Answers the first value of each sequence, and keeps how long its batches were."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        self.steps.append(x.shape[-1])
        return x[:, 0]


def test_sequences_of_similar_length_go_together_and_come_back_in_their_order() -> None:
    lengths = torch.tensor([9, 2, 7, 1, 8, 3])
    x, network = torch.arange(6.0)[:, None].expand(-1, 9), Told()
    assert by_length(network, x, lengths, 18).tolist() == [0, 1, 2, 3, 4, 5]
    assert network.steps == [2, 7, 9], "two sequences of nine steps each are 18 steps"
