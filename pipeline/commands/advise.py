"""Explains what the measured differences of the families mean for one experiment."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.tables import read_card, read_table
from pipeline.differences import DIFFERENCES
from pipeline.differences.advice import advice
from pipeline.files.atomic import read_json
from pipeline.params import Params, ParamsError, nearest

RESULTS = Path("differences/results")


def main(name: str | None, params: Params) -> None:
    """Prints sentences, each with the measured row that backs it; none where nothing was decided."""
    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), params.experiments)}")
    results = {
        difference: read_json(file) for difference in DIFFERENCES if (file := RESULTS / f"{difference}.json").is_file()
    }
    if not results:
        raise ValueError(f"{RESULTS} holds no result; `make differences` measures them")
    experiment, prepared = params.experiments[name], Path("data/prepared", name)
    candidates = {candidate: params.candidates[candidate] for candidate in experiment.candidates}
    entries = advice(experiment, candidates, read_card(prepared), read_table(prepared, "train"), results)
    for entry in entries:
        print(f"{entry.sentence}\n    {entry.row}")
    if not entries:
        print(f"advise: nothing that was measured decides anything for {name}")
    if missing := [difference for difference in DIFFERENCES if difference not in results]:
        print(f"advise: not measured here: {', '.join(missing)}; `make differences` does")
