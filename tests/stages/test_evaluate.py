"""Stages depend on the threads of params.yaml and not on those of the shell, and so do the processes they start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
from pipeline.data.threads import use_threads
use_threads(1)
import sklearn.linear_model, torch
from threadpoolctl import threadpool_info
print({entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}, torch.get_num_threads())
"""


def test_linear_algebra_has_the_threads_of_params_yaml_whatever_the_shell_says(root: Path) -> None:
    shell = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**os.environ, **shell}, capture_output=True, text=True, check=True)
    assert done.stdout == "{1} 1\n"


def test_processes_that_a_command_starts_have_the_threads_of_params_yaml(
    tiny: dict[str, Any], save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.__main__ import main
    from pipeline.data.threads import VARIABLES

    tiny["threads"] = 3
    save(tiny, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    told: dict[str, str] = {}
    monkeypatch.setattr("pipeline.stages.register.main", lambda *_: told.update({n: os.environ[n] for n in VARIABLES}))
    assert main(["register"]) == 0
    assert told == dict.fromkeys(VARIABLES, "3")
