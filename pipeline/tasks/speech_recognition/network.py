"""The parts of speech recognition that training needs: networks, losses and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Card
from pipeline.models.encoder import Encoder

FULL = 32_768  # the sample that represents 1.0


FLOOR = 1e-6  # of the energy of a band: what 16 bits leave of silence


class LogMel(nn.Module):
    """The logarithm of the energy in bands that are evenly wide on the mel scale (Davis and Mermelstein 1980)."""

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int, window: float, hop: float, bands: int) -> None:
        super().__init__()  # window and hop are in seconds
        self.hop, length = max(round(hop * sample_rate), 1), max(round(window * sample_rate), 2)
        self.size = 1 << (length - 1).bit_length()
        while not (filters := mel_filters(sample_rate, self.size, bands)).any(1).all():
            self.size *= 2  # a band lay between two frequencies of the transform; a longer one has more
        self.register_buffer("window", torch.hann_window(length), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def frames(self, lengths: Tensor) -> Tensor:
        """Turns numbers of samples into numbers of frames: one is centred on every hop, also on the first sample."""
        return lengths // self.hop + 1

    def forward(self, samples: Tensor) -> Tensor:
        """Maps (B, S) from -1 to 1 to (B, bands, frames); beyond both ends there is silence."""
        padded, window = functional.pad(samples, (self.size // 2, self.size // 2)), self.window
        spectrum = torch.stft(padded, self.size, self.hop, len(window), window, center=False, return_complex=True)
        return (self.filters @ spectrum.abs().square()).add(FLOOR).log()


def mel_filters(sample_rate: int, size: int, bands: int) -> Tensor:
    """Builds (bands, size / 2 + 1) triangles over a transform's frequencies; each ends at the middle of the next."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), bands + 2) / 2595) - 1)  # Hz
    frequencies = np.linspace(0, sample_rate / 2, size // 2 + 1)
    rise = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return torch.from_numpy(np.maximum(np.minimum(rise, fall), 0)).float()


def known_steps(lengths: Tensor, steps: int) -> Tensor:
    """Returns (B, steps) bool, True where a step belongs to its recording."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


class CTCNetwork(nn.Module):
    """Maps log-mel features and ones (by which a step keeps its size where it is normalised), encoded, to logits."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        encoder: Encoder,
        ear: LogMel,
        by_recording: bool,
        card: Card,
        *,
        stack: int,
        augmentation: Mapping[str, float],
    ) -> None:
        super().__init__()
        self.encoder, self.stack, self.augmentation = encoder, stack, augmentation
        self.ear = ear
        self.by_recording = by_recording
        self.head = nn.Linear(encoder.out_channels, len(card["alphabet"]) + 1)
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(card[name], dtype=torch.float32)[:, None])

    def steps(self, lengths: Tensor) -> Tensor:
        """Turns numbers of samples into numbers of steps that name a token."""
        return -(-self.ear.frames(lengths) // (self.stack * self.encoder.stride))

    def hear(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Maps samples (B, S), 16 bits or -1 to 1, to normalised features (B, bands, T), zero behind the recordings."""
        features, frames = self.ear(samples / (1 if samples.is_floating_point() else FULL)), self.ear.frames(lengths)
        known, mean = known_steps(frames, features.shape[2])[:, None], self.mean
        if self.by_recording:
            mean = (features * known).sum(2, keepdim=True) / frames[:, None, None]
        return (features - mean) / self.deviation * known  # type: ignore[no-any-return]

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Maps (B, bands, T) and the lengths (B,) of the recordings in samples to (B, T', tokens), zero behind them."""
        ones = known_steps(self.ear.frames(lengths), features.shape[2])[:, None].to(features.dtype)
        features = functional.pad(torch.cat([features, ones], dim=1), (0, -features.shape[2] % self.stack))
        stacked = features.reshape(*features.shape[:2], -1, self.stack).transpose(2, 3)
        stacked = stacked.flatten(1, 2)  # (B, (bands + 1) · stack, T / stack)
        features = self.encoder(stacked, (self.ear.frames(lengths) + self.stack - 1) // self.stack)
        logits: Tensor = self.head(features.transpose(1, 2)).float()
        return logits * known_steps(self.steps(lengths), logits.shape[1])[..., None]
