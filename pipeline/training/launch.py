"""One training in several processes: which of them this is, and how a launcher such as torchrun starts them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys

from pipeline.training.signals import Preempted

LAUNCHED = "PIPELINE_LAUNCHED"  # an environment variable: set in the processes that `launch` has started


def is_first_process() -> bool:
    """Whether this process is the one of a distributed training that writes results."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((os.environ[name] for name in names if name in os.environ), "0") == "0"


def is_launched() -> bool:
    """Whether the stage was started by `launch` and is watched, and locked, by that process."""
    return LAUNCHED in os.environ


def launch(launcher: str, stage: str, name: str) -> None:
    """Runs a stage in the processes that `launcher` of params.yaml starts, and waits until all have ended.

    The launcher gets `-m pipeline STAGE NAME`: it is torchrun with its options, or any other with `python` as its last
    word. SIGTERM is passed on, so that every process saves. Raises ValueError where the launcher is not there or ends
    with an error.
    """
    words = shlex.split(launcher)
    try:
        process = subprocess.Popen([*words, "-m", "pipeline", stage, name], env={**os.environ, LAUNCHED: "1"})
    except (FileNotFoundError, PermissionError) as error:
        raise ValueError(f"launcher: {words[0]} cannot be started ({error.strerror}); install it or use null") from None
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code in (128 + signal.SIGTERM, -signal.SIGTERM):
        raise Preempted
    if code:
        print(file=sys.stderr)
        raise ValueError(f"launcher: `{launcher}` ended with exit code {code}; what it printed stands above this line")
