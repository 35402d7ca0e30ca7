"""Style transfer: one pass of a network against the optimisation of the pixels, a picture of the recipe's size each."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

from benchmarks.table import Figure
from pipeline.formats.records import StyledPictures
from pipeline.tasks.network import build_network
from pipeline.tasks.style_transfer.baselines import optimised
from pipeline.tasks.style_transfer.task import StyleTransfer

RECIPE = Path(__file__).parents[1] / "recipes" / "style_transfer.yaml"
LEAST = {"cnn": "≥ 50", "rnn": "≥ 10"}  # times as fast as the optimisation


def measure(quick: bool) -> list[Figure]:
    """Random pictures and new weights: time depends on neither.

    One thread each, as in `params.yaml`, and its time on the processor, which neighbours on the machine lengthen least.
    """
    torch.set_num_threads(1)
    recipe = YAML(typ="safe", pure=True).load(RECIPE.read_text(encoding="utf-8"))
    experiment = recipe["experiments"]["style_transfer"]
    settings = experiment["settings"] | ({"iterations": 2} if quick else {})
    size = 32 if quick else experiment["data"]["options"]["size"]
    task, images, card = _task(settings, size)
    judge = task.judge
    assert judge is not None
    slow = _seconds(lambda: optimised(judge, images, settings["iterations"]), 1, warm_up=0)
    figures = [Figure(f"style: optimisation of a picture, {settings['iterations']} iterations: {slow:.1f} s", "")]
    for candidate in recipe["candidates"].values():
        chosen = {name: _first(value) for name, value in candidate["parameters"].items()} | {"window": size}
        network = build_network(task, candidate["family"], card, chosen).eval()
        with torch.inference_mode():
            quick_one = _seconds(lambda: task.infer(network, {"images": images}), 3 if quick else 20, warm_up=2)  # noqa: B023
        said = f"style: {candidate['family']}, {1000 * quick_one:.0f} ms a picture; times as fast as the optimisation"
        figures.append(Figure(said, round(slow / quick_one, 1), LEAST[candidate["family"]]))
    return figures


def _task(settings: dict[str, Any], size: int) -> tuple[StyleTransfer, torch.Tensor, dict[str, Any]]:
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (3, 3, size, size)).astype(np.uint8)
    numbers = np.arange(3)
    parts = {"all": StyledPictures(pictures, numbers, ["a", "b", "c"], [pictures[0]], ["style"], None)}
    task = StyleTransfer(settings)
    prepared = task.prepare(parts, {"validation": 0.3, "test": 0.3}, 0)
    table = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in prepared.tables["test"].items()}
    return task, task.examples(table, prepared.card)["images"], prepared.card


def _first(value: Any) -> Any:
    """The first of several values of a parameter, or the lower end of its range."""
    return value.get("choices", [value.get("low")])[0] if isinstance(value, dict) else value


def _seconds(work: Callable[[], object], repeats: int, warm_up: int) -> float:
    found = []
    for _ in range(warm_up + repeats):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return median(found[warm_up:])
