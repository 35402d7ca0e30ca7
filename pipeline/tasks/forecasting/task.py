"""Forecasting: the next steps of one or more series, as a median and an interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import check_ranges
from pipeline.tasks.forecasting.network import Decoder, Forecaster, Point, Reference, Series
from pipeline.tasks.settings import SHARE, one_of, whole
from pipeline.tasks.task import Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

SCORES, UNITS = ("mae", "mse"), ("own", "deviations")
MISSING_RULES = ("last", "seasonal")


class Forecasting(Task):
    maximize = False
    dimensions = 1
    dependent = True
    reads = "history"
    MATCHING = ("columns", "horizon", "step_seconds", "step_months", "month_ends")
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
        from pipeline.tasks.forecasting.preparation import prepare_series

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
        """Returns (C,) by what the errors of each series are divided: nothing, or its standard deviation in train."""
        return np.ones(len(card["columns"])) if self.settings["units"] == "own" else np.array(card["deviation"])

    def examples(self, table: Table, card: Card) -> Batch:
        """Views every window of the table: past (N, C, L), future and observed (N, C, H), origin times (N,)."""
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
        for name, (word, allowed) in words.items():
            if word not in get_args(allowed):
                raise ValueError(f"{name}: found {word!r}; allowed: {', '.join(get_args(allowed))}")
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
        """Computes the pinball loss (Koenker and Bassett 1978) over the observed targets, in units of the spread.

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
        losses = (error.square() if self.score == "mse" else error.abs()) * batch["observed"]
        return losses.sum(dim=(1, 2)) / batch["observed"].sum(dim=(1, 2)).clamp_min(1)

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        from pipeline.tasks.forecasting.tables import prediction_table

        quantiles = torch.cat([network(past) for past in torch.split(examples["past"], 512)])
        ordered = quantiles.sort(dim=1).values.double().cpu().numpy()  # crossing quantiles are put in order
        return prediction_table(ordered, examples, card, self.unit(card))

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.forecasting.tables import figures

        return figures(predictions, weights, squared=self.score == "mse")

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        from pipeline.tasks.forecasting.tables import example_scores

        return example_scores(predictions, squared=self.score == "mse")

    def block(self, card: Card) -> int:
        return 2 * int(card["horizon"])  # forecasts that overlap share their errors

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.forecasting.baselines import classical_forecasts

        examples = {name: self.examples(table, card) for name, table in tables.items()}
        return classical_forecasts(examples, card, self.quantiles, self.unit(card))

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.forecasting.guesses import forecast_guesses

        examples = {name: self.examples(table, card) for name, table in tables.items()}
        return forecast_guesses(tables["train"], examples, card, self.quantiles, self.unit(card))

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.forecasting.plots import draw_forecasts

        past = self.examples(table, card)["past"].numpy()
        return draw_forecasts(predictions, past, card, folder, title, self.settings["interval"])

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        rows = card["lookback"]
        dates = pd.to_datetime(table["times"][:rows].numpy(), unit="s").strftime("%Y-%m-%d %H:%M:%S")
        columns = {name: table["values"][:rows, index].double().numpy() for index, name in enumerate(card["columns"])}
        return pd.DataFrame({"date": dates, **columns})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.forecasting.preparation import RULES, fill
        from pipeline.tasks.requests import dates_after, history_of

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

    def respond(self, network: nn.Module, requests: pd.DataFrame, card: Card) -> pd.DataFrame:
        """Forecasts after all origins at once; each sees the rows before it, as if they alone had been sent."""
        from pipeline.tasks.forecasting.responses import forecasts

        return forecasts(network, requests, card)

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.forecasting.responses import quantiles_of
        from pipeline.tasks.forecasting.tables import prediction_table

        return prediction_table(quantiles_of(responses, card), self.examples(table, card), card, self.unit(card))

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.forecasting.probes import forecast_probes

        return forecast_probes(table, predictions, card)
