"""Makes a version champion because a person decides so, past the gate, after the same pre-flight; keeps who and why.

Without --to it is the model that lies in models/ and was evaluated, registered first where it has no version yet: so a
training of `dvc exp run`, which registers nothing by itself, is taken over after `dvc exp apply`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.params import Params, ParamsError, nearest
from pipeline.registry import record
from pipeline.registry.experiment import evaluated
from pipeline.registry.lock import Lock, exclusive
from pipeline.registry.promotion import promote
from pipeline.registry.record_file import history_of, write_champion
from pipeline.registry.store import Store, store_with_versions
from pipeline.registry.versions import Registrar
from pipeline.serving.rehearse import RehearsalFailed
from pipeline.tracking.address import Address, address_of
from pipeline.tracking.client import Unreachable, connect, experiment_id, reported
from pipeline.tracking.outputs import planned_runs
from pipeline.tracking.sync import sync

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def main(name: str | None, params: Params, to: str | None = None, because: str | None = None) -> None:
    """Moves the alias champion of an experiment to version `to`, or to the model that lies here."""
    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), params.experiments)}")
    reason = " ".join((because or "").split())
    if not reason.isprintable() or not reason:
        raise ParamsError(f"--because: found {because!r}; allowed: a sentence that says why, kept in the history")
    address = address_of(params.tracking)
    state = "the champion was not changed"
    try:
        with reported(address):
            client = connect(address)
            state = (
                f"`python -m pipeline register {name}` ends what was begun, and tells whether the champion was changed"
            )
            line = _promoted(name, params, address, client, to, reason)
    except Unreachable as error:
        raise ValueError(f"{error}; {state}") from None
    print(f"promote {name}: {line['reason']}; its pre-flight passed → {record.FILE}")


def _promoted(
    name: str, params: Params, address: Address, client: MlflowClient, to: str | None, because: str
) -> record.Entry:
    """Promotes the version and returns the line of the history."""
    with exclusive(client, name) as lock:
        if to is None:
            store, history, to = _registered(name, params, address, client, lock)
        else:
            store, history = store_with_versions(client, address, name), history_of(address, name)
            store.fence = lock.check
        version, history = promote(store, history, to, because)
        store.describe(version, history[-1]["reason"])
        write_champion(store, version, history)
        return history[-1]


def _registered(
    name: str, params: Params, address: Address, client: MlflowClient, lock: Lock
) -> tuple[Store, list[record.Entry], str]:
    """Returns (the registered model, its history, the number of the version of the model that lies here)."""
    entry = params.experiments[name]
    outputs = evaluated(name, entry.candidates)
    if isinstance(outputs, str):
        raise ValueError(f"{name}: {outputs}; to name a version that MLflow has: --to N")
    place = experiment_id(client, address, name, entry.description)
    sent = sync(client, place, planned_runs(name, entry.candidates), address.root, thorough=True)
    store = Store(client, address, name, place, entry.description)
    store.fence = lock.check
    registrar = Registrar(store, outputs, history_of(address, name), sent.run_ids, params.gate_of(name), params.seed)
    try:
        return store, registrar.history, registrar.add_challenger().number
    except RehearsalFailed as error:
        raise ValueError(f"{name}: the model cannot be served: {error}") from None
