"""The longest chain of dependent operations in a network: what no number of processors can shorten.

The rule: one operator of PyTorch is one operation, however large its tensors are, as all its numbers can be computed at
once. An operator that reads what others have written comes after all of them. Views are not operations, as they write
nothing. A fused recurrent operator is taken apart into its steps, and no operator that is counted here may go along
the steps by itself (a cumulative sum would).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Chain(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows how many operations deep every number in memory is.

    Attributes:
        longest: the depth of the deepest so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.longest = 0
        self.depths: dict[int, Tensor] = {}  # address of a piece of memory → the depth of each of its numbers
        self.kept: list[Tensor] = []  # all results, so that no address occurs twice

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if "cum" in str(func):
            raise ValueError(f"{func} goes along the steps by itself, so that its chain cannot be counted")
        sources = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor) and tensor.numel()]
        depth = 1 + max((self.depth(tensor) for tensor in sources), default=-1)
        addresses = {_address(tensor) for tensor in sources}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.numel():
                self.kept.append(tensor)
                if func._schema.is_mutable or _address(tensor) not in addresses:  # else a view
                    self.write(tensor, depth)
        return result

    def depth(self, tensor: Tensor) -> int:
        known = self.depths.get(_address(tensor))
        return 0 if known is None else int(_place(known, tensor).max())

    def write(self, tensor: Tensor, depth: int) -> None:
        numbers = tensor.untyped_storage().nbytes() // tensor.element_size()
        known = self.depths.setdefault(_address(tensor), torch.zeros(numbers, dtype=torch.int32))
        _place(known, tensor).fill_(depth)
        self.longest = max(self.longest, depth)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _place(known: Tensor, tensor: Tensor) -> Tensor:
    """Returns the depths of the numbers that a tensor shows of its memory."""
    return known.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


@torch.no_grad()
def longest_chain(network: nn.Module, x: Tensor) -> int:
    """Counts the operations of the longest chain from an input to the answer of a network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False), Chain() as chain:
            network(x)
    longest: int = chain.longest
    return longest


def exponent(lengths: Sequence[int], chains: Sequence[int]) -> float:
    """Fits the slope of log chain over log T: 1 where the chain grows as T does, 0 where it does not grow."""
    return float(np.polyfit(np.log(lengths), np.log(chains), 1)[0])
