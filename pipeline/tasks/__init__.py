"""The tasks by name. A new task is one package here and one line in this table."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.tasks.task import Task

# Names instead of classes, so that one task is imported without the others: dvc.yaml names the code of one candidate.
# Without the name of this package: in a version it has another one.
TASKS: dict[str, str] = {
    "image_classification": "image_classification.task:ImageClassification",
    "translation": "translation.task:Translation",
    "sentiment_analysis": "sentiment_analysis.task:SentimentAnalysis",
    "forecasting": "forecasting.task:Forecasting",
    "series_classification": "series_classification.task:SeriesClassification",
    "image_generation": "image_generation.task:ImageGeneration",
    "object_detection": "object_detection.task:ObjectDetection",
    "speech_recognition": "speech_recognition.task:SpeechRecognition",
    "style_transfer": "style_transfer.task:StyleTransfer",
}


def task_type(name: str) -> type[Task]:
    """Returns the class of a task. Raises KeyError for an unknown name."""
    module, attribute = TASKS[name].split(":")
    task_class: type[Task] = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    return task_class


def load_task(name: str, settings: Mapping[str, Any]) -> Task:
    """Returns the task of an experiment with the experiment's settings."""
    return task_type(name)(settings)
