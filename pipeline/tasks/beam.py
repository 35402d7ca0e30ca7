"""Beam search: the most likely sequence of tokens, as far as a few guesses at a time can find it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def beam_search(
    following: Callable[[Tensor], Tensor], limits: Tensor, *, beams: int, penalty: float, special: tuple[int, int, int]
) -> Tensor:
    """(N, T) the best tokens found for each example, up to and with its end; then padding.

    `following` gets (N · beams, t) tokens so far and answers (N · beams, V) log probabilities of the next one.
    Sequences of different length are compared by their log probability over length ** penalty (Wu et al. 2016).
    `limits` (N,) are the most tokens that an example may get; `special` are the tokens padding, begin and end.
    """
    padding, begin, end = special
    device, count = limits.device, len(limits)
    tokens = torch.full((count * beams, 1), begin, dtype=torch.long, device=device)
    scores = torch.full((count, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all beams are equal at first: only one may be continued
    lengths = torch.zeros(count, beams, device=device)
    ended = torch.zeros(count, beams, dtype=torch.bool, device=device)
    for step in range(1, int(limits.max()) + 1):
        logits = following(tokens).view(count, beams, -1)  # (N, K, V)
        logits[..., [padding, begin]] = -torch.inf
        last = (step >= limits)[:, None, None]
        only_end = torch.full_like(logits, -torch.inf)
        only_end[..., end] = logits[..., end]
        logits = torch.where(last, only_end, logits)
        stay = torch.full_like(logits, -torch.inf)
        stay[..., padding] = 0.0  # one that has ended stays as it is
        total = scores[:, :, None] + torch.where(ended[:, :, None], stay, logits)
        length = torch.where(ended, lengths, torch.full_like(lengths, step))
        ranked = (total / length[:, :, None] ** penalty).flatten(1)
        chosen = ranked.topk(beams, dim=1).indices  # (N, K)
        beam, token = chosen // logits.shape[2], chosen % logits.shape[2]
        scores = total.flatten(1).gather(1, chosen)
        lengths, ended = length.gather(1, beam), ended.gather(1, beam) | (token == end)
        rows = (torch.arange(count, device=device)[:, None] * beams + beam).flatten()
        tokens = torch.cat([tokens[rows], token.flatten()[:, None]], dim=1)
        if bool(ended.all()):
            break
    best = (scores / lengths**penalty).argmax(1)
    return tokens[torch.arange(count, device=device) * beams + best][:, 1:]
