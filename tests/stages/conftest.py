"""The files of two experiments as the stages leave them, for the tests of those that show them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PARAMS = """
seed: 0
threads: 1
workers: 2
checkpoint_steps: 5
launcher: null
study: {storage: null}
trainer: {accelerator: auto, devices: 1, num_nodes: 1, strategy: auto, precision: auto, options: {}}
tracking: {uri: null, artifacts: null}
evaluation: {resamples: 2000, confidence: 0.95}
gate:
  {resamples: 10000, confidence: 0.95, margin: 0.0, limits: {latency_ms: null, megabytes: null, worst_class: null}}
downloads:
  digits:
    digits.csv: {url: "file:///digits.csv", sha256: "%s"}
experiments:
  digits:
    candidates: [digits-cnn, digits-rnn]
    description: Handwritten digits, 8×8 grey values
    task: image_classification
    data:
      path: data/raw/digits
      format: pixel_table
      options: {height: 8, width: 8, channels: 1, maximum: 16}
      parts: {all: {file: digits.csv}}
    split: {validation: 0.2, test: 0.2}
    settings: {}
    training: &budget
      batch_size: 64
      trials: 10
      generation: 4
      trial_epochs: 15
      pruning: {after_epochs: 5, quantile: 0.5}
      epochs: 30
      patience: 10
      repeats: 2
  co2:
    candidates: [co2-cnn, co2-rnn]
    description: Weekly CO2 at Mauna Loa, ppm
    task: forecasting
    data:
      path: data/raw/co2
      format: csv_series
      options: {date: date, date_format: "%%Y%%m%%d", columns: [co2]}
      parts: {all: {file: co2.csv}}
    split: {validation: 0.15, test: 0.15}
    settings: {lookback: 104, horizon: 26, season: 52, missing: seasonal, interval: 0.8, score: mae, units: own}
    training: *budget
candidates:
  digits-cnn: &cnn
    experiment: digits
    task: image_classification
    family: cnn
    parameters:
      architecture: {choices: [vgg, googlenet, resnet]}
      width: {choices: [16, 32]}
      learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}
      dropout: 0.1
  digits-rnn: &rnn
    experiment: digits
    task: image_classification
    family: rnn
    parameters:
      architecture: {choices: [rnn, lstm, gru]}
      hidden: {choices: [32, 64]}
      learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}
  co2-cnn: {<<: *cnn, experiment: co2, task: forecasting}
  co2-rnn: {<<: *rnn, experiment: co2, task: forecasting}
""" % ("0" * 64)

# name: kind, family, architecture, parameters, multiply-adds, validation, (test, low, high), seeds
DIGITS = {
    "digits-cnn": ("candidate", "cnn", "resnet", 77_130, 1_845_000, 0.9861, (0.9833, 0.9640, 0.9924), [0.9833, 0.9806]),
    "digits-rnn": ("candidate", "rnn", "gru", 41_994, 612_000, 0.9667, (0.9556, 0.9289, 0.9725), [0.9556, 0.9500]),
    "svc": ("baseline", None, None, None, None, 0.9861, (0.9861, 0.9677, 0.9941), []),
}
DIGITS_PAIRS = {("digits-cnn", "digits-rnn"): (0.0278, 0.0083, 0.0500, 0.0063)} | {
    ("digits-cnn", "svc"): (-0.0028, -0.0167, 0.0111, 0.99),
    ("digits-rnn", "svc"): (-0.0305, -0.0528, -0.0111, 0.0017),
}
CO2 = {
    "co2-cnn": ("candidate", "cnn", "resnet", 28_500, 1_210_000, 0.412, (0.439, 0.371, 0.526), [0.439, 0.447]),
    "co2-rnn": ("candidate", "rnn", "lstm", 19_300, 940_000, 0.398, (0.421, 0.352, 0.507), [0.421, 0.455]),
    "ridge": ("baseline", None, None, None, None, 0.48, (0.521, 0.448, 0.611), []),
    "seasonal_naive": ("baseline", None, None, None, None, 1.32, (1.41, 1.21, 1.64), []),
}
CO2_PAIRS = {
    ("co2-cnn", "co2-rnn"): (0.018, -0.021, 0.058, 0.37),
    ("co2-cnn", "ridge"): (-0.082, -0.131, -0.029, 0.004),
} | {
    ("co2-rnn", "ridge"): (-0.100, -0.152, -0.044, 0.0004),
    ("co2-rnn", "seasonal_naive"): (-0.989, -1.204, -0.781, 0.0001),
}


def metrics(name: str, models: dict[str, Any], pairs: dict[Any, Any], *, score: str, maximize: bool) -> dict[str, Any]:
    entries = {}
    for model, (kind, family, architecture, weights, adds, validation, (value, low, high), seeds) in models.items():
        entries[model] = {
            "kind": kind,
            "family": family,
            "architecture": architecture,
            "parameters": weights,
            "multiply_adds": adds,
            "validation": {score: validation},
            "test": {
                score: {"value": value, "low": low, "high": high},
                "other_f1": {"value": 0.5, "low": None, "high": None},
            },
            "seeds": {score: seeds},
            "key": f"{model}-key",
        }
    return {
        "experiment": name,
        "task": "any",
        "score": score,
        "maximize": maximize,
        "test_digest": "t" * 64,
        "data": "d" * 64,
        "confidence": 0.95,
        "challenger": next(iter(models)) if maximize else "co2-rnn",
        "models": entries,
        "differences": {
            f"{a} − {b}": {"a": a, "b": b, "score": score, "difference": gap, "low": low, "high": high}
            | {"p_value": p, "method": "paired bootstrap"}
            for (a, b), (gap, low, high, p) in pairs.items()
        },
    }  # fmt: skip


CARDS = {
    "digits": {
        "shape": "grid",
        "counts": {"train": 1077, "validation": 360, "test": 360},
        "split": {"kind": "stratified", "seed": 0, "detail": "shares of the part all, drawn class by class"},
        "classes": [str(n) for n in range(10)],
        "class_counts": {"train": {str(n): 107 for n in range(10)}, "test": {str(n): 36 for n in range(10)}},
        "channels": 1,
        "height": 8,
        "width": 8,
        "maximum": 16,
        "warnings": [],
        "data": "d" * 64,
    },
    "co2": {
        "shape": "sequence",
        "counts": {"train": 1598, "validation": 342, "test": 342},
        "split": {"kind": "time", "seed": None, "detail": "the last rows of the part all"},
        "columns": ["co2"],
        "start": {"train": "1958-03-29T00:00:00", "validation": "1988-11-12T00:00:00", "test": "1995-06-03T00:00:00"},
        "end": {"train": "1988-11-05T00:00:00", "validation": "1995-05-27T00:00:00", "test": "2001-12-29T00:00:00"},
        "lookback": 104,
        "horizon": 26,
        "season": 52,
        "missing_rule": "seasonal",
        "missing": {"train": {"co2": 59}, "validation": {"co2": 0}, "test": {"co2": 0}},
        "warnings": ["column co2 has 59 missing values in train"],
        "data": "d" * 64,
    },
}  # fmt: skip
DECISIONS = {
    "digits": {
        "promoted": True,
        "reason": "There was no champion yet. Not shown to differ from the baseline svc: −0.003 (−0.017 to +0.011).",
        "evidence": {},
        "against": None,
    },
    "co2": {
        "promoted": False,
        "reason": "The gain over version 3 is +0.004 (−0.010 to +0.018) in MAE: not shown to differ.",
        "evidence": {},
        "against": "version 3",
    },
}


def write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")


def picture(path: Path) -> None:
    """A PNG of one grey pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_candidate(root: Path, experiment: str, name: str, entry: Any, draw: Callable[[Path], None]) -> None:
    _, family, architecture, *_, validation, _, seeds = entry
    parameters = {"architecture": architecture, "learning_rate": 0.003512345}
    parameters |= {"width": 32, "dropout": 0.1} if family == "cnn" else {"hidden": 64}
    key = f"{name}-key"
    best = {"key": "s" * 64, "trials": 10, "pruned": 3, "parameters": parameters, "family": family}
    write_json(root / "search" / experiment / name / "best.json", best)
    trials = "number,state,value\n0,COMPLETE,0.9\n1,PRUNED,\n2,FAIL,\n"
    (root / "search" / experiment / name / "trials.csv").write_text(trials, encoding="utf-8")
    repeats = [
        {
            "seed": seed,
            "best_epoch": 21 - seed,
            "epochs": 30,
            "validation": {"loss": 0.05 + seed / 100, "score": validation},
        }
        for seed in range(len(seeds))
    ]
    model = {"key": key, "parameters": parameters, "repeats": repeats, "chosen": 0, "seed": 0, "precision": "32-true"}
    write_json(root / "models" / experiment / name / "model.json", model | {"threads": 1, "validation": {}})
    write_json(root / "timings" / experiment / name / "tune.json", {"seconds": 94.2 if family == "cnn" else 131.0})
    write_json(root / "timings" / experiment / name / "train.json", {"seconds": 21.9 if family == "cnn" else 33.4})
    write_json(root / "timings" / experiment / name / "latency.json", {"p50_ms": 1.234, "p95_ms": 1.91, "batch": 1})
    draw(root / "models" / experiment / name / "curves.png")
    for title in ("history", "parallel", "importances"):
        draw(root / "search" / experiment / name / f"{title}.png")


def write_results(root: Path, draw: Callable[[Path], None] = picture) -> None:
    """All files of two experiments as the stages would leave them."""
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    found = {
        "digits": metrics("digits", DIGITS, DIGITS_PAIRS, score="accuracy", maximize=True),
        "co2": metrics("co2", CO2, CO2_PAIRS, score="mae", maximize=False),
    }
    for experiment, models in (("digits", DIGITS), ("co2", CO2)):
        write_json(root / "metrics" / f"{experiment}.json", found[experiment])
        write_json(root / "data" / "prepared" / experiment / "card.json", CARDS[experiment])
        for name, entry in models.items():
            for title in ("confusion", "mistakes") if experiment == "digits" else ("forecasts", "error_by_step"):
                draw(root / "evaluation" / experiment / name / f"{title}.png")
            if entry[0] == "candidate":
                write_candidate(root, experiment, name, entry, draw)
    registry = {
        name: {
            "model": name,
            "champion": {"version": 1, "candidate": "digits-cnn", "key": "digits-cnn-key"}
            if name == "digits"
            else {"version": 3, "candidate": "co2-rnn", "key": "an-older-one"},
            "challenger": {
                "version": 4,
                "candidate": found[name]["challenger"],
                "key": f"{found[name]['challenger']}-key",
            },
            "decision": DECISIONS[name],
            "versions": 4,
            "sent": [],
            "pending": [],
        }
        for name in found
    }
    write_json(root / "reports" / "registry.json", {"tracking": "sqlite", "experiments": registry})


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with all results, without Git and without a tracking server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path)
    return tmp_path
