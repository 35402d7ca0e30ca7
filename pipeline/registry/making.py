"""Makes a version of a candidate's training: code, trial, servable folder, upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.data.tables import EXAMPLES
from pipeline.registry.experiment import Outputs
from pipeline.registry.store import Store, Version
from pipeline.serving.rehearse import Rehearsal, rehearse
from pipeline.tracking.specification import KEY


class Publisher:
    """Publishes versions of one experiment. Makes what the challenger needs once; `work` outlives this object."""

    def __init__(self, store: Store, outputs: Outputs, run_ids: Mapping[str, str], work: Path) -> None:
        self.store, self.outputs, self.run_ids, self.work = store, outputs, run_ids, work
        self.folders: dict[str, Path] = {}  # key → the very folder that was uploaded

    @cached_property
    def code(self) -> Path:
        """The modules that serve the challenger, copied as they will travel with it."""
        return self._copied(self.outputs.challenger)

    @cached_property
    def trial(self) -> Rehearsal:
        """The challenger answers its example; its scores and those of its rivals come from the evaluation."""
        return self._tried(self.outputs.challenger, self.code, self.outputs.rivals)

    def add(self, candidate: str, **marks: str) -> Version:
        """A version of a candidate's present training. Raises TrialFailed where it cannot answer its own example."""
        from pipeline.serving.packaging import package

        ours = self.outputs.description(candidate)
        if candidate == self.outputs.challenger:
            code, trial = self.code, self.trial
        else:
            code = self._copied(candidate)
            trial = self._tried(candidate, code, [])
        folder = self.work / f"servable-{candidate}"
        tags = {**self._tags(ours), **marks}
        package(self.outputs.model(candidate), code, trial, self.outputs.prepared / EXAMPLES, folder, tags)
        version = self.store.add(folder, tags, self.run_ids.get(ours["key"]))
        self.folders[version.key] = folder
        return version

    def _copied(self, candidate: str) -> Path:
        from pipeline.serving.packaging import copy_code

        ours = self.outputs.description(candidate)
        copy_code(ours["task"], ours["family"], self.work / f"code-{candidate}")
        return self.work / f"code-{candidate}"

    def _tried(self, candidate: str, code: Path, rivals: Sequence[str]) -> Rehearsal:
        files = {name: self.outputs.predictions(name) for name in (candidate, *rivals)}
        return rehearse(
            self.outputs.model(candidate),
            code,
            self.outputs.prepared,
            self.work / f"trial-{candidate}",
            example=True,
            predictions=files,
            probes=files[candidate],
        )

    def _tags(self, ours: Mapping[str, Any]) -> dict[str, str]:
        metrics = self.outputs.metrics
        value = metrics["models"][ours["candidate"]]["test"][metrics["score"]]["value"]
        return {
            KEY: ours["key"],
            "pipeline.candidate": ours["candidate"],
            "pipeline.family": ours["family"],
            "pipeline.architecture": str(ours["parameters"].get("architecture", "")),
            "pipeline.task": ours["task"],
            "pipeline.data": ours["data"],
            "pipeline.test_digest": metrics["test_digest"],
            "pipeline.score": metrics["score"],
            "pipeline.test_score": f"{value:.6g}",
        }
