"""Forecasting: the next steps of one or more series, as a median and an interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.data.tables import Prepared, Table
from pipeline.models.encoder import Encoder
from pipeline.tasks.task import Batch, Card, Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

Reference = Literal["last", "seasonal"]
MISSING_RULES = ("last", "seasonal")


class Forecaster(nn.Module):
    """Corrects a naive forecast by what an encoder and a linear path see in the window.

    The linear path beside the network keeps the forecast sensitive to the scale of the input (LSTNet, Lai et al.
    2018). Everything is relative to the last value of the window, so that a trend does not leave the known range.
    """

    quantiles: Tensor
    spread: Tensor

    def __init__(
        self, encoder: Encoder, card: Card, quantiles: list[float], *, reference: Reference, linear: bool
    ) -> None:
        super().__init__()
        self.lookback, self.horizon, self.season = card["lookback"], card["horizon"], card["season"]
        self.channels, self.reference = len(card["columns"]), reference
        self.encoder = encoder
        self.head = nn.Linear(encoder.out_channels, self.channels * self.horizon * len(quantiles))
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
        features = self.encoder(window)[..., -1]  # (B, F): what is known at the last step
        correction = self.head(features).view(len(past), len(self.quantiles), self.channels, self.horizon)
        if self.linear is not None:
            correction = correction + self.linear(window)[:, None]
        quantiles: Tensor = self.naive(past)[:, None] + correction.float() * self.spread
        return quantiles


class Forecasting(Task):
    score = "mae"
    maximize = False
    dimensions = 1
    dependent = True
    reads = "history"
    SETTINGS = ("lookback", "horizon", "season", "missing", "interval")

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        _check(settings)
        tail = (1 - settings["interval"]) / 2
        self.quantiles = [tail, 0.5, 1 - tail]

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.data.series import prepare_series

        chosen = {name: self.settings[name] for name in ("lookback", "horizon", "season", "missing")}
        prepared = prepare_series(dict(parts), split, **chosen)
        values = prepared.tables["train"]["values"].astype(np.float64)
        horizon = self.settings["horizon"]
        changes = (values[horizon:] - values[:-horizon]).std(axis=0)
        prepared.card["spread"] = [float(spread) if spread > 0 else 1.0 for spread in changes]
        season = min(self.settings["season"], len(values) - 1)
        prepared.card["naive_error"] = [float(e) for e in np.abs(values[season:] - values[:-season]).mean(axis=0)]
        return prepared

    def examples(self, table: Table, card: Card) -> Batch:
        """Every window of the table as a view: past (N, C, L), future and observed (N, C, H), origin times (N,)."""
        lookback, length = card["lookback"], card["lookback"] + card["horizon"]
        values = table["values"].unfold(0, length, 1)  # (N, C, L + H)
        observed = table["observed"].unfold(0, length, 1)
        times = table["times"].unfold(0, length, 1)[:, lookback:]
        future, seen = values[..., lookback:], observed[..., lookback:]
        return {"past": values[..., :lookback], "future": future, "observed": seen, "times": times}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, reference: Reference, linear: bool
    ) -> Forecaster:
        if reference not in get_args(Reference):
            raise ValueError(f"reference: found {reference!r}; allowed: {', '.join(get_args(Reference))}")
        encoder = encoders(len(card["columns"]), causal=True)
        return Forecaster(encoder, card, self.quantiles, reference=reference, linear=linear)

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        return batch

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        quantiles: Tensor = network(batch["past"])
        return quantiles

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Pinball loss (Koenker and Bassett 1978) over the observed targets, in units of the spread."""
        assert isinstance(network, Forecaster)
        error = (batch["future"][:, None] - output) / network.spread  # (B, Q, C, H)
        levels = network.quantiles.view(1, -1, 1, 1)
        pinball = torch.maximum(levels * error, (levels - 1) * error).sum(1)
        observed = batch["observed"]
        return (pinball * observed).sum() / observed.sum().clamp_min(1)

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        error = (batch["future"] - output.sort(dim=1).values[:, 1]).abs() * batch["observed"]  # sorted as in `predict`
        return error.sum(dim=(1, 2)) / batch["observed"].sum(dim=(1, 2)).clamp_min(1)

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        quantiles = torch.cat([network(past) for past in torch.split(examples["past"], 512)])
        ordered = quantiles.sort(dim=1).values.double().cpu().numpy()  # crossing quantiles are put in order
        return prediction_table(ordered, examples, card)

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        error = predictions["truth"] - predictions["forecast"]
        inside = predictions["truth"].between(predictions["lower"], predictions["upper"])
        figures = pd.DataFrame(
            {
                "mae": error.abs(),
                "rmse": error**2,
                "mase": error.abs() / predictions["scale"],
                "coverage": inside.astype(np.float64),
                "interval_width": predictions["upper"] - predictions["lower"],
            }
        ).where(predictions["observed"])
        per_example = figures.groupby(predictions["example"]).mean().dropna()  # means over the observed steps
        used = weights[:, per_example.index.to_numpy()]
        means = used @ per_example.to_numpy() / used.sum(1, keepdims=True)  # (R, figures)
        found = dict(zip(per_example.columns, means.T, strict=True))
        return {**found, "rmse": np.sqrt(found["rmse"])}

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        error = (predictions["truth"] - predictions["forecast"]).abs().where(predictions["observed"])
        return error.groupby(predictions["example"]).mean().to_numpy(np.float64)

    def block(self, card: Card) -> int:
        return 2 * int(card["horizon"])  # forecasts that overlap share their errors

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        examples = {name: self.examples(table, card) for name, table in tables.items()}
        points = {"seasonal_naive": {}, "ridge": _ridge(examples)}
        for split in ("validation", "test"):
            points["seasonal_naive"][split] = _seasonal_naive(examples[split]["past"].double().numpy(), card)
        return {name: _with_intervals(point, examples, card, self.quantiles) for name, point in points.items()}

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.pictures import error_by_step, forecast_fans

        past = self.examples(table, card)["past"].numpy()
        return [
            forecast_fans(predictions, past, card, folder / "forecasts.png", title, self.settings["interval"]),
            error_by_step(predictions, folder / "error_by_step.png", title),
        ]

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
        from pipeline.tasks.probes import forecast_probes

        return forecast_probes(table, predictions, card)


def prediction_table(quantiles: np.ndarray, examples: Batch, card: Card) -> pd.DataFrame:
    """(N, 3, C, H) quantiles → one row per example, series and step."""
    count, _, channels, horizon = quantiles.shape
    shape = (count, channels, horizon)
    columns = {
        "example": np.arange(count)[:, None, None],
        "column": np.arange(channels)[None, :, None],
        "step": np.arange(1, horizon + 1)[None, None],
        "time": examples["times"].numpy()[:, None],
        "observed": examples["observed"].numpy(),
        "truth": examples["future"].double().numpy(),
        "lower": quantiles[:, 0],
        "forecast": quantiles[:, 1],
        "upper": quantiles[:, 2],
        "scale": np.array(card["naive_error"])[None, :, None],
    }
    table = pd.DataFrame({name: np.broadcast_to(values, shape).ravel() for name, values in columns.items()})
    table["column"] = np.array(card["columns"])[table["column"]]
    return table


def _check(settings: Mapping[str, Any]) -> None:
    for name in ("lookback", "horizon", "season"):
        if type(settings[name]) is not int or settings[name] < 1:
            raise ValueError(f"settings.{name}: found {settings[name]!r}; allowed: a whole number of steps from 1")
    if settings["lookback"] <= settings["season"]:
        raise ValueError(
            f"settings.lookback: found {settings['lookback']}; allowed: more than settings.season "
            f"({settings['season']}), so that the window shows the same time of the season before"
        )
    if settings["missing"] not in MISSING_RULES:
        raise ValueError(f"settings.missing: found {settings['missing']!r}; allowed: {', '.join(MISSING_RULES)}")
    if not isinstance(settings["interval"], float) or not 0 < settings["interval"] < 1:
        raise ValueError(f"settings.interval: found {settings['interval']!r}; allowed: between 0 and 1, such as 0.8")


def _seasonal_naive(past: np.ndarray, card: Card) -> np.ndarray:
    """(N, C, L) → (N, C, H): the same time a season ago plus the change over the last season."""
    season, horizon = card["season"], card["horizon"]
    steps = np.arange(horizon)
    drift = past[..., -1:] - past[..., -season - 1 : -season]
    result: np.ndarray = past[..., -season:][..., steps % season] + drift * (1 + steps // season)
    return result


def _ridge(examples: Mapping[str, Batch]) -> dict[str, np.ndarray]:
    """Ridge autoregression on the window relative to its last value; the penalty is picked on validation."""
    from sklearn.linear_model import Ridge

    def design(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        past, future = (examples[split][name].double().numpy() for name in ("past", "future"))
        last = past[..., -1:]
        return (past - last).reshape(len(past), -1), (future - last).reshape(len(past), -1), last

    inputs, targets, _ = design("train")
    complete = examples["train"]["observed"].numpy().reshape(len(inputs), -1).all(1)
    usable = complete if complete.sum() > 1 else np.ones_like(complete)
    models = [Ridge(alpha=alpha).fit(inputs[usable], targets[usable]) for alpha in np.geomspace(0.01, 1000, 11)]

    def forecast(model: Ridge, split: str) -> np.ndarray:
        inputs, _, last = design(split)
        result: np.ndarray = model.predict(inputs).reshape(examples[split]["future"].shape) + last
        return result

    def error(model: Ridge) -> float:
        gap = np.abs(forecast(model, "validation") - examples["validation"]["future"].double().numpy())
        return float(gap[examples["validation"]["observed"].numpy()].mean())

    best = min(models, key=error)
    return {split: forecast(best, split) for split in ("validation", "test")}


def _with_intervals(
    points: Mapping[str, np.ndarray], examples: Mapping[str, Batch], card: Card, quantiles: list[float]
) -> dict[str, pd.DataFrame]:
    """Intervals around point forecasts from the quantiles of the validation residuals, step by step."""
    residuals = examples["validation"]["future"].double().numpy() - points["validation"]
    residuals[~examples["validation"]["observed"].numpy()] = np.nan
    lower, _, upper = np.nanquantile(residuals, quantiles, axis=0)  # (C, H) each
    tables = {}
    for split, point in points.items():
        stacked = np.stack([point + np.minimum(lower, 0), point, point + np.maximum(upper, 0)], axis=1)
        tables[split] = prediction_table(stacked, examples[split], card)
    return tables
