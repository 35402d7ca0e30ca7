"""Brings MLflow up to date with the files, and lets the gate decide who is champion. Runs on every `dvc repro`.

What `dvc exp run` makes is tracked and not registered: of many tries, each would spend the test examples once more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.folders import read_json
from pipeline.params import Params, ParamsError, nearest
from pipeline.registry import record
from pipeline.registry.experiment import Outputs
from pipeline.registry.store import Store, Version
from pipeline.registry.trial import TrialFailed
from pipeline.registry.versions import Registrar, Standing
from pipeline.tracking.address import Address, address_of
from pipeline.tracking.client import Unreachable, connect, experiment_id, reported
from pipeline.tracking.outputs import planned_runs
from pipeline.tracking.sync import sync

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def main(name: str | None, params: Params) -> None:
    """Writes reports/registry.json. What a server that is away could not take is noted there and sent next time."""
    if name is not None and name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(name, params.experiments)}")
    address = address_of(params.tracking)
    roots = {Path.cwd()} if _experiment_of_dvc() else {address.root, Path.cwd()}  # several may run at once
    known = record.read(address.root)
    known["tracking"] = address.shown
    client, reason = _connected(address)
    failures = []
    for experiment in [name] if name else list(params.experiments):
        before = known["experiments"].get(experiment, {})
        try:
            with reported(address):
                now = _registered(experiment, params, address, client, before, reason)
        except Unreachable as error:
            now = _postponed(before, str(error))
        except TrialFailed as error:
            failures.append(f"{experiment}: the model cannot be served: {error}")
            now = _postponed(before, failures[-1])
        known["experiments"][experiment] = now
        print(f"register {experiment}: {_sentence(now)}")
        record.write(known, roots)
    if failures:
        raise ValueError("; ".join(failures))
    waiting = sum(len(entry["pending"]) for entry in map(known["experiments"].get, params.experiments) if entry)
    state = f"is {waiting} steps behind" if waiting else "is up to date"
    print(f"register: MLflow at {address.shown} {state}; `make ui` shows it → {record.FILE}")


def _connected(address: Address) -> tuple[MlflowClient | None, str]:
    """(client, "") or (None, why there is none)."""
    try:
        return connect(address), ""
    except Unreachable as error:
        return None, str(error)


def _registered(
    experiment: str, params: Params, address: Address, client: MlflowClient | None, before: dict[str, Any], reason: str
) -> dict[str, Any]:
    """What the record says of an experiment after its runs were sent and its challenger was judged."""
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
        return {**_postponed(before), "sent": sent.lines, "note": _tracked_only(experiment, tried)}
    outputs = _judged(experiment, candidates)
    if isinstance(outputs, str):
        return {**_postponed(before), "sent": sent.lines, "note": outputs}
    store = Store(client, address, experiment, place, description)
    registrar = Registrar(
        store, outputs, before.get("history", []), sent.run_ids, params.gate_of(experiment), params.seed
    )
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


def _judged(experiment: str, candidates: list[str]) -> Outputs | str:
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
    empty: dict[str, Any] = {
        "model": None,
        "champion": None,
        "challenger": None,
        "decision": None,
        "versions": 0,
        "history": [],
    }
    kept = {name: value for name, value in before.items() if name != "note"}
    return {**empty, **kept, "sent": [], "pending": [reason] if reason else []}


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
