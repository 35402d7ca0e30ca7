"""Before an alias moves: the servable model is loaded and asked in a fresh process, as its users will do it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.registry.trial import TrialFailed

LIMIT = 180.0  # seconds for all of it; a small model takes five
TAG, PASSED = "pipeline.preflight", "passed"  # of a version; or failed and why
SHOWN = 3  # findings in a sentence
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle")


@dataclass(frozen=True)
class Report:
    """What an inspection has found. `asked` counts the requests that were made, each directly, again and over HTTP."""

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
        said = probed(folder, {}, Path(scratch), limit)
    findings = list(said["findings"])
    return Report(not findings, findings, time.monotonic() - started, said["asked"])


def probed(folder: Path, asked: Mapping[str, Any], scratch: Path, limit: float | None) -> dict[str, Any]:
    """What probe.py has written about a servable folder that it was `asked` about. Raises TrialFailed as `inspect`."""
    pickles = sorted(file.name for file in folder.rglob("*") if file.suffix in PICKLES)
    if pickles:
        return {"findings": [f"holds {', '.join(pickles)}: pickle runs whatever code its file holds"], "asked": 0}
    job, output = scratch / "job.json", scratch / "found.json"
    words = {**asked, "folder": str(folder.resolve()), "output": str(output)}
    job.write_text(json.dumps(words), encoding="utf-8")
    script = Path(__file__).with_name("probe.py")
    # -P: the folder of the script must not come first in sys.path, or our statistics.py hides Python's own.
    command = [sys.executable, "-P", str(script), str(job)]
    process = subprocess.Popen(command, cwd=scratch, env=_environment(scratch), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    try:
        said = process.communicate(timeout=limit)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        raise TrialFailed(f"no answer within {limit or 0:.0f} s; run the stage again") from None
    finally:
        _end(process)
    if output.is_file():
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return found
    if process.returncode < 0:
        raise TrialFailed(f"its process was ended by signal {-process.returncode}; run the stage again")
    last = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    return {"findings": [f"its process ended without an answer: {last}"], "asked": 0}


def _environment(scratch: Path) -> dict[str, str]:
    """This one without its addresses and passwords, and with pickle forbidden to MLflow, too."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHONPATH"))}
    own = {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/unused.db",  # loading asks no server; were it to, not the real one
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {**kept, **own}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process with all that it has started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
