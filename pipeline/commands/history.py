"""Prints who became champion of an experiment: when, by whom, from which version, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.escaping import in_one_line
from pipeline.params import Params, ParamsError, nearest
from pipeline.registry import record
from pipeline.tracking.address import Address, address_of


def main(name: str | None, params: Params) -> None:
    """Reads reports/registry.json, and asks MLflow, which has the same lines, where the file has none."""
    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), params.experiments)}")
    address = address_of(params.tracking)
    history = record.read(address.root)["experiments"].get(name, {}).get("history") or _from_mlflow(address, name)
    if not history:
        print(f"{name}: nothing was decided yet; `dvc repro` brings a first version before the gate")
        return
    for line in history:
        print("\n".join(map(in_one_line, _described(line))))


def _from_mlflow(address: Address, name: str) -> list[record.Entry]:
    """Reads the history from MLflow, empty without such a model. Raises ValueError where MLflow does not answer."""
    from pipeline.registry import ledger
    from pipeline.tracking.client import Unreachable, connect, reported

    try:
        with reported(address):
            models = connect(address).search_registered_models(f"name = '{name}'")
    except Unreachable as error:
        raise ValueError(f"{record.FILE} has no history of {name}, and {error}") from None
    return ledger.merged([], ledger.lines_of(models[0].tags) if models else [])


def _described(line: record.Entry) -> Iterator[str]:
    """Yields a line with time, person and versions, and under it the reason and the evidence."""
    before, after = (f"version {number}" if number else "none" for number in _ends(line))
    who = line.get("by") or record.SOMEBODY
    moved = f"{before} → {after}" if before != after else f"{before} stays"
    what = f"{record.kind_of(line)} about version {line['challenger']['version']}" if line["challenger"] else ""
    yield f"{line['time'][:19].replace('T', ' ')}  by {who}  {moved}  ({what or record.kind_of(line)})"
    yield f"    {line['reason']}"
    evidence = _evidence(line)
    if evidence:
        yield f"    evidence: {evidence}"
    if verdict := (line.get("evidence") or {}).get("gate"):
        yield f"    the gate had said: {verdict}"


def _ends(line: record.Entry) -> tuple[str | None, str | None]:
    """Returns numbers of the champion before and after; lines from before these were kept have them in other keys."""
    if "from" in line:
        return line["from"], line["to"]
    before = line["against"] and line["against"]["version"]
    return before, line["challenger"]["version"] if line["promoted"] else before


def _evidence(line: record.Entry) -> str:
    evidence = line.get("evidence") or {}
    parts = [f"{name.replace('_', ' ')} {_difference(evidence[name])}" for name in ("over_champion", "over_baseline")
             if evidence.get(name)]  # fmt: skip
    parts += [f"error level {line['level']:.3g}"] if line.get("level") is not None else []
    parts += [f"test examples {line['test_digest'][:12]}"] if line.get("test_digest") else []
    parts += [f"pre-flight {evidence['preflight']}"] if evidence.get("preflight") else []
    return ", ".join(parts)


def _difference(comparison: dict[str, Any]) -> str:
    return (
        f"{comparison['difference']:+.4g} [{comparison['low']:+.4g}, {comparison['high']:+.4g}], "
        f"p = {comparison['p_value']:.2g}"
    )
