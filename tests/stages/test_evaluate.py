"""Evaluation depends on the threads of params.yaml and not on those of the shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from pipeline.stages.evaluate import _use_threads
_use_threads(1)
import sklearn.linear_model, torch
from threadpoolctl import threadpool_info
print({entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}, torch.get_num_threads())
"""


def test_linear_algebra_has_the_threads_of_params_yaml_whatever_the_shell_says(root: Path) -> None:
    shell = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**os.environ, **shell}, capture_output=True, text=True, check=True)
    assert done.stdout == "{1} 1\n"
