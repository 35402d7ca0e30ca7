"""Wall time of tune and train of digits, both families: our stages against plain scripts that do the same work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.table import Figure

CANDIDATES = ("digits-cnn", "digits-rnn")
OTHERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MLFLOW_TRACKING_URI", "PYTHONPATH")  # of the shell, not of the scripts


def measure(quick: bool) -> list[Figure]:
    """Ours first: the plain scripts try the very parameters that our search proposed, for as many epochs.

    Pruning is off on both sides, and both write to a new sqlite store of MLflow.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy(copy, quick)
        for stage in ("fetch", "prepare"):
            _run(copy, "pipeline", stage, "digits")
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        for name in CANDIDATES:
            seconds["ours"].append(_run(copy, "pipeline", "tune", name) + _run(copy, "pipeline", "train", name))
            seconds["plain"].append(_run(copy, "benchmarks.plain_search", name))
    ours, plain = sum(seconds["ours"]), sum(seconds["plain"])
    each = ", ".join(
        f"{name} {ours:.0f} s and {plain:.0f} s"
        for name, ours, plain in zip(CANDIDATES, seconds["ours"], seconds["plain"], strict=True)
    )
    return [
        Figure(f"search: tune + train, ours and plain: {each}", ""),
        Figure("search: seconds of ours ÷ plain Optuna, Lightning and MLFlowLogger", ours / plain, "≤ 0.75"),
    ]


def _copy(target: Path, quick: bool) -> None:
    """The code and params.yaml without pruning; the runs leave everything they write in there."""
    for package in ("pipeline", "benchmarks"):
        shutil.copytree(package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    yaml = YAML()
    params: Any = yaml.load(Path("params.yaml"))
    params["tracking"] = {"uri": None, "artifacts": None}
    training = params["experiments"]["digits"]["training"]
    training["pruning"] = None
    if quick:
        training |= {"trials": 2, "trial_epochs": 1, "epochs": 1, "repeats": 1}
    yaml.dump(params, target / "params.yaml")


def _run(folder: Path, *module: str) -> float:
    """Seconds of `python -m …` in the copy, with the number of threads that each would take by itself."""
    environment = {name: value for name, value in os.environ.items() if name not in OTHERS}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *module], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"python -m {' '.join(module)}: {done.stderr[-2000:]}")
    seconds = time.perf_counter() - started
    print(f"{' '.join(module)}: {seconds:.1f} s", file=sys.stderr)
    return seconds
