"""What whoever asks a version has to know first: that something simpler answers better, or as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.registry.store import Version
from pipeline.tracking.readable import words
from pipeline.tracking.verdict import compare, strongest, unbeaten_guess

ERROR_LEVEL = 0.05  # of evidence that does not say which one its gate had


def shortcoming(version: Version, metrics: Mapping[str, Any] | None) -> str | None:
    """One sentence about a version that does not beat guessing or loses to a classical baseline; None about all others.

    The present metrics file decides where it is about this very training, else what the gate wrote on the version.
    """
    if metrics is not None and metrics["models"].get(version.candidate, {}).get("key") == version.key:
        return _measured(version.candidate, metrics)
    return _recorded(json.loads(version.tags.get("pipeline.evidence") or "{}"))


def _measured(candidate: str, metrics: Mapping[str, Any]) -> str | None:
    if guess := unbeaten_guess(metrics, candidate):
        return f"this model is not shown to be better than guessing ({words(guess)})"
    baseline = strongest(metrics, "baseline", without=candidate)
    found = compare(metrics, candidate, baseline)
    if found is None or found.outcome != "worse":
        return None
    return f"the classical baseline {baseline} is significantly better than this model on the test examples"


def _recorded(evidence: Mapping[str, Any]) -> str | None:
    found, split = evidence.get("over_baseline"), evidence.get("test_split") or {}
    if not found or found["high"] >= 0 or found["p_value"] >= split.get("error_level", ERROR_LEVEL):
        return None
    return "when the gate compared them, a classical baseline was significantly better than this model"
