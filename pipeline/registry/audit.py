"""Compares versions and aliases in MLflow with reports/registry.json and with the weights that lie here. Reads only."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files.digests import file_digest
from pipeline.registry import chain, ledger, lock, record
from pipeline.registry.examples import ARTIFACT
from pipeline.registry.experiment import Outputs
from pipeline.registry.record import Entry
from pipeline.registry.restoring import is_lost
from pipeline.registry.store import Store, Version
from pipeline.serving.namespace import PACKAGE
from pipeline.serving.rehearse import RehearsalFailed
from pipeline.tracking.audit import REGISTER, Difference
from pipeline.tracking.specification import KEY

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

WEIGHTS = "artifacts/model.safetensors"


def version_differences(store: Store, entry: Mapping[str, Any]) -> Iterator[Difference]:
    """`entry`: what reports/registry.json says of the experiment; empty where it says nothing."""
    name = store.name
    for reason in entry.get("pending", []):
        yield Difference(f"{name}: reports/registry.json", f"waits: {reason}", REGISTER)
    for alias in ("champion", "challenger"):
        yield from _alias(store, alias, entry.get(alias))
    history = list(entry.get("history", []))
    yield from _history(store, history)
    yield from _lost(store, history, (entry.get("challenger") or {}).get("key"))
    yield from _doubled(store.client, name)
    with tempfile.TemporaryDirectory() as scratch:
        for version in store.versions.values():
            yield from _weights(store, version, Path(scratch, version.number))
            yield from _code(store, version, Path(scratch, f"{version.number}-code"))


def _alias(store: Store, alias: str, recorded: Mapping[str, str] | None) -> Iterator[Difference]:
    """An alias that points elsewhere than the record says. `register` takes a champion that was moved as it is."""
    about, number = f"{store.name}@{alias}", store.aliases.get(alias)
    if recorded is None:
        if number is not None:
            yield Difference(about, f"points to version {number}, which the record does not know", REGISTER)
        return
    if number is None:
        yield Difference(about, f"is missing; the record says version {recorded['version']}", REGISTER)
        return
    version = store.at(alias)
    if str(recorded["version"]) != number or (version is not None and version.key != recorded["key"]):
        yield Difference(about, f"points to version {number} instead of {recorded['version']}", REGISTER)


def _history(store: Store, history: list[Entry]) -> Iterator[Difference]:
    """The history stands twice: in the record and as the ledger in MLflow."""
    holder = lock.holder_of(store.client, store.name)
    if holder is not None:
        mend = REGISTER if holder.is_gone else ""
        yield Difference(f"{store.name}: registration", f"{holder} is at it or was killed", mend, holder.is_gone)
    if not store.exists:
        return
    in_mlflow = ledger.lines_of(store.tags)
    here, there = ({chain.digest(line) for line in lines} for lines in (history, in_mlflow))
    for missing, place in ((there - here, "reports/registry.json"), (here - there, "MLflow")):
        if missing:
            yield Difference(f"{store.name}: history", f"{len(missing)} lines are not in {place}", REGISTER)
    yield from _order(store, ledger.merged(history, in_mlflow))
    if ledger.MOVING in store.tags:
        yield Difference(f"{store.name}@champion", "its last move was broken off", REGISTER)


def _order(store: Store, history: list[Entry]) -> Iterator[Difference]:
    """Whether every line follows another one, and what somebody has edited in MLflow."""
    about, known = f"{store.name}: history", set(map(ledger.name_of, history))
    for name in ledger.damaged(store.tags):
        mend = REGISTER if name in known else f"removing the tag of the registered model {store.name} in MLflow"
        yield Difference(about, f"MLflow's tag {name} was edited and counts as absent", mend)
    if len(chain.ends(history)) > 1:
        yield Difference(about, "was written apart in two places and not joined yet", REGISTER)
    if chain.has_gap(history):
        yield Difference(about, "a line that another one follows is gone", matters=False)
    unlinked = sum(chain.PREVIOUS not in line for line in history)
    if unlinked:
        what = f"{unlinked} lines are of a time before lines named the one before them, and stand in the order of time"
        yield Difference(about, what, matters=False)
    for version in store.numbers.values():
        if record.are_edited(version.tags):
            decided = record.last_decision(history, version.key) is not None
            mend = REGISTER if decided else f"removing the tags {record.TAGS[0]} and {record.SEAL} in MLflow"
            what = (
                "the tags of its decision were edited, or are of a time before they had a digest; they count as absent"
            )
            yield Difference(f"{store.name}@{version.number}", what, mend)


def _lost(store: Store, history: list[Entry], challenger: str | None) -> Iterator[Difference]:
    """Versions of which a decision speaks and that MLflow has no more.

    They come back where MLflow has lost them all; one that somebody has deleted does not, unless it is the challenger.
    """
    named = {line[role]["key"]: line[role] for line in history for role in ("against", "challenger") if line.get(role)}
    everything = is_lost(store, history)
    for key, known in named.items():
        if key not in store.versions:
            what = f"MLflow has no version of {known['candidate']} with the key {key[:12]}"
            if everything or key == challenger:
                yield Difference(f"{store.name}@{known['version']}", what, REGISTER)
            else:
                yield Difference(f"{store.name}@{known['version']}", f"{what}: it was deleted there", matters=False)


def _doubled(client: MlflowClient, name: str) -> Iterator[Difference]:
    versions = client.search_model_versions(f"name = '{name}'")
    for key, count in Counter(version.tags.get(KEY) for version in versions).items():
        if key is not None and count > 1:
            numbers = sorted(int(version.version) for version in versions if version.tags.get(KEY) == key)
            what = f"versions {', '.join(map(str, numbers))} are the same training"
            yield Difference(name, what, f"deleting version {numbers[-1]} in MLflow")


def _weights(store: Store, version: Version, scratch: Path) -> Iterator[Difference]:
    """The weights of a version can be read, and are those of the training that lies here."""
    about = f"{store.name}@{version.number}"
    if "pipeline.candidate" not in version.tags:
        yield Difference(about, "was not made by this pipeline", matters=False)
        return
    again = f"deleting the version in MLflow, then {REGISTER}"
    try:
        stored = store.download(version, WEIGHTS, scratch)
    except RehearsalFailed:
        yield Difference(about, "MLflow has lost its weights", again)
        return
    yield from _examples(store, version, scratch)
    outputs = Outputs(store.name, {})
    folder = outputs.model(version.candidate)
    if outputs.description(version.candidate).get("key") != version.key:
        return  # of an earlier training, which no file here knows
    if not (folder / "model.safetensors").is_file():
        return  # said already, by the comparison with dvc.lock
    if file_digest(stored) != file_digest(folder / "model.safetensors"):
        mend = f"`dvc checkout -f {folder}/model.safetensors` where that one is wrong, else by {again}"
        yield Difference(about, f"its weights are not those of {folder}", mend)


def _examples(store: Store, version: Version, scratch: Path) -> Iterator[Difference]:
    """Versions of a time before each said what it has learned from."""
    try:
        store.download(version, ARTIFACT, scratch)
    except RehearsalFailed:
        what = (
            "it does not say which examples it has learned from, so that no later model can be compared with it; "
            f"`python -m pipeline promote {store.name}` takes the place of such a champion"
        )
        yield Difference(f"{store.name}@{version.number}", what, matters=False)


def _code(store: Store, version: Version, scratch: Path) -> Iterator[Difference]:
    """Versions of a time before each had a name of its own for its code."""
    with suppress(RehearsalFailed):
        if (store.download(version, "code", scratch) / PACKAGE).is_dir():
            what = f"its code has the name `{PACKAGE}`, which all such versions share: load one of them in a process"
            yield Difference(f"{store.name}@{version.number}", what, matters=False)
