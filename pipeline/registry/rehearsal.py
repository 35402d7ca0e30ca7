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

    `example`: example.parquet and answer.parquet, the model's answer to what a user would send. `predict`:
    predictions.parquet, of the test examples. `predictions` {name: file}: scores/<name>.npy, a score an example.
    `weights` (a file of draws, how often each example counts): also corpus/<name>.npy, the score of every draw.
    `probes` (a file of stored predictions): probes.json, requests with the answers that these predictions tell of.
    """
    import numpy as np
    import pandas as pd

    read_table = importlib.import_module(f"{package}.data.tables").read_table
    load_network = importlib.import_module(f"{package}.tasks.network").load_network
    output = Path(job["output"])
    task, network, card, _ = load_network(Path(job["model"]))
    table = read_table(Path(job["prepared"]), "test")
    if job.get("example"):
        example = task.input_example(table, card)
        example.to_parquet(output / "example.parquet")
        task.answer(network, example, card).to_parquet(output / "answer.parquet")
    if job.get("probes"):
        probes = task.probes(table, pd.read_parquet(job["probes"]), card)
        text = json.dumps([probe.document() for probe in probes], ensure_ascii=False)
        (output / "probes.json").write_text(text, encoding="utf-8")
    modules = sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))
    scores, corpus = output / "scores", output / "corpus"
    scores.mkdir()
    corpus.mkdir()
    if job.get("predict"):
        task.predict(network, task.examples(table, card), card).to_parquet(output / "predictions.parquet")
    for name, file in job.get("predictions", {}).items():
        predictions = pd.read_parquet(file)
        np.save(scores / f"{name}.npy", task.example_scores(predictions))
        if job.get("weights"):
            np.save(corpus / f"{name}.npy", drawn_scores(task, predictions, card, np.load(job["weights"], "r")))
    block = getattr(task, "block", lambda card: None)(card)
    facts = {"modules": modules, "dependent": task.dependent, "block": block}
    facts["corpus"] = getattr(task, "corpus", False)  # an old champion's code does not know of it
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
