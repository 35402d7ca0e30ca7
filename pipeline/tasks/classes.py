"""The classes that a table of predictions does not cover: those without truth, and those that are never predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def untested_classes(predictions: pd.DataFrame, card: Mapping[str, Any]) -> list[str]:
    """Lists the classes without a test example: how well they are recognised is unknown.

    The truth is a `label` an example, or the number of true boxes of every class, `truths_<class>`.
    """
    if "label" in predictions:
        return _without(set(predictions["label"]), card)
    truths = {index for index in range(len(_classes(card))) if predictions.get(f"truths_{index}", pd.Series([0])).any()}
    return _without(truths, card)


def never_predicted(predictions: pd.DataFrame, card: Mapping[str, Any]) -> list[str]:
    """Lists the classes that a model gives to no test example."""
    return _without(set(predictions["predicted"]), card) if "predicted" in predictions else []


def _without(present: set[int], card: Mapping[str, Any]) -> list[str]:
    return [str(name) for index, name in enumerate(_classes(card)) if index not in present]


def _classes(card: Mapping[str, Any]) -> list[Any]:
    return list(card.get("classes", []))
