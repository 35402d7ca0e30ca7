"""A process answers the first time what it answers ever after, also on several threads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.data.tables import read_card
from pipeline.models import load_family
from pipeline.models.kernels import FUNCTIONS, settle_kernels
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network


class Calls(TorchDispatchMode):
    """Notes (operator, type of number, how many of them) of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[str, torch.dtype, int]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = function(*args, **(kwargs or {}))
        if args and isinstance(args[0], torch.Tensor):
            self.noted.append((function.overloadpacket.__name__, args[0].dtype, args[0].numel()))
        return answer


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """As in a process that has not settled them yet."""
    settle_kernels.cache_clear()
    yield
    settle_kernels.cache_clear()


def test_functions_are_those_that_this_pytorch_leaves_to_mkl() -> None:
    header = Path(torch.__file__).with_name("include") / "ATen/cpu/vml.h"
    handed = re.findall(r"^IMPLEMENT_VML_MKL\((\w+), \w+\)", header.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(FUNCTIONS) == sorted(handed)


def test_each_is_called_on_one_number_of_either_precision_and_once_in_a_process() -> None:
    state = torch.get_rng_state()
    with torch.device("meta"), Calls() as calls:
        settle_kernels()
        settle_kernels()
    called = [call for call in calls.noted if call[0] in FUNCTIONS]
    assert sorted(called, key=str) == sorted(
        ((name, dtype, 1) for name in FUNCTIONS for dtype in (torch.float32, torch.float64)), key=str
    )
    assert torch.equal(torch.get_rng_state(), state)  # what is drawn afterwards stays the same


def test_a_network_is_built_after_they_are_settled(prepared: Path) -> None:
    """Trainings, evaluations and servers have no other way to a network."""
    task = load_task("image_generation", {"levels": 16, "samples": 20})
    parameters = {**load_family("cnn").EXAMPLE, "architecture": "resnet", "likelihood": "mixture", "components": 2}
    card = read_card(prepared / "data/prepared/stripes")
    with Calls() as calls:
        build_network(task, "cnn", card, parameters | {"label_channels": 2, "head_width": 8})
    used = [(name, size) for name, _, size in calls.noted]
    first = {name: used.index((name, size)) for name, size in reversed(used)}
    assert set(FUNCTIONS) <= set(first)
    assert all(used[place][1] == 1 for name, place in first.items() if name in FUNCTIONS)
