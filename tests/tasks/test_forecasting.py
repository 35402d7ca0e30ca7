"""Forecasting: figures against plain formulae, baselines by hand, no look ahead, missing targets do not count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.formats.records import Series
from pipeline.models import FAMILIES, load_family
from pipeline.tasks import load_task
from pipeline.tasks.forecasting.baselines import seasonal_naive, with_intervals
from pipeline.tasks.forecasting.network import Forecaster
from pipeline.tasks.forecasting.tables import prediction_table
from pipeline.tasks.forecasting.task import Forecasting
from pipeline.tasks.network import build_network

SETTINGS = {"lookback": 12, "horizon": 4, "season": 6, "missing": "last", "interval": 0.8, "score": "mae",
            "units": "own"}  # fmt: skip
TASK = Forecasting(SETTINGS)
HEAD = {"reference": "last", "linear": True, "series": "together", "segment": 1, "decoder": "direct", "point": "median"}
SPLIT = {"validation": 0.25, "test": 0.25}


def series(count: int = 160, missing: tuple[int, ...] = ()) -> Series:
    steps = np.arange(count)
    values = np.stack([10 + 0.1 * steps + np.sin(steps * np.pi / 3), 5 + np.cos(steps * np.pi / 3)], axis=1)
    values += np.random.default_rng(0).normal(scale=0.1, size=values.shape)
    values[list(missing)] = np.nan
    times = np.datetime64("2020-01-01", "s") + steps * np.timedelta64(86400, "s")
    return Series(values, times, ["up", "flat"])


def tables_of(record: Series) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    found = TASK.prepare({"all": record}, SPLIT, 0)
    tensors = {
        split: {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in table.items()}
        for split, table in found.tables.items()
    }
    return tensors, found.card


def network(card: dict[str, Any], family: str = "cnn", **changes: Any) -> torch.nn.Module:
    kind = load_family(family)
    architecture = next(iter(kind.ARCHITECTURES))
    torch.manual_seed(0)
    parameters = {**kind.EXAMPLE, "architecture": architecture, **HEAD, **changes}
    model = build_network(TASK, family, card, parameters)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))  # the heads begin with zeros and would hide the encoder
    return model.eval()


def test_figures_are_the_plain_formulae() -> None:
    tables, card = tables_of(series(missing=(130, 150)))
    predictions = TASK.predict(network(card), TASK.examples(tables["test"], card), card)
    metrics = TASK.metrics(predictions, card)
    seen = predictions[predictions["observed"]]
    assert len(seen) < len(predictions)
    error = seen["truth"] - seen["forecast"]
    by_example = {name: values.groupby(seen["example"]).mean().mean() for name, values in {
        "mae": error.abs(), "mse": error**2, "mase": error.abs() / seen["scale"],
        "coverage": ((seen["truth"] >= seen["lower"]) & (seen["truth"] <= seen["upper"])).astype(float),
        "interval_width": seen["upper"] - seen["lower"]}.items()}  # fmt: skip
    assert metrics["mae"] == pytest.approx(by_example["mae"])
    assert metrics["rmse"] == pytest.approx(by_example["mse"] ** 0.5)
    assert metrics["mase"] == pytest.approx(by_example["mase"])
    assert metrics["coverage"] == pytest.approx(by_example["coverage"])
    assert metrics["interval_width"] == pytest.approx(by_example["interval_width"])


def test_the_scale_of_mase_is_the_seasonal_naive_error_of_train() -> None:
    tables, card = tables_of(series())
    values = tables["train"]["values"].double().numpy()
    expected = np.abs(values[6:] - values[:-6]).mean(axis=0)
    np.testing.assert_allclose(card["naive_error"], expected)
    predictions = TASK.predict(network(card), TASK.examples(tables["test"], card), card)
    assert predictions.groupby("column")["scale"].first()["flat"] == pytest.approx(expected[1])


def test_windows_are_consecutive_and_have_their_targets_behind_the_context() -> None:
    tables, card = tables_of(series())
    table = tables["test"]
    examples = TASK.examples(table, card)
    assert int(table["context"][0]) == 12
    assert examples["past"].shape == (37, 2, 12) and examples["future"].shape == (37, 2, 4)
    assert torch.equal(examples["past"][3, 0], table["values"][3:15, 0])
    assert torch.equal(examples["future"][3, 1], table["values"][15:19, 1])
    assert torch.equal(examples["times"][0], table["times"][12:16])


def test_the_seasonal_naive_forecast_by_hand() -> None:
    past = np.array([[[1.0, 2.0, 3.0, 4.0, 2.0, 3.0, 4.0]]])  # season 3, so that the last season gained 0
    card = {"season": 3, "horizon": 5}
    np.testing.assert_allclose(seasonal_naive(past, card, drift=True), [[[2, 3, 4, 2, 3]]])
    past = np.array([[[0.0, 10.0, 20.0, 1.0, 11.0, 21.0]]])[..., -4:]  # 20, 1, 11, 21: gained 1 over the season
    np.testing.assert_allclose(seasonal_naive(past, card, drift=True), [[[2, 12, 22, 3, 13]]])


def test_the_network_begins_as_the_naive_forecast_that_it_refers_to() -> None:
    tables, card = tables_of(series())
    past = TASK.examples(tables["test"], card)["past"]
    kind = load_family("cnn")
    for reference in ("last", "seasonal"):
        torch.manual_seed(0)
        parameters = {**kind.EXAMPLE, "architecture": "vgg", **HEAD, "reference": reference}
        model = build_network(TASK, "cnn", card, parameters).eval()
        assert isinstance(model, Forecaster)
        expected = past[..., -1:].expand(-1, -1, 4) if reference == "last" else model.naive(past)
        torch.testing.assert_close(model(past)[:, 1], expected)
        if reference == "seasonal":
            by_hand = seasonal_naive(past.double().numpy(), card, drift=True)
            np.testing.assert_allclose(expected.numpy(), by_hand, rtol=1e-5)


def test_intervals_of_baselines_are_the_quantiles_of_validation_residuals() -> None:
    tables, card = tables_of(series())
    examples = {split: TASK.examples(table, card) for split, table in tables.items()}
    points = {
        split: seasonal_naive(examples[split]["past"].double().numpy(), card, drift=True)
        for split in ("validation", "test")
    }
    found = with_intervals(points, examples, card, [0.1, 0.5, 0.9], np.ones(2))["test"]
    residuals = examples["validation"]["future"].double().numpy() - points["validation"]
    lower = np.minimum(np.quantile(residuals, 0.1, axis=0), 0)  # (C, H)
    row = found[(found["example"] == 5) & (found["column"] == "flat") & (found["step"] == 2)].iloc[0]
    assert row["forecast"] == pytest.approx(points["test"][5, 1, 1])
    assert row["lower"] == pytest.approx(points["test"][5, 1, 1] + lower[1, 1])
    assert (found["lower"] <= found["forecast"]).all() and (found["forecast"] <= found["upper"]).all()


def test_ridge_learns_a_linear_recurrence_exactly() -> None:
    steps = np.arange(160)
    values = (np.sin(steps / 3) + 0.01 * steps)[:, None]
    times = np.datetime64("2020-01-01", "s") + steps * np.timedelta64(86400, "s")
    tables, card = tables_of(Series(values, times, ["wave"]))
    found = TASK.baselines(tables, card, 0)
    assert list(found) == ["seasonal_naive", "ridge"]
    assert TASK.metrics(found["ridge"]["test"], card)["mae"] < 0.01
    assert TASK.metrics(found["seasonal_naive"]["test"], card)["mae"] > 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reference", ["last", "seasonal"])
def test_the_future_never_matters(family: str, reference: str) -> None:
    record = series()
    tables, card = tables_of(record)
    model = network(card, family, reference=reference)
    before = TASK.predict(model, TASK.examples(tables["test"], card), card)
    changed = {name: tensor.clone() for name, tensor in tables["test"].items()}
    changed["values"][30:] += 1000.0
    after = TASK.predict(model, TASK.examples(changed, card), card)
    early = before["example"] <= 30 - 12  # their window ends before row 30
    columns = ["lower", "forecast", "upper"]
    pd.testing.assert_frame_equal(after.loc[early, columns], before.loc[early, columns], check_exact=True)
    assert (after.loc[~early, "forecast"] - before.loc[~early, "forecast"]).abs().min() > 1e-3


def test_baselines_do_not_look_at_the_test_series() -> None:
    tables, card = tables_of(series())
    before = TASK.baselines(tables, card, 0)
    changed = tables | {"test": {name: tensor.clone() for name, tensor in tables["test"].items()}}
    changed["test"]["values"][30:] += 1000.0
    after = TASK.baselines(changed, card, 0)
    for name in before:
        early = before[name]["test"]["example"] <= 30 - 12
        pd.testing.assert_series_equal(
            after[name]["test"]["forecast"][early], before[name]["test"]["forecast"][early], check_exact=True
        )
        pd.testing.assert_frame_equal(after[name]["validation"], before[name]["validation"], check_exact=True)


def test_missing_targets_are_left_out_of_loss_and_score() -> None:
    tables, card = tables_of(series())
    examples = TASK.examples(tables["train"], card)
    batch = {name: tensor[:8].clone() for name, tensor in examples.items()}
    batch["observed"][:, 0, 1] = False
    batch["observed"][2] = False  # nothing of it was observed
    model = network(card)
    changed = batch | {"future": torch.where(batch["observed"], batch["future"], torch.tensor(1e6))}
    output = TASK.output(model, batch).detach()
    assert float(TASK.loss(model, output, batch)) == float(TASK.loss(model, output, changed))
    assert torch.equal(TASK.scores(output, batch, card), TASK.scores(output, changed, card))
    first, second = (TASK.predict(model, each, card) for each in (batch, changed))
    assert TASK.metrics(first, card) == TASK.metrics(second, card)
    assert np.isnan(TASK.example_scores(second)[2])


def test_the_pinball_loss_by_hand() -> None:
    _, card = tables_of(series())
    model = network(card)
    assert isinstance(model, Forecaster)
    model.spread = torch.tensor([[[2.0], [1.0]]])
    output = torch.zeros(1, 3, 2, 4)
    future = torch.zeros(1, 2, 4)
    future[0, 0, 0] = 4.0  # 2 spreads above all quantiles: 0.1 · 2 + 0.5 · 2 + 0.9 · 2
    future[0, 1, 0] = -1.0  # 1 spread below: 0.9 + 0.5 + 0.1
    batch = {"future": future, "observed": torch.ones(1, 2, 4, dtype=torch.bool)}
    assert float(TASK.loss(model, output, batch)) == pytest.approx((3.0 + 1.5) / 8)


def test_crossing_quantiles_are_put_in_order() -> None:
    tables, card = tables_of(series())
    predictions = TASK.predict(network(card), TASK.examples(tables["test"], card), card)
    assert (predictions["lower"] <= predictions["forecast"]).all()
    assert (predictions["forecast"] <= predictions["upper"]).all()


def test_the_prediction_table_counts_examples_series_and_steps() -> None:
    quantiles = np.arange(2 * 3 * 2 * 4, dtype=float).reshape(2, 3, 2, 4)
    examples = {
        "times": torch.arange(8).view(2, 4),
        "observed": torch.ones(2, 2, 4, dtype=torch.bool),
        "future": torch.zeros(2, 2, 4),
    }
    table = prediction_table(quantiles, examples, {"columns": ["up", "flat"], "naive_error": [0.5, 2.0]}, np.ones(2))
    row = table.iloc[2 * 4 * 1 + 4 + 2]  # example 1, second series, third step
    assert row[["example", "column", "step", "time", "scale"]].tolist() == [1, "flat", 3, 6, 2.0]
    assert (row["lower"], row["forecast"], row["upper"]) == (quantiles[1, 0, 1, 2], quantiles[1, 1, 1, 2], 46.0)


def request_of(card: dict[str, Any], rows: int = 12) -> pd.DataFrame:
    dates = pd.date_range("2021-03-01", periods=rows, freq="D").strftime("%Y-%m-%d")
    return pd.DataFrame({"date": dates, "up": np.linspace(10, 12, rows), "flat": 5.0})


def test_an_answer_continues_the_dates_of_the_request() -> None:
    _, card = tables_of(series())
    answer = TASK.answer(network(card), request_of(card), card)
    assert answer["date"].tolist() == [f"2021-03-{day} 00:00:00" for day in (13, 14, 15, 16)] * 2
    assert answer["series"].tolist() == ["up"] * 4 + ["flat"] * 4


def test_dates_may_be_written_as_in_the_raw_file() -> None:
    _, card = tables_of(series())
    model, request = network(card), request_of(card)
    expected = TASK.answer(model, request, card)
    numbers = request.assign(date=[int(date.replace("-", "")) for date in request["date"]])
    moments = request.assign(date=pd.to_datetime(request["date"]))
    for other in (numbers, moments):
        pd.testing.assert_frame_equal(TASK.answer(model, other, card), expected)


def test_a_gap_in_a_request_is_filled_by_the_rule_of_training() -> None:
    _, card = tables_of(series())
    whole, gap = request_of(card), request_of(card)
    gap.loc[8, "up"] = np.nan
    whole.loc[8, "up"] = whole.loc[7, "up"]  # the rule `last`
    model = network(card)
    pd.testing.assert_frame_equal(TASK.answer(model, gap, card), TASK.answer(model, whole, card))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="flat"), r"found the columns \['date', 'up'\]; missing: flat"),
        (lambda table: table.iloc[1:], "found 11 rows; the model looks back 12 steps and needs at least as many"),
        (lambda table: table.iloc[::-1], "date: the rows must be in order of time and no date may repeat"),
        (lambda table: table.assign(date="2021-03-01"), "date: the rows must be in order of time"),
        (lambda table: table.assign(date="soon"), "date: found 'soon'; expected dates such as 2021-03-01"),
        (lambda table: table.assign(date=[None, *table["date"][1:]]), "date: found null; expected dates"),
        (lambda table: table.assign(up="much"), "up: found 'much'; expected numbers"),
        (lambda table: table.assign(up=np.inf), "up: found inf; expected numbers"),
        (lambda table: table.assign(up=np.nan), "up: has no value at all"),
        (lambda table: table.assign(up=[np.nan, *table["up"][1:]]), "the first rows are missing and nothing before"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_one_sentence(change: Any, message: str) -> None:
    _, card = tables_of(series())
    with pytest.raises(ValueError, match=message) as caught:
        TASK.answer(network(card), change(request_of(card)), card)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lookback", 6),
        ("horizon", 0),
        ("season", 1.5),
        ("interval", 1),
        ("missing", "linear"),
        ("score", "rmse"),
        ("units", "ppm"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"settings\.{name}: found '?{value}'?; allowed: "):
        load_task("forecasting", SETTINGS | {name: value})


@pytest.mark.parametrize("score", ["mae", "mse"])
def test_losses_of_different_points_compare_in_evaluation(score: str) -> None:
    tables, card = tables_of(series())
    task = load_task("forecasting", SETTINGS | {"score": score})
    batch = task.examples(tables["validation"], card)
    models = [network(card, point=point) for point in ("median", "mean")]
    with torch.inference_mode():
        output = task.output(models[0], batch)
        assert task.loss(models[0], output, batch) == task.loss(models[1], output, batch)
        trained = [float(task.loss(model.train(), output, batch)) for model in models]
    assert trained[0] != trained[1]
