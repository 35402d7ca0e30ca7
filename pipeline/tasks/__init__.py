"""The tasks by name. A new task is one file here and one line in this table."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.tasks.task import Task

# Names instead of classes, so that one task is imported without the others: dvc.yaml names the code of one candidate.
TASKS: dict[str, str] = {
    "image_classification": "pipeline.tasks.image_classification:ImageClassification",
    "translation": "pipeline.tasks.translation:Translation",
    "sentiment_analysis": "pipeline.tasks.sentiment_analysis:SentimentAnalysis",
    "forecasting": "pipeline.tasks.forecasting:Forecasting",
    "series_classification": "pipeline.tasks.series_classification:SeriesClassification",
    "image_generation": "pipeline.tasks.image_generation:ImageGeneration",
    "object_detection": "pipeline.tasks.object_detection:ObjectDetection",
    "speech_recognition": "pipeline.tasks.speech_recognition:SpeechRecognition",
    "style_transfer": "pipeline.tasks.style_transfer:StyleTransfer",
}


def task_type(name: str) -> type[Task]:
    """The class of a task. Raises KeyError for an unknown name."""
    module, attribute = TASKS[name].split(":")
    found: type[Task] = getattr(importlib.import_module(module), attribute)
    return found


def load_task(name: str, settings: Mapping[str, Any]) -> Task:
    """The task of an experiment with the experiment's settings."""
    return task_type(name)(settings)
