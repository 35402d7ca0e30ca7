"""The threads of params.yaml, on which the last digits of a sum depend: in every process, whatever the shell sets."""

from __future__ import annotations

import os

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def pass_on(threads: int) -> None:
    """Fixes the threads of libraries that are loaded from now on, here and in all processes that are started."""
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))


def use_threads(threads: int) -> None:
    """Fixes the threads of PyTorch, NumPy and SciPy in this process; every stage that computes begins with it."""
    import scipy.linalg  # noqa: F401  # brings a library of its own, which could not be limited later
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
