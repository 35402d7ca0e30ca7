"""What an answer costs: parameters, multiply-adds and measured time."""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.tables import Batch
from pipeline.tasks.task import Task

WARM_UP, MEASURED = 10, 100


def parameter_count(network: nn.Module) -> int:
    """Trained numbers."""
    return sum(weight.numel() for weight in network.parameters())


@torch.no_grad()
def multiply_adds(task: Task, network: nn.Module, example: Batch) -> int:
    """Multiply-adds of one example, counted by torch's operator counter.

    oneDNN's fused recurrent operators are unknown to the counter, so that they are taken apart for it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TF32 on GPUs that are not there, said whenever oneDNN is switched
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            task.infer(network, example)
    return int(counter.get_total_flops()) // 2


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
