"""Rebuilds a version of the registry from its commit, and checks whether the weights are the same."""

from __future__ import annotations

import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.params import Params, ParamsError
from pipeline.rebuild.environment import changes
from pipeline.rebuild.recorded import recorded_of, versions_of, wanted_version
from pipeline.rebuild.reproduce import Recorded, rebuild
from pipeline.rebuild.weights import Unlike, likeness
from pipeline.rebuild.worktree import Failed, worktree
from pipeline.tracking.address import Address, address_of
from pipeline.tracking.client import Unreachable, connect, reported
from pipeline.tracking.source import PATCH, REQUIREMENTS

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FORM = "MODEL@VERSION, such as digits@3 or digits@champion"


def main(name: str | None, params: Params) -> None:
    """Prints the verdict and stores it as tags of the version. Raises ValueError where it cannot be rebuilt."""
    address = address_of(params.tracking)
    try:
        with reported(address):
            client = connect(address)
            if name is None:
                print("\n".join(versions_of(client)) or "no version is registered yet; `dvc repro` makes some")
                return
            _reproduce(name, client, address)
    except Unreachable as error:
        raise ValueError(f"nothing can be rebuilt without MLflow: {error}") from None


def _reproduce(name: str, client: MlflowClient, address: Address) -> None:
    model, at, version = name.partition("@")
    if not at or not re.fullmatch(r"[\w.-]+@[\w-]+", name):
        raise ParamsError(f"version: found {name}; allowed: {FORM}")
    number = wanted_version(client, model, version)
    started = time.monotonic()
    verdict, commit, cannot = "", "", False
    with tempfile.TemporaryDirectory() as scratch:
        try:
            recorded = recorded_of(client, address, model, number, Path(scratch))
            commit = recorded.commit
            verdict, cannot = _compared(recorded, address.root)
        except (Failed, Unlike) as error:
            verdict, cannot = str(error), True
    word = f"cannot, because {verdict}" if cannot else verdict
    tags = {"pipeline.reproduced": word, "pipeline.reproduced_at": datetime.now(UTC).isoformat(timespec="seconds")}
    for tag, value in {**tags, "pipeline.reproduced_commit": commit}.items():
        client.set_model_version_tag(model, number, tag, value[:5000])
    if cannot:
        raise ValueError(f"{model}@{number}: {word}")
    print(f"reproduce {model}@{number}: {word} ({time.monotonic() - started:.0f} s)")


def _compared(recorded: Recorded, repository: Path) -> tuple[str, bool]:
    """Rebuilds the model and returns (the verdict, whether it is a refusal)."""

    def say(text: str) -> None:
        print(f"reproduce {recorded.name}: {text}", flush=True)

    stored = recorded.stored(REQUIREMENTS)
    different = changes(recorded.tags, stored.read_text(encoding="utf-8") if stored else None)
    with worktree(repository, recorded.commit) as tree:
        say(f"commit {recorded.commit[:12]}" + (" and its patch" if recorded.stored(PATCH) else ""))
        if different:
            say(f"differs from then: {'; '.join(different)}")
        comparison = likeness(rebuild(recorded, tree, repository, say), recorded.model, recorded.score)
    if comparison.identical:
        return str(comparison), False
    why = f"; this may come from {'; '.join(different)}" if different else ""
    if comparison.within_tolerance:
        return f"within tolerance: {comparison}{why}", False
    return f"the rebuilt model is another one: {comparison}{why}", True
