"""Writes the output folders of an experiment as the stages do, small, with real networks and chosen predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SETTINGS: dict[str, dict[str, Any]] = {
    "image_classification": {},
    "forecasting": {
        "lookback": 8,
        "horizon": 4,
        "season": 4,
        "missing": "seasonal",
        "interval": 0.8,
        "score": "mae",
        "units": "own",
    },
}
CNN = {"architecture": "vgg", "width": 16, "depth": 1, "kernel_size": 3, "dropout": 0.0}
IMAGE_HEAD = {"shift": 0, "flip": False, "label_smoothing": 0.0}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738"
    "550000000049454e44ae426082"
)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_prepared(root: Path, experiment: str = "digits", seed: int = 0) -> dict[str, Any]:
    """data/prepared/<experiment>: 200 images of 6 × 6 pixels in three classes. Returns the card."""
    from pipeline.data.tables import write
    from pipeline.formats.records import Images
    from pipeline.tasks import load_task

    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 16, (200, 1, 6, 6), dtype=np.uint8)
    labels = np.array(list("abc"))[np.arange(200) % 3]
    rows = {"train": slice(80, 160), "validation": slice(160, 200), "test": slice(0, 80)}
    parts = {name: Images(pixels[chosen], labels[chosen], 16, None) for name, chosen in rows.items()}
    task = load_task("image_classification", SETTINGS["image_classification"])
    prepared = task.prepare(parts, {"validation": None, "test": None}, 0)
    return write(prepared, root / "data/prepared" / experiment)


def write_search(root: Path, experiment: str, candidate: str, key: str, trials: int = 3, data: str = "d") -> None:
    folder = root / "search" / experiment / candidate
    folder.mkdir(parents=True, exist_ok=True)
    best = {
        "key": key, "experiment": experiment, "candidate": candidate, "task": "image_classification",
        "family": "cnn", "data": data, "code": "c" * 64, "seed": 0, "threads": 1, "precision": "32-true",
        "parameters": CNN, "trial": 1, "trials": trials, "pruned": 1, "loss": 0.5,
        "score": {"name": "accuracy", "value": 0.9},
    }  # fmt: skip
    write_json(folder / "best.json", best)
    rows = [{"number": n, "state": "PRUNED" if n == 2 else "COMPLETE", "value": 1 / (n + 1), "epochs": 3,
             "generation": 0, "width": 4 * n} for n in range(trials)]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "trials.csv", index=False)
    curves = [{"trial": n, "epoch": epoch, "train_loss": 1 / (epoch + 1), "validation_loss": 1.1 / (epoch + 1)}
              for n in range(trials) for epoch in range(3)]  # fmt: skip
    pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
    pd.DataFrame([{"parameter": "width", "importance": 1.0}]).to_csv(folder / "importances.csv", index=False)
    (folder / "history.png").write_bytes(PNG)
    write_json(root / "timings" / experiment / candidate / "tune.json", {"seconds": 30.0})


def write_model(root: Path, experiment: str, candidate: str, key: str, card: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    from pipeline.tasks import load_task
    from pipeline.tasks.network import build_network

    folder = root / "models" / experiment / candidate
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(int(key, 36) % 1000)
    parameters = {**CNN, **IMAGE_HEAD}
    task = load_task("image_classification", {})
    save_file(build_network(task, "cnn", card, parameters).state_dict(), folder / "model.safetensors")
    repeats = [
        {"seed": seed, "best_epoch": 1, "epochs": 3, "validation": {"loss": 0.4, "accuracy": 0.9}} for seed in (0, 1)
    ]
    write_json(folder / "model.json", {
        "key": key, "experiment": experiment, "candidate": candidate, "task": "image_classification", "family": "cnn",
        "settings": {}, "parameters": parameters, "card": card, "data": card["data"], "code": "c" * 64, "seed": 0,
        "precision": "32-true", "threads": 1, "repeats": repeats, "chosen": 0, "validation": repeats[0]["validation"],
    })  # fmt: skip
    rows = [{"repeat": repeat, "seed": repeat, "epoch": epoch, "step": 5 * epoch, "learning_rate": 0.1,
             "train_loss": 1.0, "validation_loss": 1 / (epoch + 1), "validation_accuracy": 0.9}
            for repeat in range(2) for epoch in range(3)]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
    (folder / "curves.png").write_bytes(PNG)


def predictions_with(right: np.ndarray) -> pd.DataFrame:
    """Image predictions that are right where asked for."""
    labels = np.arange(len(right)) % 3
    predicted = np.where(right, labels, (labels + 1) % 3)
    table = pd.DataFrame({"example": np.arange(len(right)), "label": labels, "predicted": predicted, "confidence": 0.9})
    return table.assign(probability_0=0.3, probability_1=0.3, probability_2=0.4)


def write_evaluation(
    root: Path,
    experiment: str,
    right: dict[str, np.ndarray],
    keys: dict[str, str],
    card: dict[str, Any],
    challenger: str,
) -> None:
    """evaluation/ and metrics/: `right` says for every model (no key: a baseline) which test examples it gets right."""
    models: dict[str, Any] = {}
    for name, hits in right.items():
        folder = root / "evaluation" / experiment / name
        folder.mkdir(parents=True, exist_ok=True)
        predictions_with(hits).to_parquet(folder / "predictions.parquet", index=False)
        (folder / "confusion.png").write_bytes(PNG)
        value = float(hits.mean())
        test = {"accuracy": {"value": value, "low": value - 0.05, "high": value + 0.05}}
        models[name] = {"kind": "baseline", "validation": {"accuracy": value}, "test": test}
        if name in keys:
            _remember(root / "models" / experiment / name / "model.json", hits)
            found = {"kind": "candidate", "family": "cnn", "architecture": "vgg", "key": keys[name]}
            models[name] |= {**found, "parameters": 100, "multiply_adds": 1000, "seeds": {"accuracy": [value, value]}}
    write_json(root / "metrics" / f"{experiment}.json", {
        "experiment": experiment, "task": "image_classification", "score": "accuracy", "maximize": True,
        "data": card["data"], "test_digest": card["digests"]["test"], "confidence": 0.95, "challenger": challenger,
        "models": models, "differences": {},
    })  # fmt: skip


def _remember(description: Path, right: np.ndarray) -> None:
    """Notes in model.json, for `answers_as_told`, which test examples a model shall get right when it is asked."""
    if description.is_file():
        content = json.loads(description.read_text(encoding="utf-8"))
        write_json(description, content | {"right": [bool(hit) for hit in right]})


def answers_as_told(job: dict[str, Any]) -> dict[str, Any]:
    """The job without its requests; their responses are as right as the model.json of the model says."""
    right = json.loads(Path(job["model"], "model.json").read_text(encoding="utf-8")).get("right")
    if not job.get("requests") or right is None:
        return job
    rows = predictions_with(np.array(right))
    answer = pd.DataFrame({"class": [("a", "b", "c")[label] for label in rows["predicted"]], "confidence": 0.9})
    for place, name in enumerate("abc"):
        answer[name] = rows[f"probability_{place}"]
    answer.to_parquet(Path(job["output"], "responses.parquet"))
    return job | {"requests": ""}


def hits(share: float, seed: int = 0, count: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < share


def write_experiment(
    root: Path, experiment: str = "digits", key: str = "aaa", share: float = 0.8, baseline: float = 0.5, seed: int = 0
) -> dict[str, Any]:
    """All folders of an experiment with one candidate `<experiment>-cnn` and one baseline `svc`. Returns the card."""
    card = write_prepared(root, experiment)
    candidate = f"{experiment}-cnn"
    write_search(root, experiment, candidate, f"{key}s", data=card["data"])
    write_model(root, experiment, candidate, key, card)
    right = {candidate: hits(share, seed), "svc": hits(baseline, seed + 1)}
    write_evaluation(root, experiment, right, {candidate: key}, card, candidate)
    return card


def params_for(*experiments: str, uri: str | None = None, candidates: tuple[str, ...] = ("cnn", "rnn")) -> Any:
    """What `register` reads of params.yaml."""
    from types import SimpleNamespace

    from pipeline.params import Gate, Limits, Tracking

    entries = {
        name: SimpleNamespace(description=f"About {name}", candidates=[f"{name}-{family}" for family in candidates])
        for name in experiments
    }
    gate = Gate(
        resamples=1000,
        confidence=0.95,
        margin=0.0,
        limits=Limits(latency_ms=None, megabytes=None, worst_class=None),
    )
    tracking = Tracking(uri=uri, artifacts=None)
    return SimpleNamespace(seed=0, tracking=tracking, gate=gate, gate_of=lambda name: gate, experiments=entries)
