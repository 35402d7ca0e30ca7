"""What is said before the answers of a version that guessing or a classical baseline equals or beats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.registry.shortcomings import shortcoming
from pipeline.registry.store import Version

WORSE, EQUAL, BETTER = (-0.02, -0.03, -0.01, 0.001), (0.01, -0.01, 0.03, 0.4), (0.02, 0.01, 0.03, 0.001)
Lead = tuple[float, float, float, float]


def version(evidence: dict[str, Any] | None = None) -> Version:
    return Version("3", "k", "net", {"pipeline.key": "k", "pipeline.evidence": json.dumps(evidence or {})})


def metrics(over_svc: Lead, over_guess: Lead, key: str = "k", maximize: bool = True) -> dict[str, Any]:
    """The leads of `net`; the other candidate is worse than everything."""
    differences = {}
    for other, lead in (("svc", over_svc), ("most_common_class", over_guess)):
        gap, low, high, p_value = lead if maximize else (-lead[0], -lead[2], -lead[1], lead[3])
        differences[other] = {"a": "net", "b": other, "difference": gap, "low": low, "high": high, "p_value": p_value}
    models = {
        name: {"kind": kind, "key": key if name == "net" else None, "test": {"accuracy": {"value": 0.5}}}
        for name, kind in (("net", "candidate"), ("svc", "baseline"), ("most_common_class", "guess"))
    }
    common = {"score": "accuracy", "maximize": maximize, "confidence": 0.95, "challenger": "net"}
    return {**common, "models": models, "differences": differences}


@pytest.mark.parametrize("maximize", [True, False])
def test_a_baseline_that_is_significantly_better_is_named(maximize: bool) -> None:
    assert shortcoming(version(), metrics(WORSE, BETTER, maximize=maximize)) == (
        "the classical baseline svc is significantly better than this model on the test examples"
    )
    for lead in (EQUAL, BETTER):
        assert shortcoming(version(), metrics(lead, BETTER, maximize=maximize)) is None


@pytest.mark.parametrize("lead", [EQUAL, WORSE])
def test_a_guess_that_is_not_beaten_is_graver_than_a_baseline(lead: Lead) -> None:
    assert shortcoming(version(), metrics(WORSE, lead)) == (
        "this model is not shown to be better than guessing (most common class)"
    )


def difference(lead: Lead) -> dict[str, float]:
    return dict(zip(("difference", "low", "high", "p_value"), lead, strict=True))


def test_of_a_version_that_was_not_measured_last_the_gate_has_kept_the_evidence() -> None:
    judged = version({"over_baseline": difference(WORSE), "test_split": {"error_level": 0.05}})
    said = "when the gate compared them, a classical baseline was significantly better than this model"
    assert shortcoming(judged, None) == shortcoming(judged, metrics(BETTER, BETTER, key="another")) == said
    assert shortcoming(judged, metrics(BETTER, BETTER)) is None, "the present figures of this very training count more"


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {"over_baseline": None},
        {"over_baseline": difference(EQUAL)},
        {"over_baseline": difference(WORSE), "test_split": {"error_level": 0.0005}},
    ],
)
def test_without_such_evidence_nothing_is_said(evidence: dict[str, Any]) -> None:
    assert shortcoming(version(evidence), None) is None
    assert shortcoming(Version("1", "k", "net"), None) is None
