"""Runs in a Python process of its own, as a script, with the code that a model carries:
`rehearsal.py job.json package`.

So a model is tried exactly as it will be served, an old champion answers with the code it was trained with, and the
stage `register` needs no PyTorch. It imports nothing but the code under trial, by the name that its package has.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

CELLS = 4_000_000  # weights held in memory at a time: 32 MB


def main(job: dict[str, Any], package: str = "pipeline") -> None:
    """Writes into job["output"]: facts.json, and what the job asks for.

    `requests` (a file of test examples as users would send them): responses.parquet, what the model makes of them.
    With `prepared`, the data of this very model: `example`: example.parquet and answer.parquet, the model's answer to
    what a user would send. `predictions` {name: file} and `responses` {name: file}, also of other models:
    scores/<name>.npy, a score an example. `weights` (a file of draws, how often each example counts): also
    corpus/<name>.npy, the score of every draw. `probes` (a file of stored predictions): probes.json, requests with the
    answers that these predictions tell of.
    """
    import numpy as np
    import pandas as pd

    read_table = importlib.import_module(f"{package}.data.tables").read_table
    load_network = importlib.import_module(f"{package}.tasks.network").load_network
    output = Path(job["output"])
    task, network, card, _ = load_network(Path(job["model"]))
    for part in ("scores", "corpus"):
        (output / part).mkdir()
    if job.get("requests"):
        task.respond(network, pd.read_parquet(job["requests"]), card).to_parquet(output / "responses.parquet")
    if not job.get("prepared"):  # the code may be of a time that knows less of a task
        facts = {"modules": [], "dependent": False, "block": None, "corpus": False, "matching": []}
        (output / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        return
    table = read_table(Path(job["prepared"]), "test")
    if job.get("example"):
        example = task.input_example(table, card)
        example.to_parquet(output / "example.parquet")
        task.answer(network, example, card).to_parquet(output / "answer.parquet")
    if job.get("probes"):
        probes = task.probes(table, pd.read_parquet(job["probes"]), card)
        text = json.dumps([probe.document() for probe in probes], ensure_ascii=False)
        (output / "probes.json").write_text(text, encoding="utf-8")
    _write_facts(output, task, card)
    predictions = {name: pd.read_parquet(file) for name, file in job.get("predictions", {}).items()}
    for name, file in job.get("responses", {}).items():
        predictions[name] = task.predictions_of(pd.read_parquet(file), table, card)
    for name, rows in predictions.items():
        np.save(output / "scores" / f"{name}.npy", task.example_scores(rows))
        if job.get("weights"):
            drawn = drawn_scores(task, rows, card, np.load(job["weights"], "r"))
            np.save(output / "corpus" / f"{name}.npy", drawn)


def _write_facts(output: Path, task: Any, card: Any) -> None:
    """Writes down how scores of this task are compared, and what has been imported so far."""
    facts = {
        "modules": sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)),
        "dependent": task.dependent,
        "block": task.block(card),
        "corpus": task.corpus,
        "matching": list(task.MATCHING),
    }
    (output / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def drawn_scores(task: Any, predictions: Any, card: Any, weights: Any) -> Any:
    """(R,) scores of a corpus for (R, N) weights, a part at a time: N may be large."""
    import numpy as np

    rows = max(1, CELLS // weights.shape[1])
    parts = [weights[start : start + rows].astype(np.float64) for start in range(0, len(weights), rows)]
    return np.concatenate([task.resampled_metrics(predictions, card, part)[task.score] for part in parts])


if __name__ == "__main__":
    if sys.argv[2] != "pipeline":
        sys.modules["pipeline"] = None  # type: ignore[assignment]  # nor does it answer with the code of a checkout
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2])
