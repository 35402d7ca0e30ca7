"""Makes an earlier version champion again, after the same pre-flight, and writes down who did it."""

from __future__ import annotations

from pipeline.params import Params, ParamsError, nearest
from pipeline.registry import record
from pipeline.registry.lock import exclusive
from pipeline.registry.record_file import history_of, write_champion
from pipeline.registry.rollback import roll_back
from pipeline.registry.store import store_with_versions
from pipeline.tracking.address import address_of
from pipeline.tracking.client import Unreachable, connect, reported


def main(name: str | None, params: Params, to: str | None = None) -> None:
    """Moves the alias champion of an experiment to the champion before this one, or to version `to`."""
    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), params.experiments)}")
    address = address_of(params.tracking)
    state = "nothing was changed"
    try:
        with reported(address):
            client = connect(address)
            state = (
                f"`python -m pipeline register {name}` ends what was begun, and tells whether the champion was changed"
            )
            with exclusive(client, name) as lock:
                store = store_with_versions(client, address, name)
                store.fence = lock.check
                version, history = roll_back(store, history_of(address, name), to)
                write_champion(store, version, history)
    except Unreachable as error:
        raise ValueError(f"{error}; {state}") from None
    print(f"rollback {name}: {history[-1]['reason']}; its pre-flight passed → {record.FILE}")
