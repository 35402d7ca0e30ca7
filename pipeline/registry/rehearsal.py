"""Runs in a Python process of its own, as a script, with the code that a model carries: `rehearsal.py job.json`.

So a model is tried exactly as it will be served, an old champion answers with the code it was trained with, and the
stage `register` needs no PyTorch. It imports nothing but the code under trial.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Writes into job["output"]: facts.json, and what the job asks for.

    `example`: example.parquet and answer.parquet, the model's answer to what a user would send. `predict`:
    predictions.parquet, of the test examples. `predictions` {name: file}: scores/<name>.npy, a score an example.
    """
    import numpy as np
    import pandas as pd

    from pipeline.data.tables import read_table
    from pipeline.tasks.network import load_network

    output = Path(job["output"])
    task, network, card, _ = load_network(Path(job["model"]))
    table = read_table(Path(job["prepared"]), "test")
    if job.get("example"):
        example = task.input_example(table, card)
        example.to_parquet(output / "example.parquet")
        task.answer(network, example, card).to_parquet(output / "answer.parquet")
    modules = sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))
    scores = output / "scores"
    scores.mkdir()
    if job.get("predict"):
        task.predict(network, task.examples(table, card), card).to_parquet(output / "predictions.parquet")
    for name, file in job.get("predictions", {}).items():
        np.save(scores / f"{name}.npy", task.example_scores(pd.read_parquet(file)))
    block = getattr(task, "block", lambda card: None)(card)
    facts = {"modules": modules, "dependent": task.dependent, "block": block}
    (output / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
