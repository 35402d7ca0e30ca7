"""The parts of translation that training needs: networks, losses and what they are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Card
from pipeline.models.encoder import inside
from pipeline.tasks.task import Encoders


class Embedding(nn.Module):
    """Tokens as vectors, with their positions."""

    def __init__(self, vocabulary: int, padding: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, channels, padding_idx=padding)
        nn.init.normal_(self.table.weight, std=channels**-0.5)
        self.scale = channels**0.5
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps (B, T) to (B, E, T)."""
        vectors = self.table(tokens) * self.scale
        vectors = vectors + positions(tokens.shape[1], vectors.shape[2], tokens.device)
        dropped: Tensor = self.dropout(vectors)
        return dropped.transpose(1, 2)


class Attention(nn.Module):
    """Adds to each step what it finds in a memory (scaled dot products of several heads, Vaswani et al. 2017)."""

    def __init__(self, channels: int, memory_channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_and_value = nn.Linear(memory_channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def remember(self, features: Tensor) -> Tensor:
        """Maps (B, S, M), what can be found, to (B, S, 2 C), its keys and values, which stay the same for all steps."""
        return self.key_and_value(features)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, remembered: Tensor, known: Tensor) -> Tensor:
        """Maps (B, T, C), what is remembered (B, S, 2 C) and (B, S) bool, where it is not padding, to (B, T, C)."""
        query = self._split(self.query(x))
        key, value = map(self._split, remembered.chunk(2, dim=2))
        with torch.autocast(x.device.type, enabled=False):  # in bf16 this took six times as long on a CPU
            query, key, value = query.float(), key.float(), value.float()
            attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=known[:, None, None, :])
        normalised: Tensor = self.norm(x + self.out(attended.transpose(1, 2).flatten(2)))
        return normalised

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, T, C / heads)


def positions(steps: int, channels: int, device: torch.device) -> Tensor:
    """Builds (steps, channels) sines and cosines of growing wavelength, for any length (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, channels, 2, device=device) * (-math.log(10_000.0) / channels))
    angles = torch.arange(steps, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :channels]


class Translator(nn.Module):
    """Reads a sentence and predicts for each position what comes next."""

    def __init__(
        self, encoders: Encoders, card: Card, *, embedding: int, heads: int, hops: int, embedding_dropout: float,
        label_smoothing: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.label_smoothing = label_smoothing
        self.padding, self.begin, self.end = (card["special"][name] for name in ("padding", "begin", "end"))
        self.source = Embedding(card["source_vocabulary"], self.padding, embedding, embedding_dropout)
        self.target = Embedding(card["target_vocabulary"], self.padding, embedding, embedding_dropout)
        self.reader: Any = encoders(embedding)
        writers: list[Any] = [encoders(embedding, causal=True)]
        width = writers[0].out_channels
        writers += [encoders(width, causal=True) for _ in range(hops - 1)]
        if width % heads:
            raise ValueError(f"heads is {heads}, allowed is a divisor of the {width} channels of the features")
        if writers[0].stride != 1:
            raise ValueError(f"patch is {writers[0].stride}, allowed is 1: a translation is written token by token")
        self.writers = nn.ModuleList(writers)
        self.attentions: Any = nn.ModuleList(Attention(width, self.reader.out_channels, heads) for _ in writers)
        self.narrow = nn.Linear(width, embedding)
        self.bias = nn.Parameter(torch.zeros(card["target_vocabulary"]))

    def read(self, source: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps (B, S) tokens and (B,) lengths to each hop's memory (B, S, 2 C) and where it is not padding (B, S)."""
        features = self.reader(self.source(source), lengths).transpose(1, 2)  # (B, S, M)
        known = inside(lengths, source.shape[1])
        assert known is not None
        return [attention.remember(features) for attention in self.attentions], known

    def write(self, tokens: Tensor, memory: Sequence[Tensor], known: Tensor) -> Tensor:
        """Maps (B, T) tokens, beginning with `begin`, and what `read` returned to (B, T, C) features of the next."""
        x = self.target(tokens)
        for writer, attention, remembered in zip(self.writers, self.attentions, memory, strict=True):
            x = attention(writer(x).transpose(1, 2), remembered, known).transpose(1, 2)
        features: Tensor = x.transpose(1, 2)
        return features

    def logits(self, written: Tensor) -> Tensor:
        """Maps (…, C) of `write` to (…, V) of the next token: much of the work, so only where it is needed."""
        return functional.linear(self.narrow(written), self.target.table.weight, self.bias)
