"""What whoever asks a version has to know first: that something simpler answers better, or as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.registry.store import Version
from pipeline.report.formatting import words
from pipeline.report.verdict import baseline_was_better, compare, strongest, unbeaten_guess


def shortcoming(version: Version, metrics: Mapping[str, Any] | None) -> str | None:
    """One sentence about a version that does not beat guessing or loses to a classical baseline; None about all others.

    The present metrics file decides where it is about this very training, else what the gate wrote on the version.
    """
    if metrics is not None and metrics["models"].get(version.candidate, {}).get("key") == version.key:
        return _measured(version.candidate, metrics)
    if baseline_was_better(json.loads(version.tags.get("pipeline.evidence") or "{}")):
        return "when the gate compared them, a classical baseline was significantly better than this model"
    return None


def _measured(candidate: str, metrics: Mapping[str, Any]) -> str | None:
    if guess := unbeaten_guess(metrics, candidate):
        return f"this model is not shown to be better than guessing ({words(guess)})"
    baseline = strongest(metrics, "baseline", without=candidate)
    comparison = compare(metrics, candidate, baseline)
    if comparison is None or comparison.outcome != "worse":
        return None
    return f"the classical baseline {baseline} is significantly better than this model on the test examples"
