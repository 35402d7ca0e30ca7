"""The parts of forecasting that training needs: networks, losses and what they are made of."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Card
from pipeline.tasks.task import Encoders

Reference = Literal["last", "seasonal"]


Series = Literal["together", "alone"]


Point = Literal["median", "mean"]


Decoder = Literal["direct", "segments"]


class Forecaster(nn.Module):
    """Corrects a naive forecast by what an encoder and a linear path see in the window.

    The linear path next to the network keeps the forecast sensitive to the scale of the input (LSTNet, Lai et al.
    2018). Everything is relative to the last value of the window, so that a trend does not leave the known range.
    Series are read together, or `alone`: each by itself, with the same weights for all, and `segment` steps at once
    (Nie et al. 2023). Encoders may normalise each step by itself: alone, a series has an additional channel of ones,
    or it would lose its size. The decoder is one `direct` layer on the last step for all of the horizon, or continues
    in `segments`: learned steps that ask for one segment each follow the window (SegRNN's decoder, Lin et al. 2023).
    """

    quantiles: Tensor
    spread: Tensor

    def __init__(
        self, encoders: Encoders, card: Card, quantiles: list[float], *, reference: Reference, linear: bool,
        alone: bool, segment: int, decoder: Decoder, point: Point,
    ) -> None:  # fmt: skip
        super().__init__()
        self.lookback, self.horizon, self.season = card["lookback"], card["horizon"], card["season"]
        self.reference, self.alone, self.segment, self.point = reference, alone, segment, point
        self.series = 1 if alone else len(card["columns"])
        channels = segment * self.series + alone
        self.encoder = encoders(channels, causal=True)
        if decoder == "segments" and self.encoder.stride != 1:
            raise ValueError(
                f"patch: found {self.encoder.stride}; allowed: 1 with `decoder: segments`, where `segment` joins steps"
            )
        self.ahead: int = 1 if decoder == "direct" else -(-self.horizon // segment)
        self.told: int = self.horizon if decoder == "direct" else segment
        self.asking = None if decoder == "direct" else nn.Parameter(torch.randn(channels, self.ahead))
        self.head = nn.Linear(self.encoder.out_channels, len(quantiles) * self.series * self.told)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.linear = nn.Linear(self.lookback, self.horizon) if linear else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        self.register_buffer("quantiles", torch.tensor(quantiles))
        self.register_buffer("spread", torch.tensor(card["spread"], dtype=torch.float32).view(1, -1, 1))

    def naive(self, past: Tensor) -> Tensor:
        """Maps (B, C, L) to (B, C, horizon): the last value, or the same time a season ago plus the change since."""
        last = past[..., -1:]
        if self.reference == "last":
            return last.expand(-1, -1, self.horizon)
        ago = past[..., -self.season :]
        steps = torch.arange(self.horizon, device=past.device)
        drift = last - past[..., -self.season - 1 : -self.season]
        return ago[..., steps % self.season] + drift * (1 + torch.div(steps, self.season, rounding_mode="floor"))

    def forward(self, past: Tensor) -> Tensor:
        """Forecasts (B, C, L) → (B, Q, C, horizon) quantiles in the units of the series."""
        window = (past - past[..., -1:]) / self.spread  # (B, C, L)
        correction = self.correction(window)
        if self.linear is not None:
            correction = correction + self.linear(window)[:, None]
        quantiles: Tensor = self.naive(past)[:, None] + correction.float() * self.spread
        return quantiles

    def correction(self, window: Tensor) -> Tensor:
        """Computes (B, C, L) → (B, Q, C, horizon), the correction by the encoder in units of the spread."""
        batch, channels, steps = window.shape
        seen = functional.pad(window, (-steps % self.segment, 0))
        seen = seen.reshape(batch * channels if self.alone else batch, -1, seen.shape[-1] // self.segment, self.segment)
        seen = seen.transpose(2, 3).flatten(1, 2)  # (N, series · segment, segments), N is B or B · C
        if self.alone:
            seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
        if self.asking is not None:
            seen = torch.cat([seen, self.asking.expand(len(seen), -1, -1)], dim=2)
        output: Tensor = self.head(
            self.encoder(seen)[..., -self.ahead :].transpose(1, 2)
        )  # (N, ahead, Q · series · told)
        output = output.view(len(seen), self.ahead, len(self.quantiles), self.series, self.told).permute(0, 2, 3, 1, 4)
        output = output.flatten(3)[..., : self.horizon]  # (N, Q, series, horizon)
        return output.view(batch, channels, -1, self.horizon).transpose(1, 2) if self.alone else output
