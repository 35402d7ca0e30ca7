"""Several series at once: read together or alone, errors in deviations, the published protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.formats.records import Series
from pipeline.models import FAMILIES, load_family
from pipeline.tasks.forecasting.baselines import better_naive, classical_forecasts, ridge, seasonal_naive
from pipeline.tasks.forecasting.network import Forecaster
from pipeline.tasks.forecasting.plots import MOST_SERIES, draw_forecasts
from pipeline.tasks.forecasting.task import Forecasting
from pipeline.tasks.network import build_network

SETTINGS = {"lookback": 12, "horizon": 4, "season": 6, "missing": "last", "interval": 0.8, "score": "mse",
            "units": "deviations"}  # fmt: skip
TASK = Forecasting(SETTINGS)
PUBLISHED = {"validation": None, "test": None}


def parts(count: int = 3, rows: int = 200, sizes: tuple[float, ...] = (1.0, 1000.0, 0.01)) -> dict[str, Series]:
    """Noisy waves of very different sizes, cut where train, validation and test were published."""
    steps, draw = np.arange(rows), np.random.default_rng(0)
    waves = np.stack([np.sin(steps * np.pi / 3 + number) for number in range(count)], axis=1)
    values = (waves + draw.normal(scale=0.3, size=waves.shape)) * np.resize(sizes, count) + np.resize(sizes, count)
    times = np.datetime64("2020-01-01", "s") + steps * np.timedelta64(3600, "s")
    names = [f"series {number}" for number in range(count)]
    cuts = {"train": slice(100), "validation": slice(100, 150), "test": slice(150, rows)}
    return {part: Series(values[rows], times[rows], names) for part, rows in cuts.items()}


def tables_of(records: dict[str, Series]) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    found = TASK.prepare(records, PUBLISHED, 0)
    tensors = {
        split: {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in table.items()}
        for split, table in found.tables.items()
    }
    return tensors, found.card


def network(card: dict[str, Any], family: str = "cnn", **changes: Any) -> Forecaster:
    kind = load_family(family)
    head = {"reference": "last", "linear": True, "series": "alone", "segment": 1, "decoder": "direct", "point": "mean"}
    torch.manual_seed(0)
    chosen = {**kind.EXAMPLE, "architecture": next(iter(kind.ARCHITECTURES)), **head, **changes}
    model = build_network(TASK, family, card, chosen)
    assert isinstance(model, Forecaster)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))  # the heads begin with zeros and would hide the encoder
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_series_that_is_read_alone_depends_on_itself_only(family: str) -> None:
    tables, card = tables_of(parts())
    past = TASK.examples(tables["test"], card)["past"][:5]
    changed = past.clone()
    changed[:, 1] += 100 * torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    for series, same in (("alone", True), ("together", False)):
        model = network(card, family, series=series)
        before, after = model(past), model(changed)
        assert torch.equal(before[:, :, [0, 2]], after[:, :, [0, 2]]) == same
        assert not torch.equal(before[:, :, 1], after[:, :, 1])


def test_series_that_are_read_alone_share_their_weights() -> None:
    _, card = tables_of(parts(sizes=(1.0,)))
    card["spread"] = [1.0, 1.0, 1.0]
    past = torch.randn(4, 3, 12, generator=torch.Generator().manual_seed(0))
    model = network(card)
    torch.testing.assert_close(model(past.flip(1)), model(past).flip(2))


def test_a_network_for_more_series_has_no_more_weights_where_they_are_read_alone() -> None:
    def count(series: int, how: str) -> int:
        return sum(weight.numel() for weight in network(tables_of(parts(series))[1], series=how).parameters())

    assert count(2, "alone") == count(5, "alone")
    assert count(2, "together") < count(5, "together")


def test_the_score_is_the_published_one() -> None:
    """The mean over all windows, series and steps of squared errors of values that train has standardised."""
    records = parts()
    tables, card = tables_of(records)
    examples = TASK.examples(tables["test"], card)
    assert len(examples["past"]) == 50 - 4 + 1  # the first window looks back into validation, none is left out
    predictions = TASK.predict(network(card), examples, card)
    mean, deviation = (getattr(records["train"].values, name)(axis=0) for name in ("mean", "std"))
    truth = np.stack([(records["test"].values[row : row + 4] - mean) / deviation for row in range(47)])  # (N, H, C)
    forecast = predictions["forecast"].to_numpy().reshape(47, 3, 4).transpose(0, 2, 1)
    error = truth - (forecast - mean) / deviation
    metrics = TASK.metrics(predictions, card)
    assert TASK.score == "mse"
    assert metrics["mse"] == pytest.approx((error**2).mean(), rel=1e-5)
    assert metrics["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert metrics["rmse"] == pytest.approx(metrics["mse"] ** 0.5)
    assert TASK.example_scores(predictions) == pytest.approx((error**2).mean(axis=(1, 2)), rel=1e-4)


def test_the_unit_of_a_series_does_not_matter() -> None:
    found = []
    for sizes in ((1.0, 1.0, 1.0), (1.0, 1024.0, 1 / 128)):  # powers of two: nothing is rounded
        tables, card = tables_of(parts(sizes=sizes))
        predictions = TASK.predict(network(card), TASK.examples(tables["test"], card), card)
        baselines = TASK.baselines(tables, card, 0)
        found.append(
            [TASK.metrics(table, card) for table in (predictions, *(each["test"] for each in baselines.values()))]
        )
    for one, other in zip(*found, strict=True):
        assert other == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("series", ["together", "alone"])
def test_segments_show_every_step_of_the_window(family: str, series: str) -> None:
    """5 steps as one, though 12 are no multiple of 5: nothing is cut off."""
    _, card = tables_of(parts(sizes=(1.0,)))
    past = torch.randn(1, 3, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    more = {"depth": 2} if family == "cnn" else {"patch": 1}
    network(card, family, series=series, segment=5, linear=False, **more)(past).square().sum().backward()
    assert past.grad is not None and (past.grad.abs() > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("series", ["together", "alone"])
def test_what_is_asked_for_later_segments_changes_no_earlier_one(family: str, series: str) -> None:
    """A decoder of three segments of 4 steps for a horizon of 10, beside one of the first segment alone."""
    _, card = tables_of(parts(sizes=(1.0,)))
    past = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0))
    more = {"series": series, "segment": 4, "decoder": "segments", "linear": False}
    more |= {} if family == "cnn" else {"patch": 1}
    long, short = (network({**card, "horizon": horizon}, family, **more) for horizon in (10, 4))
    assert long.asking is not None and long.asking.shape[1] == 3
    weights = long.state_dict()
    short.load_state_dict({**weights, "asking": weights["asking"][:, :1]})
    found, first = long(past), short(past)
    assert found.shape == (2, 3, 3, 10) and first.shape == (2, 3, 3, 4)
    torch.testing.assert_close(found[..., :4], first)
    assert not torch.allclose(found[..., 4:8], first), "each segment is asked for by a step of its own"


def test_a_decoder_of_segments_refuses_an_encoder_that_joins_steps() -> None:
    _, card = tables_of(parts())
    with pytest.raises(ValueError, match="patch: found 2; allowed: 1 with `decoder: segments`"):
        network(card, "rnn", decoder="segments", patch=2)


def test_the_naive_baseline_has_a_drift_where_validation_says_so() -> None:
    past = np.array([[[1.0, 2.0, 4.0, 2.0, 4.0]]])
    card = {"season": 2, "horizon": 3}
    np.testing.assert_allclose(seasonal_naive(past, card, drift=False), [[[2, 4, 2]]])
    past[..., -1] += 1.0
    np.testing.assert_allclose(seasonal_naive(past, card, drift=True), [[[3, 6, 4]]])
    for slope, drift in ((0.0, False), (1.0, True)):
        records = parts(sizes=(1.0,))
        for part, begin in zip(records.values(), (0, 100, 150), strict=True):
            part.values[:] += slope * np.arange(begin, begin + len(part.values))[:, None]
        tables, card = tables_of(records)
        examples = {split: TASK.examples(table, card) for split, table in tables.items()}
        expected = seasonal_naive(examples["test"]["past"].double().numpy(), card, drift=drift)
        assert np.array_equal(better_naive(examples, card, np.ones(3))["test"], expected)


def test_a_mean_is_trained_by_its_squared_error() -> None:
    _, card = tables_of(parts())
    model = network(card)
    model.spread = torch.tensor([[[2.0], [1.0], [1.0]]])
    future = torch.zeros(1, 3, 4)
    future[0, 0, 0] = 4.0  # 2 deviations above all: 0.1 · 2 + 2² / 2 + 0.9 · 2
    future[0, 1, 0] = -1.0  # 1 below: 0.9 + 1 / 2 + 0.1
    batch = {"future": future, "observed": torch.ones(1, 3, 4, dtype=torch.bool)}
    assert float(TASK.loss(model, torch.zeros(1, 3, 3, 4), batch)) == pytest.approx((4.0 + 1.5) / 12)


def test_ridge_takes_what_is_better_on_validation() -> None:
    """Two series that follow the same rule are forecast alone; one that repeats the other needs both."""
    draw = np.random.default_rng(0)
    times = np.datetime64("2020-01-01", "s") + np.arange(200) * np.timedelta64(3600, "s")
    noise = draw.normal(size=(204, 6))
    follower = np.stack([noise[4:, 0], noise[:-4, 0]], axis=1)  # the second will be what the first is, horizon steps on
    for values, alone in ((noise[4:], True), (follower, False)):
        names = [str(number) for number in range(values.shape[1])]
        cuts = {"train": slice(100), "validation": slice(100, 150), "test": slice(150, 200)}
        tables, card = tables_of({part: Series(values[rows], times[rows], names) for part, rows in cuts.items()})
        examples = {split: TASK.examples(table, card) for split, table in tables.items()}
        changed = {name: tensor.clone() for name, tensor in examples["test"].items()}
        changed["past"][:, 0] += torch.randn(changed["past"][:, 0].shape, generator=torch.Generator().manual_seed(0))
        before, after = (
            ridge({**examples, "test": test}, np.ones(len(names)))["test"] for test in (examples["test"], changed)
        )
        assert np.array_equal(before[:, 1], after[:, 1]) == alone


def test_a_constant_series_spoils_no_figure() -> None:
    records = parts()
    for part in records.values():
        part.values[:, 2] = 7.0
    tables, card = tables_of(records)
    assert card["warnings"] == ["column series 2 is constant in train (7)"]
    predictions = TASK.predict(network(card), TASK.examples(tables["test"], card), card)
    for table in (predictions, *(found["test"] for found in TASK.baselines(tables, card, 0).values())):
        assert all(np.isfinite(value) for value in TASK.metrics(table, card).values())


def test_a_series_that_validation_never_saw_has_no_interval_of_a_baseline() -> None:
    records = parts()
    records["validation"].values[:, 1] = np.nan
    tables, card = tables_of(records)
    assert card["warnings"] == ["column series 1 has no observation in validation and is not scored there"]
    examples = {split: TASK.examples(table, card) for split, table in tables.items()}
    for found in classical_forecasts(examples, card, [0.1, 0.5, 0.9], TASK.unit(card)).values():
        table = found["test"]
        unknown = table["column"] == "series 1"
        assert (table["lower"] == table["upper"])[unknown].all()
        assert (table["lower"] < table["upper"])[~unknown].all()
        assert all(np.isfinite(value) for value in TASK.metrics(table, card).values())


def test_gaps_of_one_series_leave_the_others_alone() -> None:
    records = parts()
    records["test"].values[10:20, 1] = np.nan
    tables, card = tables_of(records)
    assert card["missing"]["test"] == {"series 0": 0, "series 1": 10, "series 2": 0}
    predictions = TASK.predict(network(card), TASK.examples(tables["test"], card), card)
    seen = predictions.groupby("column")["observed"].mean()
    assert seen["series 0"] == seen["series 2"] == 1.0 and 0.7 < seen["series 1"] < 0.9
    assert all(np.isfinite(value) for value in TASK.metrics(predictions, card).values())


@pytest.mark.parametrize("count", [1, 2, MOST_SERIES + 1])
def test_pictures_show_every_series_up_to_a_number(count: int, tmp_path: Path) -> None:
    tables, card = tables_of(parts(count))
    examples = TASK.examples(tables["test"], card)
    predictions = TASK.predict(network(card), examples, card)
    drawn = draw_forecasts(predictions, examples["past"].numpy(), card, tmp_path, "cnn", 0.8)
    names = ["forecasts.png", "error_by_step.png", "error_by_series.png"]
    assert [path.name for path in drawn] == names[: 2 if count == 1 else 3]
    assert all(path.stat().st_size > 10_000 for path in drawn)
