"""Brings MLflow up to date with the files, and lets the gate decide who is champion. Runs on every `dvc repro`.

So it does with the runs of the ten differences, where there are any; they have no models.

What `dvc exp run` makes is tracked and not registered: of many tries, each would spend the test examples once more.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.differences import DIFFERENCES
from pipeline.differences.runs import DESCRIPTION, EXPERIMENT, planned_differences
from pipeline.files.atomic import write_whole
from pipeline.params import Params, ParamsError, nearest
from pipeline.registry import record
from pipeline.registry.experiment import evaluated
from pipeline.registry.lock import exclusive
from pipeline.registry.record_file import EMPTY, history_of, write_entry
from pipeline.registry.store import Store, Version
from pipeline.registry.versions import Registrar, Standing
from pipeline.serving.rehearse import RehearsalFailed
from pipeline.tracking.address import Address, address_of
from pipeline.tracking.client import Unreachable, connect, experiment_id, reported
from pipeline.tracking.outputs import planned_runs
from pipeline.tracking.sync import sync

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


TRIES = 4
DONE = Path("reports/registered")
SAYS = b"The runs and the versions of all experiments were looked at; registry.json says what came of it.\n"


def main(name: str | None, params: Params) -> None:
    """Writes reports/registry.json. What a server that is away could not take is noted there and sent next time."""
    if name not in (None, EXPERIMENT, *params.experiments):
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), [*params.experiments, EXPERIMENT])}")
    address = address_of(params.tracking)
    known: dict[str, dict[str, Any]] = record.read(address.root)["experiments"]
    client, reason = _connected(address)
    failures = []
    for experiment in _chosen(name, params):
        with ExitStack() as held:  # the lock of the registered model, until the file is written, too
            try:
                now = _tried(experiment, params, address, client, known.get(experiment, {}), reason, held)
            except Unreachable as error:
                now = {"pending": [str(error)]}
            except RehearsalFailed as error:
                failures.append(f"{experiment}: the model cannot be served: {error}")
                now = {"pending": [failures[-1]]}
            # Experiments of DVC run in copies of the repository, several at once.
            known[experiment] = write_entry(address, experiment, now, here_alone=_experiment_of_dvc() is not None)
        print(f"register {experiment}: {_sentence(known[experiment])}")
    differences = _differences(address, client, reason) if name in (None, EXPERIMENT) else []
    if failures:
        raise ValueError("; ".join(failures))
    waiting = sum(len(entry["pending"]) for entry in map(known.get, params.experiments) if entry) + len(differences)
    state = f"is {waiting} steps behind" if waiting else "is up to date"
    write_whole(DONE, SAYS)  # on which `report` depends
    print(f"register: MLflow at {address.shown} {state}; `make ui` shows it → {record.FILE}")


def _chosen(name: str | None, params: Params) -> list[str]:
    """The experiments to look at; the differences are none, and have no models."""
    if name is None:
        return list(params.experiments)
    return [] if name == EXPERIMENT else [name]


def _differences(address: Address, client: MlflowClient | None, reason: str) -> list[str]:
    """Sends the runs of the ten differences; returns what has to wait."""
    runs = planned_differences(DIFFERENCES)
    if not runs:
        return []
    waiting = [] if client else [reason]
    lines: list[str] = []
    try:
        if client is not None:
            with reported(address):
                place = experiment_id(client, address, EXPERIMENT, DESCRIPTION)
                lines = sync(client, place, runs, address.root, thorough="DVC_STAGE" not in os.environ).lines
    except Unreachable as error:
        waiting = [str(error)]
    print(f"register {EXPERIMENT}: {_sentence({**EMPTY, 'sent': lines, 'pending': waiting})}")
    return waiting


def _tried(
    experiment: str, params: Params, address: Address, client: MlflowClient | None, before: dict[str, Any], reason: str,
    held: ExitStack,
) -> dict[str, Any]:  # fmt: skip
    """Returns what `_registered` does, tried again where another clone has sent the same run at this moment."""
    for left in reversed(range(TRIES)):
        try:
            with reported(address), ExitStack() as own:
                now = _registered(experiment, params, address, client, before, reason, own)
                held.push(own.pop_all())
                return now
        except Unreachable as error:
            if not left or "unique constraint" not in str(error).lower():
                raise
            time.sleep(random.uniform(0.2, 1.0))
    raise AssertionError("the last try returns or raises")


def _connected(address: Address) -> tuple[MlflowClient | None, str]:
    """(client, "") or (None, why there is none)."""
    try:
        return connect(address), ""
    except Unreachable as error:
        return None, str(error)


def _registered(
    experiment: str,
    params: Params,
    address: Address,
    client: MlflowClient | None,
    before: dict[str, Any],
    reason: str,
    held: ExitStack,
) -> dict[str, Any]:
    """Returns what the record says of an experiment after its runs were sent and its challenger was judged."""
    candidates = params.experiments[experiment].candidates
    runs = planned_runs(experiment, candidates)
    if not runs:
        return {**_postponed(before), "note": "no outputs yet; `dvc repro` makes them"}
    if client is None:
        return _postponed(before, f"everything that is new of {experiment}: {reason}")
    description = params.experiments[experiment].description
    place = experiment_id(client, address, experiment, description)
    by_hand = "DVC_STAGE" not in os.environ  # DVC asks on every run: then the marks of completeness are trusted
    sent = sync(client, place, runs, address.root, thorough=by_hand)
    if tried := _experiment_of_dvc():
        return {"sent": sent.lines, "note": _tracked_only(experiment, tried)}
    outputs = evaluated(experiment, candidates)
    if isinstance(outputs, str):
        return {"sent": sent.lines, "note": outputs}
    lock = held.enter_context(exclusive(client, experiment))  # from here on all that others have done is seen
    store = Store(client, address, experiment, place, description)
    store.fence = lock.check
    gate, history = params.gate_of(experiment), history_of(address, experiment)
    registrar = Registrar(store, outputs, history, sent.run_ids, gate, params.seed)
    return _told(experiment, registrar.settle(), store, sent.lines)


def _experiment_of_dvc() -> str | None:
    """The name of the experiment for which `dvc exp run` has started this process, in a copy or in place."""
    return os.environ.get("DVC_EXP_NAME") or None


def _tracked_only(experiment: str, tried: str) -> str:
    return (
        f"the experiment {tried} is tracked and not registered; to take it over: `dvc exp apply {tried}`, then "
        f"`python -m pipeline register {experiment}`, which asks the gate (`python -m pipeline promote {experiment} "
        '--to N --because "…"` decides by hand)'
    )


def _told(experiment: str, standing: Standing, store: Store, lines: list[str]) -> dict[str, Any]:
    decision = standing.decision
    return {
        **({"note": "; ".join(standing.notes)} if standing.notes else {}),
        "model": experiment,
        "champion": _named(standing.champion),
        "challenger": _named(standing.challenger),
        "decision": decision
        and {
            "kind": record.kind_of(decision),
            "promoted": decision["promoted"],
            "reason": decision["reason"],
            "evidence": decision["evidence"],
            "against": _against(decision),
        },
        "versions": len(store.versions),
        "sent": lines + standing.sent,
        "pending": standing.pending,
        "history": standing.history,
    }


def _named(version: Version | None) -> dict[str, str] | None:
    return None if version is None else version.named()


def _against(decision: record.Entry) -> str | None:
    against = decision["against"]
    return against and f"version {against['version']}" + (f" ({against['candidate']})" if against["candidate"] else "")


def _postponed(before: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """The record as it was, with what could not be sent this time."""
    kept = {name: value for name, value in before.items() if name != "note"}
    return {**EMPTY, **kept, "sent": [], "pending": [reason] if reason else []}


def _sentence(entry: dict[str, Any]) -> str:
    """One line about an experiment."""
    parts = []
    if entry["champion"]:
        parts.append(f"version {entry['champion']['version']} ({entry['champion']['candidate']}) is champion")
    if entry["decision"] and entry["decision"]["reason"]:
        parts.append(entry["decision"]["reason"].rstrip("."))
    parts.append(f"sent {len(entry['sent'])} changes" if entry["sent"] else "nothing to send")
    parts += [entry["note"]] if "note" in entry else []
    parts += [f"waiting: {reason}" for reason in entry["pending"]]
    return "; ".join(parts)
