"""minGRU (Feng et al., 2024): a gated recurrent cell whose gates do not see the state.

The gate z and the candidate c of a step depend on the input of that step alone, so that

    h[t] = (1 - z[t]) * h[t - 1] + z[t] * c[t]

is linear in the state. Linear steps combine, (k1, f1) then (k2, f2) is (k1 * k2, k2 * f1 + f2), in any grouping: all
states follow in log2 T rounds, and each round doubles how many steps are combined. All factors 1 - z lie between 0 and
1, so that nothing overflows and no logarithms are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.differences.networks import Reader, rnn
from pipeline.models.rnn.encoder import RNN

LAYERS = 2  # the gates of a single layer see their own step and nothing before it
HIGHEST = 256  # hidden size up to which `matched_hidden` looks


class LinearScan(torch.autograd.Function):
    """h[t] = kept[t] * h[t - 1] + fresh[t] from h = 0, over (N, T, H), in log2 T rounds.

    The gradient is such a scan from the last step to the first; autograd's own would keep every round.
    """

    @staticmethod
    def forward(context: Any, kept: Tensor, fresh: Tensor) -> Tensor:
        states = doubled(kept[:, 1:], fresh)
        context.save_for_backward(kept, states)
        return states

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, Tensor]:
        kept, states = context.saved_tensors
        of_fresh = doubled(kept[:, 1:], slopes[0], last_first=True)
        of_kept = functional.pad(of_fresh[:, 1:] * states[:, :-1], (0, 0, 1, 0))
        return of_kept, of_fresh


def doubled(between: Tensor, fresh: Tensor, last_first: bool = False) -> Tensor:
    """Computes all states of (N, T, H), without a gradient, as in Hillis and Steele (1986).

    Args:
        between: (N, T - 1, H) what is kept of a state on its way to the next step.
        fresh: (N, T, H) what every step adds.
        last_first: whether the first step is the last one.
    """
    states, reach = fresh.clone(), 1
    while reach < states.shape[1]:
        early, late = slice(None, -reach), slice(reach, None)
        to, source = (early, late) if last_first else (late, early)
        states[:, to].add_(between * states[:, source])
        between = between[:, late] * between[:, early]  # over twice as many steps, for those that lie so far in
        reach *= 2
    return states


def stepped(kept: Tensor, fresh: Tensor) -> Tensor:
    """Computes the same states one step after the other, as a reference for the scan."""
    state = torch.zeros_like(fresh[:, 0])
    states = []
    for step in range(fresh.shape[1]):
        state = kept[:, step] * state + fresh[:, step]
        states.append(state)
    return torch.stack(states, 1)


def scanned(kept: Tensor, fresh: Tensor) -> Tensor:
    """Computes all states, with a gradient."""
    states: Tensor = LinearScan.apply(kept, fresh)  # type: ignore[no-untyped-call]
    return states


class MinGRU(nn.Module):
    """A layer with the call of `torch.nn.GRU(input_size, hidden_size, batch_first=True)`, forward only.

    Its parameters have the names of torch's, gate first, so that `initialise` of `models/rnn/scans.py` knows them;
    there is no weight_hh, as nothing but the update itself sees the state.

    Attributes:
        states: how the states are computed: `scanned` or `stepped`.
    """

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool = True) -> None:
        super().__init__()
        if not batch_first:
            raise ValueError("batch_first must be True, got False: MinGRU takes (N, T, C)")
        self.hidden_size = hidden_size
        self.states: Callable[[Tensor, Tensor], Tensor] = scanned
        self.weight_ih_l0 = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(2 * hidden_size))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps (N, T, C) and the state (1, N, H) that an earlier call has left to (N, T, H) and the last state."""
        # Two products, not one that is cut in two: on a CPU the halves of a cut are slow to read.
        gate, candidate = (
            functional.linear(x, weight, bias)
            for weight, bias in zip(self.weight_ih_l0.chunk(2), self.bias_ih_l0.chunk(2), strict=True)
        )
        kept = torch.sigmoid(-gate)
        fresh = torch.addcmul(candidate, kept, candidate, value=-1)  # z * c
        if state is not None:
            first = fresh[:, :1] + kept[:, :1] * state.transpose(0, 1)
            fresh = torch.cat([first, fresh[:, 1:]], 1)
        states = self.states(kept, fresh)
        return states, states[:, -1][None]


class MinGRUEncoder(RNN):
    """The recurrent family with this cell as well."""

    ARCHITECTURES: ClassVar[Mapping[str, Any]] = {**RNN.ARCHITECTURES, "mingru": MinGRU}


def made_mingru(seed: int, hidden: int, in_channels: int, outputs: int) -> Reader:
    """Makes a causal network over sequences whose weights follow from the seed alone, as `networks.made`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Reader(rnn("gru", hidden=hidden, layers=LAYERS), in_channels, outputs)
        network.encoder = MinGRUEncoder(
            in_channels, 1, True,
            architecture="mingru", hidden=hidden, layers=LAYERS, patch=1, dropout=0.0, forget_bias=1.0,
        )  # fmt: skip
    return network


def matched_hidden(target: int, in_channels: int, outputs: int) -> int:
    """Finds the hidden size with which a network comes nearest to `target` parameters."""

    def size(hidden: int) -> int:
        layers = sum(2 * hidden * (width + 1) + 2 * hidden for width in [in_channels] + [hidden] * (LAYERS - 1))
        return layers + outputs * (hidden + 1)

    return min(range(4, HIGHEST + 1), key=lambda hidden: abs(size(hidden) - target))


def step_by_step(network: nn.Module) -> None:
    """Has all cells of a network compute their states by the loop instead of the scan."""
    for module in network.modules():
        if isinstance(module, MinGRU):
            module.states = stepped


__all__ = ["MinGRU", "MinGRUEncoder", "made_mingru", "matched_hidden", "scanned", "step_by_step", "stepped"]
