"""What the stages have written about one experiment, as far as registering asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.files.atomic import read_json


@dataclass(frozen=True)
class Outputs:
    """The files of one experiment."""

    experiment: str
    metrics: Mapping[str, Any]

    @property
    def challenger(self) -> str:
        return str(self.metrics["challenger"])

    @property
    def prepared(self) -> Path:
        return Path("data/prepared", self.experiment)

    def model(self, candidate: str) -> Path:
        return Path("models", self.experiment, candidate)

    def description(self, candidate: str) -> dict[str, Any]:
        """model.json, or nothing where the candidate was not trained."""
        file = self.model(candidate) / "model.json"
        return read_json(file) if file.is_file() else {}

    def predictions(self, model: str) -> Path:
        return Path("evaluation", self.experiment, model, "predictions.parquet")

    def candidate_with(self, key: str) -> str | None:
        """The candidate whose present training has this key."""
        folders = sorted(Path("models", self.experiment).glob("*/model.json"))
        return next((file.parent.name for file in folders if read_json(file)["key"] == key), None)

    @cached_property
    def baseline(self) -> str | None:
        """The baseline with the best validation score: test reports, it does not pick."""
        score, sign = self.metrics["score"], -1 if self.metrics["maximize"] else 1
        names = self._of_kind("baseline")
        return min(names, key=lambda name: sign * names[name]["validation"][score], default=None)

    @property
    def guesses(self) -> list[str]:
        """Models that do not look at an example."""
        return list(self._of_kind("guess"))

    @property
    def rivals(self) -> list[str]:
        """The models that a challenger is compared with, beside the champion."""
        return [*([] if self.baseline is None else [self.baseline]), *self.guesses]

    def _of_kind(self, kind: str) -> dict[str, Any]:
        return {name: entry for name, entry in self.metrics["models"].items() if entry["kind"] == kind}


def evaluated(experiment: str, candidates: list[str]) -> Outputs | str:
    """The evaluated outputs, or why there is no challenger yet."""
    file = Path("metrics", f"{experiment}.json")
    if not file.is_file():
        return "not evaluated yet; `dvc repro` goes on"
    outputs = Outputs(experiment, read_json(file))
    if outputs.challenger not in candidates:
        return f"{file} names the challenger {outputs.challenger}, which params.yaml no longer has; run `dvc repro`"
    trained = outputs.description(outputs.challenger).get("key")
    if trained != outputs.metrics["models"][outputs.challenger]["key"]:
        return f"{file} speaks of an earlier training of {outputs.challenger}; run `dvc repro`"
    return outputs
