"""Batches out of tables in memory: whole batches by index, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

POOL = 50  # batches among which examples are sorted by length: enough to waste little, few enough to stay random


class EpochOrder:
    """The order of the examples in an epoch, a function of (seed, epoch) and of nothing that happened before.

    With `lengths` (N,) the examples of one batch are of similar length, so that little of it is padding; of several
    (N, L) the first decides, and the next one among equals. Lightning calls `set_epoch` on whatever a loader offers as
    `sampler`.
    """

    def __init__(self, examples: int, seed: int, lengths: Tensor | None = None, batch_size: int = 1) -> None:
        self.examples = examples
        self.seed = seed
        self.lengths, self.batch_size = lengths, batch_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def indices(self) -> Tensor:
        """Returns a permutation (N,) of the examples."""
        generator = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
        order = torch.randperm(self.examples, generator=generator)
        return order if self.lengths is None else self._grouped(order, self.lengths.cpu(), generator)

    def _grouped(self, order: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """Sorts by length in pools of batches; then shuffles the batches, and puts an incomplete one last."""
        full = len(order) // self.batch_size * self.batch_size
        order, rest = order[:full], order[full:]  # before sorting: what processes cannot share is any, not the longest
        pools = torch.split(order, POOL * self.batch_size)
        batches = torch.cat([_sorted(pool, lengths) for pool in pools]).view(-1, self.batch_size)
        return torch.cat([batches[torch.randperm(len(batches), generator=generator)].flatten(), rest])


def _sorted(pool: Tensor, lengths: Tensor) -> Tensor:
    """Sorts the examples of a pool by their lengths, (N,) or (N, L)."""
    for column in reversed(lengths.view(len(lengths), -1).unbind(1)):
        pool = pool[column[pool].argsort(stable=True)]
    return pool


class Batches:
    """Iterates over dictionaries of tensors whose first dimension counts examples.

    `batch_size` is the global batch: each of `world_size` processes gets its share of every batch. Without an order the
    examples come in order. With one, a last batch that the processes cannot share evenly is cut to what they can,
    and left out after others where a single example each would remain: a batch norm has nothing to compare it with.
    """

    batch_sampler = None  # Lightning asks whatever has a `sampler` for this one too

    def __init__(
        self,
        examples: dict[str, Tensor],
        batch_size: int,
        order: EpochOrder | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(
                f"training.batch_size: found {batch_size}, which {world_size} processes (devices × num_nodes) "
                f"cannot share evenly; use a multiple of {world_size}, "
                f"such as {(batch_size // world_size + 1) * world_size}"
            )
        self.examples = examples
        self.batch_size = batch_size
        self.sampler = order
        self.rank = rank
        self.world_size = world_size
        self.count = len(next(iter(examples.values())))
        self._next = 0  # the batch of the running epoch that comes next
        self._resumed_at = 0

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        if not self.sampler:
            return full + (rest > 0)
        alone = 1 if full and self.batch_size > self.world_size else 0  # one example a process has no batch statistics
        return full + (rest >= (1 + alone) * self.world_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = self.sampler.indices() if self.sampler else None
        first, self._resumed_at = self._resumed_at, 0
        for number in range(first, len(self)):
            self._next = number + 1
            yield self._batch(number, order)
        self._next = 0

    def _batch(self, number: int, order: Tensor | None) -> dict[str, Tensor]:
        start, end = number * self.batch_size, min((number + 1) * self.batch_size, self.count)
        if order is None:
            if self.world_size == 1:
                return {name: tensor[start:end] for name, tensor in self.examples.items()}
            index = torch.arange(start, end)[self.rank :: self.world_size]
        else:
            end -= (end - start) % self.world_size
            index = order[start:end][self.rank :: self.world_size]
        return {name: tensor.index_select(0, index.to(tensor.device)) for name, tensor in self.examples.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the position in the running epoch."""
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues in the next iteration where the saved one was."""
        self._resumed_at = int(state["next"]) % max(len(self), 1)
