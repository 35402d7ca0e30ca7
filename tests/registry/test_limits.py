"""Limits that no challenger may break: each is held against its figure, and an unknown figure holds nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Limits
from pipeline.registry.experiment import Outputs
from pipeline.registry.limits import Measured, broken, lifted, measured

NONE: dict[str, Any] = {"latency_ms": None, "megabytes": None, "worst_class": None}
GOOD = Measured(latency_ms=2.0, megabytes=1.5, worst_class=0.8)


def limits(**given: float) -> Limits:
    return Limits(**{**NONE, **given})


def test_no_limit_holds_nothing_against_anyone() -> None:
    assert broken(limits(), Measured()) == []
    assert broken(limits(latency_ms=2.0, megabytes=1.5, worst_class=0.8), GOOD) == [], "the limit itself is allowed"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"latency_ms": 1.9}, "limits.latency_ms: one example takes 2 ms (median), allowed are 1.9 ms"),
        ({"megabytes": 1.0}, "limits.megabytes: the weights have 1.5 MB, allowed are 1 MB"),
        ({"worst_class": 0.9}, "limits.worst_class: of its worst class it gets 0.8 right, asked for is 0.9"),
    ],
)
def test_broken_limit_is_named_with_figure_and_limit(given: dict[str, float], said: str) -> None:
    assert broken(limits(**given), GOOD) == [said]


def test_all_broken_limits_are_told_at_once() -> None:
    assert len(broken(limits(latency_ms=1.0, megabytes=1.0, worst_class=0.9), GOOD)) == 3


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """An experiment with one candidate: weights of 2 MB, a latency of this very training, a worst class of 0.8."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "models/digits/cnn"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(bytes(2_000_000))
    write_latency("aaa")
    test = {"accuracy": {"value": 0.9}, "worst_class_recall": {"value": 0.8}}
    models = {"cnn": {"kind": "candidate", "key": "aaa", "test": test}}
    return Outputs("digits", {"challenger": "cnn", "task": "image_classification", "models": models})


def write_latency(key: str) -> None:
    file = Path("timings/digits/cnn/latency.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"p50_ms": 1.25, "p95_ms": 9.0, "batch": 1, "key": key}))


def test_figures_are_those_that_the_stages_left(outputs: Outputs) -> None:
    assert measured(outputs, "cnn") == Measured(1.25, 2.0, 0.8)


@pytest.mark.parametrize("key", ["bbb", None])
def test_latency_that_was_not_measured_here_is_no_latency(outputs: Outputs, key: str | None) -> None:
    """DVC restores the outputs of another machine, or of another training, but not the times that it took."""
    if key is None:
        Path("timings/digits/cnn/latency.json").unlink()
    else:
        write_latency(key)
    (said,) = broken(limits(latency_ms=1000.0), measured(outputs, "cnn"))
    assert "never measured on this machine: `python -m pipeline evaluate digits` measures it" in said
    assert broken(limits(megabytes=3.0), measured(outputs, "cnn")) == []


def test_worst_class_of_a_task_without_classes_is_refused_with_advice(outputs: Outputs) -> None:
    del outputs.metrics["models"]["cnn"]["test"]["worst_class_recall"]
    (said,) = broken(limits(worst_class=0.5), measured(outputs, "cnn"))
    assert said == (
        "limits.worst_class: the task image_classification has no classes: "
        "set it to null in the `gate` of the experiment digits"
    )


def test_class_without_test_examples_holds_no_limit(outputs: Outputs) -> None:
    """Its recall is unknown: the worst of the others says nothing about it."""
    outputs.metrics["untested_classes"] = ["rare"]  # type: ignore[index]
    (said,) = broken(limits(worst_class=0.1), measured(outputs, "cnn"))
    assert said.startswith("limits.worst_class: 1 of the classes have no test examples, so that nobody knows")
    assert "(rare): add some to the test split" in said
    assert broken(limits(), measured(outputs, "cnn")) == []


def test_decision_that_a_limit_prevented_is_taken_anew_when_the_limit_holds(outputs: Outputs) -> None:
    prevented = {"evidence": {"broken_limits": ["limits.megabytes: the weights have 2 MB, allowed are 1 MB"]}}
    assert not lifted(prevented, limits(megabytes=1.0), outputs)
    assert lifted(prevented, limits(megabytes=3.0), outputs)
    assert not lifted({"evidence": {"broken_limits": []}}, limits(), outputs), "decided by the scores: once and for all"
    assert not lifted({"evidence": {}}, limits(), outputs)
