"""Forecasting: the next steps of one or more series, as a median and an interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Prepared, Table
from pipeline.models.encoder import check_ranges
from pipeline.tasks.settings import SHARE, one_of, whole
from pipeline.tasks.task import Batch, Card, Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

Reference = Literal["last", "seasonal"]
Series = Literal["together", "alone"]
Point = Literal["median", "mean"]
Decoder = Literal["direct", "segments"]
SCORES, UNITS = ("mae", "mse"), ("own", "deviations")
MISSING_RULES = ("last", "seasonal")


class Forecaster(nn.Module):
    """Corrects a naive forecast by what an encoder and a linear path see in the window.

    The linear path beside the network keeps the forecast sensitive to the scale of the input (LSTNet, Lai et al.
    2018). Everything is relative to the last value of the window, so that a trend does not leave the known range.
    Series are read together, or `alone`: each by itself, with the same weights for all, and `segment` steps at once
    (Nie et al. 2023). Encoders may normalise each step by itself: alone, a series has a channel of ones beside it, or
    it would lose its size. The decoder is one `direct` layer on the last step for all of the horizon, or goes on in
    `segments`: learned steps that ask for one segment each follow the window (SegRNN's decoder, Lin et al. 2023).
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
        """(B, C, L) → (B, C, horizon): the last value, or the same time a season ago plus the change since then."""
        last = past[..., -1:]
        if self.reference == "last":
            return last.expand(-1, -1, self.horizon)
        ago = past[..., -self.season :]
        steps = torch.arange(self.horizon, device=past.device)
        drift = last - past[..., -self.season - 1 : -self.season]
        return ago[..., steps % self.season] + drift * (1 + torch.div(steps, self.season, rounding_mode="floor"))

    def forward(self, past: Tensor) -> Tensor:
        """(B, C, L) → (B, Q, C, horizon) quantiles in the units of the series."""
        window = (past - past[..., -1:]) / self.spread  # (B, C, L)
        correction = self.correction(window)
        if self.linear is not None:
            correction = correction + self.linear(window)[:, None]
        quantiles: Tensor = self.naive(past)[:, None] + correction.float() * self.spread
        return quantiles

    def correction(self, window: Tensor) -> Tensor:
        """(B, C, L) → (B, Q, C, horizon) what the encoder finds, in units of the spread."""
        batch, channels, steps = window.shape
        seen = functional.pad(window, (-steps % self.segment, 0))
        seen = seen.reshape(batch * channels if self.alone else batch, -1, seen.shape[-1] // self.segment, self.segment)
        seen = seen.transpose(2, 3).flatten(1, 2)  # (N, series · segment, segments), N is B or B · C
        if self.alone:
            seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
        if self.asking is not None:
            seen = torch.cat([seen, self.asking.expand(len(seen), -1, -1)], dim=2)
        found: Tensor = self.head(
            self.encoder(seen)[..., -self.ahead :].transpose(1, 2)
        )  # (N, ahead, Q · series · told)
        found = found.view(len(seen), self.ahead, len(self.quantiles), self.series, self.told).permute(0, 2, 3, 1, 4)
        found = found.flatten(3)[..., : self.horizon]  # (N, Q, series, horizon)
        return found.view(batch, channels, -1, self.horizon).transpose(1, 2) if self.alone else found


class Forecasting(Task):
    maximize = False
    dimensions = 1
    dependent = True
    reads = "history"
    RANGES: ClassVar = {"segment": (1, 1024)}
    SETTINGS: ClassVar = {
        "lookback": whole(1, 1_000_000), "horizon": whole(1, 1_000_000), "season": whole(1, 1_000_000),
        "missing": one_of(*MISSING_RULES), "interval": SHARE, "score": one_of(*SCORES), "units": one_of(*UNITS),
    }  # fmt: skip

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        if settings["lookback"] <= settings["season"]:
            raise ValueError(
                f"settings.lookback: found {settings['lookback']}; allowed: more than settings.season "
                f"({settings['season']}), so that the window shows the same time of the season before"
            )
        self.score = settings["score"]
        tail = (1 - settings["interval"]) / 2
        self.quantiles = [tail, 0.5, 1 - tail]

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.data.series import prepare_series

        chosen = {name: self.settings[name] for name in ("lookback", "horizon", "season", "missing")}
        prepared = prepare_series(dict(parts), split, **chosen)
        values = prepared.tables["train"]["values"].astype(np.float64)
        horizon = self.settings["horizon"]
        changes = (values[horizon:] - values[:-horizon]).std(axis=0)
        spread = changes if self.settings["units"] == "own" else self.unit(prepared.card)
        season = min(self.settings["season"], len(values) - 1)
        naive_error = np.abs(values[season:] - values[:-season]).mean(axis=0)
        for name, sizes in (("spread", spread), ("naive_error", naive_error)):
            prepared.card[name] = [float(size) if size > 0 else 1.0 for size in sizes]  # 1 where a series is constant
        return prepared

    def unit(self, card: Card) -> np.ndarray:
        """(C,) by what the errors of each series are divided: nothing, or its standard deviation in train."""
        return np.ones(len(card["columns"])) if self.settings["units"] == "own" else np.array(card["deviation"])

    def examples(self, table: Table, card: Card) -> Batch:
        """Every window of the table as a view: past (N, C, L), future and observed (N, C, H), origin times (N,)."""
        lookback, length = card["lookback"], card["lookback"] + card["horizon"]
        values = table["values"].unfold(0, length, 1)  # (N, C, L + H)
        observed = table["observed"].unfold(0, length, 1)
        times = table["times"].unfold(0, length, 1)[:, lookback:]
        future, seen = values[..., lookback:], observed[..., lookback:]
        return {"past": values[..., :lookback], "future": future, "observed": seen, "times": times}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, reference: Reference, linear: bool, series: Series, segment: int,
        decoder: Decoder, point: Point,
    ) -> Forecaster:  # fmt: skip
        check_ranges(self.RANGES, segment=segment)
        words: dict[str, tuple[str, Any]] = {
            "reference": (reference, Reference), "series": (series, Series), "decoder": (decoder, Decoder),
            "point": (point, Point),
        }  # fmt: skip
        for name, (found, allowed) in words.items():
            if found not in get_args(allowed):
                raise ValueError(f"{name}: found {found!r}; allowed: {', '.join(get_args(allowed))}")
        return Forecaster(
            encoders, card, self.quantiles, reference=reference, linear=linear, alone=series == "alone",
            segment=segment, decoder=decoder, point=point,
        )  # fmt: skip

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        return batch

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        quantiles: Tensor = network(batch["past"])
        return quantiles

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Pinball loss (Koenker and Bassett 1978) over the observed targets, in units of the spread.

        Where the point forecast shall be the mean, half its squared error takes the place of the median's loss. In
        evaluation the score decides, so that the losses of candidates with different points compare.
        """
        assert isinstance(network, Forecaster)
        error = (batch["future"][:, None] - output) / network.spread  # (B, Q, C, H)
        levels = network.quantiles.view(1, -1, 1, 1)
        losses = torch.maximum(levels * error, (levels - 1) * error)
        if network.point == "mean" if network.training else self.score == "mse":
            losses = torch.stack([losses[:, 0], error[:, 1].square() / 2, losses[:, 2]], dim=1)
        observed = batch["observed"]
        return (losses.sum(1) * observed).sum() / observed.sum().clamp_min(1)

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        unit = torch.from_numpy(self.unit(card)).float().to(output.device).view(1, -1, 1)
        error = (batch["future"] - output.sort(dim=1).values[:, 1]) / unit  # sorted as in `predict`
        found = (error.square() if self.score == "mse" else error.abs()) * batch["observed"]
        return found.sum(dim=(1, 2)) / batch["observed"].sum(dim=(1, 2)).clamp_min(1)

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        from pipeline.tasks.forecast_tables import prediction_table

        quantiles = torch.cat([network(past) for past in torch.split(examples["past"], 512)])
        ordered = quantiles.sort(dim=1).values.double().cpu().numpy()  # crossing quantiles are put in order
        return prediction_table(ordered, examples, card, self.unit(card))

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.forecast_tables import figures

        return figures(predictions, weights, squared=self.score == "mse")

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        from pipeline.tasks.forecast_tables import example_scores

        return example_scores(predictions, squared=self.score == "mse")

    def block(self, card: Card) -> int:
        return 2 * int(card["horizon"])  # forecasts that overlap share their errors

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.forecast_baselines import classical_forecasts

        examples = {name: self.examples(table, card) for name, table in tables.items()}
        return classical_forecasts(examples, card, self.quantiles, self.unit(card))

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.forecast_guesses import forecast_guesses

        examples = {name: self.examples(table, card) for name, table in tables.items()}
        return forecast_guesses(tables["train"], examples, card, self.quantiles, self.unit(card))

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.forecast_pictures import draw_forecasts

        past = self.examples(table, card)["past"].numpy()
        return draw_forecasts(predictions, past, card, folder, title, self.settings["interval"])

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        rows = card["lookback"]
        dates = pd.to_datetime(table["times"][:rows].numpy(), unit="s").strftime("%Y-%m-%d %H:%M:%S")
        columns = {name: table["values"][:rows, index].double().numpy() for index, name in enumerate(card["columns"])}
        return pd.DataFrame({"date": dates, **columns})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.data.requests import dates_after, history_of
        from pipeline.data.series import RULES, fill

        values, last = history_of(request, card)
        filled, first = fill(values, RULES[card["missing_rule"]], card["season"])
        if len(filled) - first < card["lookback"]:
            raise ValueError(
                "values: the first rows are missing and nothing before them can fill the gap; send a longer history"
            )
        past = torch.from_numpy(filled[-card["lookback"] :].T.astype(np.float32).copy())[None]  # (1, C, L)
        with torch.inference_mode():
            lower, median, upper = network(past).sort(dim=1).values[0].double().numpy()  # (C, H) each
        dates = dates_after(last, card)
        tables = [
            pd.DataFrame({"date": dates.strftime("%Y-%m-%d %H:%M:%S"), "series": name, "forecast": median[index],
                          "lower": lower[index], "upper": upper[index]})
            for index, name in enumerate(card["columns"])
        ]  # fmt: skip
        return pd.concat(tables, ignore_index=True)

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.forecast_probes import forecast_probes

        return forecast_probes(table, predictions, card)
