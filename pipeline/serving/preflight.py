"""Before an alias moves: the servable model is loaded and asked in a fresh process, as its users will do it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.serving.apart import run_script
from pipeline.serving.rehearse import RehearsalFailed

LIMIT = 180.0  # seconds for all of it; a small model takes five
TAG, PASSED = "pipeline.preflight", "passed"  # of a version; or failed and why
SHOWN = 3  # findings in a sentence
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle")
VARIABLES = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Report:
    """Result of an inspection. `asked` counts the requests that were made, each directly, again and over HTTP."""

    passed: bool
    findings: list[str]
    seconds: float
    asked: int = 0

    @property
    def verdict(self) -> str:
        """For the version's tag: passed, or failed and why."""
        more = f"; and {len(self.findings) - SHOWN} more" if len(self.findings) > SHOWN else ""
        return PASSED if self.passed else "failed: " + "; ".join(self.findings[:SHOWN]) + more


def inspect(folder: Path, limit: float = LIMIT) -> Report:
    """Loads and probes a servable folder (with MLmodel) in a fresh Python in which pickle is forbidden.

    Raises TrialFailed where that could not be tried: no answer in time, or the process was killed. It says nothing
    about the model, and the next run tries again.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        outcome = probed(folder, {}, Path(scratch), limit)
    findings = list(outcome["findings"])
    return Report(not findings, findings, time.monotonic() - started, outcome["asked"])


def probed(folder: Path, asked: Mapping[str, Any], scratch: Path, limit: float | None) -> dict[str, Any]:
    """Reads what probe.py has written about a servable folder it was `asked` about. Raises TrialFailed as `inspect`."""
    pickles = sorted(file.name for file in folder.rglob("*") if file.suffix in PICKLES)
    if pickles:
        return {"findings": [f"holds {', '.join(pickles)}: pickle runs whatever code its file holds"], "asked": 0}
    job, output = scratch / "job.json", scratch / "found.json"
    words = {**asked, "folder": str(folder.resolve()), "output": str(output)}
    job.write_text(json.dumps(words), encoding="utf-8")
    # MLflow is asked for no server; were it asked for one, not for the real one.
    own = {**VARIABLES, "MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/unused.db"}
    try:
        done = run_script("probe.py", str(job), limit=limit, **own)
    except subprocess.TimeoutExpired:
        raise RehearsalFailed(f"no answer within {limit or 0:.0f} s; run the stage again") from None
    if output.is_file():
        outcome: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return outcome
    if done.returncode < 0:
        raise RehearsalFailed(f"its process was ended by signal {-done.returncode}; run the stage again")
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {"findings": [f"its process ended without an answer: {last}"], "asked": 0}
