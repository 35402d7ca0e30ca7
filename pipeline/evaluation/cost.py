"""The measured time of an answer; `models/size.py` counts parameters and multiply-adds."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from pipeline.data.tables import Batch
from pipeline.tasks.task import Task

WARM_UP, MEASURED = 10, 100


@torch.inference_mode()
def latency(task: Task, network: nn.Module, example: Batch) -> dict[str, float]:
    """Milliseconds that one example takes: median and 95th percentile."""
    seconds = []
    for _ in range(WARM_UP + MEASURED):
        started = time.perf_counter()
        task.infer(network, example)
        seconds.append(time.perf_counter() - started)
    half, most = np.percentile(seconds[WARM_UP:], [50, 95]) * 1000
    return {"p50_ms": round(float(half), 4), "p95_ms": round(float(most), 4), "batch": 1}
