"""A trained candidate as files: weights, what they are of, and how they came about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file, save

from pipeline.files.atomic import write_json
from pipeline.training import pictures
from pipeline.training.fit import Job, Outcome


def write_model(
    folder: Path,
    facts: Mapping[str, Any],
    card: Mapping[str, Any],
    jobs: Sequence[Job],
    outcomes: Sequence[Outcome],
    score: str,
) -> dict[str, float]:
    """Fills the folder with the repeat of the lowest validation loss and returns its validation figures."""
    losses = [outcome.figures["validation_loss"] for outcome in outcomes]
    if not all(math.isfinite(loss) for loss in losses):
        raise ValueError(
            f"{facts['candidate']}: the validation loss of a repeat was never a number; lower the learning rates that "
            "are searched, or set gradient_clip to 1.0"
        )
    chosen = losses.index(min(losses))
    weights = [load_file(job.weights) for job in jobs]
    (folder / "model.safetensors").write_bytes(save(weights[chosen]))
    every = {f"{repeat}/{name}": tensor for repeat, tensors in enumerate(weights) for name, tensor in tensors.items()}
    (folder / "repeats.safetensors").write_bytes(save(every))
    rows = [
        {"repeat": repeat, "seed": job.seed, **row}
        for repeat, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True))
        for row in outcome.history
    ]
    history = pd.DataFrame(rows)
    pictures.write_table(history, folder / "history.csv")
    pictures.learning_curves(history, score, folder / "curves.png", str(facts["candidate"]))
    repeats = [_described(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]
    validation: dict[str, float] = repeats[chosen]["validation"]
    write_json(
        folder / "model.json", {**facts, "card": card, "repeats": repeats, "chosen": chosen, "validation": validation}
    )
    return validation


def _described(job: Job, outcome: Outcome) -> dict[str, Any]:
    figures = {name.removeprefix("validation_"): value for name, value in outcome.figures.items()}
    epochs = len(outcome.history)
    return {"seed": job.seed, "best_epoch": outcome.best_epoch, "epochs": epochs, "validation": figures}
