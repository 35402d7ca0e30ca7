"""What no challenger may break, however good its score is: the limits of params.yaml and the figures held against them.

A limit whose figure is not known is not held: what was never measured is a reason to wait, not a reason to pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.files.atomic import read_json
from pipeline.params import Limits
from pipeline.registry.experiment import Outputs
from pipeline.registry.record import Entry

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Measured:
    """The figures of one candidate; None where it is not known, and then `missing` says why and what to do."""

    latency_ms: float | None = None  # median time of one example on this machine
    megabytes: float | None = None  # of the weights
    worst_class: float | None = None  # lowest recall of any class on test
    missing: Mapping[str, str] = field(default_factory=dict)


def measured(outputs: Outputs, candidate: str) -> Measured:
    """The figures as the stages left them in timings/, models/ and metrics/."""
    missing: dict[str, str] = {}
    latency = _latency(outputs, candidate)
    if latency is None:
        missing["latency_ms"] = (
            f"the latency of {candidate} as it is trained now was never measured on this machine: "
            f"`python -m pipeline evaluate {outputs.experiment}` measures it"
        )
    figures = outputs.metrics["models"][candidate]["test"]
    worst = figures.get("worst_class_recall", {}).get("value")
    if worst is None:
        missing["worst_class"] = (
            f"the task {outputs.metrics['task']} has no classes: "
            f"set it to null in the `gate` of the experiment {outputs.experiment}"
        )
    if untested := outputs.metrics.get("untested_classes"):
        worst = None
        missing["worst_class"] = (
            f"{len(untested)} of the classes have no test examples, so that nobody knows how often they are recognised "
            f"({', '.join(untested[:5])}{', …' if len(untested) > 5 else ''}): add some to the test split, or set it "
            f"to null in the `gate` of the experiment {outputs.experiment}"
        )
    weights = outputs.model(candidate) / "model.safetensors"
    return Measured(latency, weights.stat().st_size / MEGABYTE, worst, missing)


def broken(limits: Limits, measured: Measured) -> list[str]:
    """A sentence for every limit that the figures break, or that cannot be checked."""
    latency, megabytes, worst = measured.latency_ms, measured.megabytes, measured.worst_class
    breaks: dict[str, tuple[bool, str]] = {}
    if limits.latency_ms is not None:
        sentence = f"one example takes {_shown(latency)} ms (median), allowed are {limits.latency_ms:g} ms"
        breaks["latency_ms"] = latency is None or latency > limits.latency_ms, sentence
    if limits.megabytes is not None:
        sentence = f"the weights have {_shown(megabytes)} MB, allowed are {limits.megabytes:g} MB"
        breaks["megabytes"] = megabytes is None or megabytes > limits.megabytes, sentence
    if limits.worst_class is not None:
        sentence = f"of its worst class it gets {_shown(worst)} right, asked for is {limits.worst_class:g}"
        breaks["worst_class"] = worst is None or worst < limits.worst_class, sentence
    return [
        f"limits.{name}: {measured.missing.get(name, sentence)}"
        for name, (is_broken, sentence) in breaks.items()
        if is_broken
    ]


def lifted(line: Entry, limits: Limits, outputs: Outputs) -> bool:
    """Whether a decision has to be taken anew: only limits kept the challenger out, and none of them does any more."""
    kept_out = (line.get("evidence") or {}).get("broken_limits")
    return bool(kept_out) and not broken(limits, measured(outputs, outputs.challenger))


def _latency(outputs: Outputs, candidate: str) -> float | None:
    """Only of the present training: the outputs can come from DVC's cache, the times of this machine cannot."""
    file = Path("timings", outputs.experiment, candidate, "latency.json")
    if not file.is_file():
        return None
    costs = read_json(file)
    return float(costs["p50_ms"]) if costs.get("key") == outputs.metrics["models"][candidate]["key"] else None


def _shown(figure: float | None) -> str:
    return "unknown" if figure is None else f"{figure:.4g}"
