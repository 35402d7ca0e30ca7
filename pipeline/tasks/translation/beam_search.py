"""Beam search: the most likely sequence of tokens, as far as a few guesses at a time can find it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def beam_search(
    following: Callable[[Tensor, Tensor], Tensor],
    limits: Tensor,
    *,
    beams: int,
    penalty: float,
    special: tuple[int, int, int],
) -> Tensor:
    """Returns (N, T) the best tokens found for each example, up to and with its end; then padding.

    `following` gets (M, t) tokens so far and the (M,) examples that they belong to, and answers (M, V) log
    probabilities of the next one. It is not asked about examples all of whose beams have ended.
    Sequences of different length are compared by their log probability over length ** penalty (Wu et al. 2016).
    `limits` (N,) are the most tokens that an example may get; `special` are the tokens padding, begin and end.
    """
    padding, begin, end = special
    device, count = limits.device, len(limits)
    tokens = torch.full((count, beams, 1), begin, dtype=torch.long, device=device)
    scores = torch.full((count, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all beams are equal at first: only one may be continued
    lengths = torch.zeros(count, beams, device=device)
    ended = torch.zeros(count, beams, dtype=torch.bool, device=device)
    for step in range(1, int(limits.max()) + 1):
        alive = (~ended.all(1)).nonzero().squeeze(1)  # (M,) examples
        if not len(alive):
            break
        before = tokens[alive]  # (M, K, t)
        logits = following(before.flatten(0, 1), alive.repeat_interleave(beams)).view(len(alive), beams, -1)
        logits[..., [padding, begin]] = -torch.inf
        last = (step >= limits[alive])[:, None, None]
        only_end = torch.full_like(logits, -torch.inf)
        only_end[..., end] = logits[..., end]
        logits = torch.where(last, only_end, logits)
        stay = torch.full_like(logits, -torch.inf)
        stay[..., padding] = 0.0  # one that has ended stays as it is
        total = scores[alive][:, :, None] + torch.where(ended[alive][:, :, None], stay, logits)
        length = lengths[alive].masked_fill(~ended[alive], step)
        ranked = (total / length[:, :, None] ** penalty).flatten(1)
        chosen = ranked.topk(beams, dim=1).indices  # (M, K)
        beam, token = chosen // logits.shape[2], chosen % logits.shape[2]
        scores[alive] = total.flatten(1).gather(1, chosen).to(scores.dtype)
        lengths[alive] = length.gather(1, beam)
        ended[alive] = ended[alive].gather(1, beam) | (token == end)
        tokens = functional.pad(tokens, (0, 1), value=padding)
        tokens[alive] = torch.cat([before.gather(1, beam[:, :, None].expand_as(before)), token[:, :, None]], dim=2)
    best = (scores / lengths**penalty).argmax(1)
    return tokens[torch.arange(count, device=device), best, 1:]
