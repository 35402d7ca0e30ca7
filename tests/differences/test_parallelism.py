"""Chains of dependent operations with known lengths, minGRU against its own loop, and every verdict of difference 8."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.differences import parallelism, temporal_dependency
from pipeline.differences.drawing import figure
from pipeline.differences.networks import made, parameter_count, rnn
from pipeline.differences.of_parallelism.chain import exponent, longest_chain
from pipeline.differences.of_parallelism.mingru import MinGRU, made_mingru, matched_hidden, scanned, stepped
from pipeline.differences.of_parallelism.seconds import Case, median_seconds
from pipeline.differences.paired import Measured
from pipeline.differences.result import Result
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED
from pipeline.models.rnn.scans import initialise
from pipeline.params import ParamsError
from pipeline.stages import difference

SHARED: dict[str, Any] = {"seeds": 8, "selection_seeds": 1, "rates": [0.01], "steps": 2, "batch": 4}
SETTINGS = parallelism.Settings(
    **SHARED, lengths=[16, 64], margin=0.5, accuracy_margin=0.05, timed=[8, 16], positions=16, blocks=1
)
SEQUENCES: dict[str, Any] = {"length": 20, "lags": [4, 16], "long": 16, "distractors": 4, "examples": 8, "margin": 0.05}


class Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.forward = function


def chain_of(function: Any, x: Tensor) -> int:
    return longest_chain(Function(function), x)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A result of temporal_dependency whose gru is right in 90 %."""
    monkeypatch.chdir(tmp_path)
    file = Path("differences/results/temporal_dependency.json")
    file.parent.mkdir(parents=True)
    curves = {"lags": SEQUENCES["lags"], "by_lag": {"gru": [[1.0, 0.9]] * 8}}
    file.write_text(json.dumps({"budget": {**SHARED, **SEQUENCES}, "told": {}, "curves": curves}), encoding="utf-8")
    return file


def measured_with(accuracies: list[float], apart: float = 0.0) -> Measured:
    values = [{"validation": accuracy, "apart": apart} for accuracy in accuracies]
    return Measured({parallelism.MINGRU: values}, {parallelism.MINGRU: 0.01})


def rigged_chains(growth: float) -> dict[str, list[int]]:
    """Chains that are constant, but those of the cells, which grow with this exponent."""
    cells = [round(100 * (length / 16) ** growth) for length in SETTINGS.lengths]
    flat = {name: [100] * len(cells) for name in (*parallelism.BLOCKS, parallelism.MINGRU)}
    return {**flat, **{cell: cells for cell in ("rnn", "lstm", "gru")}}


def test_operations_in_a_row_add_up_and_those_beside_each_other_do_not() -> None:
    x = torch.ones(1, 6)
    assert chain_of(lambda x: torch.relu(x) + 1, x) == 2
    assert chain_of(lambda x: torch.relu(x) + torch.tanh(x), x) == 2
    assert chain_of(lambda x: torch.relu(torch.exp(x)) + torch.tanh(x), x) == 3


def test_views_are_no_operations_and_changes_in_place_are() -> None:
    assert chain_of(lambda x: x.view(2, 3).transpose(0, 1)[1:], torch.ones(1, 6)) == 0
    assert chain_of(lambda x: torch.exp(x).relu_().add_(1), torch.ones(1, 6)) == 3


def test_parts_of_one_piece_of_memory_have_depths_of_their_own() -> None:
    def halves(x: Tensor) -> Tensor:
        first, second = torch.exp(x).chunk(2, 1)
        return first.sigmoid_() + second.tanh_()

    assert chain_of(halves, torch.ones(1, 6)) == 3


@pytest.mark.parametrize(("cell", "a_step"), [("rnn", 3), ("lstm", 7), ("gru", 9)])
def test_every_step_of_a_cell_waits_for_the_one_before_it(cell: str, a_step: int) -> None:
    """rnn: product, sum, tanh. lstm: product, sum, gate, times, plus, tanh, times. gru: two more for its candidate."""
    network = made(0, rnn(cell, hidden=4), 3, 2)
    chains = [longest_chain(network, torch.zeros(1, 3, length)) for length in (5, 6, 15)]
    assert chains[1] - chains[0] == a_step
    assert chains[2] - chains[0] == 10 * a_step


def test_the_chain_of_a_convolution_does_not_depend_on_the_length_and_grows_with_its_levels() -> None:
    short, longer = (parallelism.built(length, 16, 3)["resnet"] for length in (8, 16))
    counts = [longest_chain(network, torch.zeros(1, 3, t)) for network in (short, longer) for t in (8, 90)]
    assert counts[0] == counts[1] < counts[2] == counts[3]


def test_a_scan_grows_with_the_logarithm_of_the_length_and_a_loop_with_the_length() -> None:
    def counts(how: Any) -> list[int]:
        return [chain_of(lambda x: how(x, x), torch.ones(1, length, 2)) for length in (8, 16, 32)]

    scan, loop = counts(scanned), counts(stepped)
    assert scan[2] - scan[1] == scan[1] - scan[0] == 2
    assert (loop[2] - loop[1], loop[1] - loop[0]) == (32, 16)


def test_an_operator_that_goes_along_the_steps_by_itself_is_not_counted_as_one() -> None:
    with pytest.raises(ValueError, match="goes along the steps by itself"):
        chain_of(lambda x: x.cumsum(1), torch.ones(1, 6))


def test_the_exponent_is_one_for_a_line_and_zero_for_a_constant() -> None:
    assert exponent([8, 16, 32], [80, 160, 320]) == pytest.approx(1)
    assert exponent([8, 16, 32], [7, 7, 7]) == pytest.approx(0)


def test_levels_are_the_fewest_that_cover_the_length() -> None:
    fields = {length: 1 + 2 * (2 ** (parallelism.covering(length) + 1) - 1) for length in (8, 15, 16, 31, 32, 512)}
    assert fields == {8: 15, 15: 15, 16: 31, 31: 31, 32: 63, 512: 1023}


@pytest.mark.parametrize("length", [1, 2, 7, 64, 200])
def test_scan_and_loop_agree_forward_and_backward(length: int) -> None:
    draw = torch.Generator().manual_seed(length)
    kept = torch.rand(3, length, 5, generator=draw, dtype=torch.float32).requires_grad_()
    fresh = torch.randn(3, length, 5, generator=draw).requires_grad_()
    weights = torch.randn(3, length, 5, generator=draw)
    seen = [
        (states, *torch.autograd.grad((states * weights).sum(), (kept, fresh)))
        for states in (scanned(kept, fresh), stepped(kept, fresh))
    ]
    for scan, loop in zip(*seen, strict=True):
        assert torch.allclose(scan, loop, atol=1e-4, rtol=1e-4)


def test_mingru_goes_on_from_the_state_that_an_earlier_call_has_left() -> None:
    torch.manual_seed(0)
    cell, x = MinGRU(3, 5), torch.randn(2, 9, 3)
    whole, last = cell(x)
    first, state = cell(x[:, :4])
    second, end = cell(x[:, 4:], state)
    assert torch.allclose(torch.cat([first, second], 1), whole, atol=1e-6)
    assert torch.allclose(end, last, atol=1e-6)


def test_mingru_is_the_recurrence_of_its_paper() -> None:
    cell = MinGRU(1, 1)
    initialise(cell, 0.0)  # type: ignore[arg-type]
    with torch.no_grad():
        cell.weight_ih_l0.copy_(torch.tensor([[0.0], [2.0]]))  # z = 1/2, candidate = 2 x
    states = cell(torch.tensor([[[1.0], [1.0], [0.0]]]))[0]
    assert states.flatten().tolist() == pytest.approx([1.0, 1.5, 0.75])


def test_mingru_sees_no_later_step_and_every_earlier_one() -> None:
    network = made_mingru(0, 6, 3, 2)
    x = torch.randn(1, 3, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(network.features(x)[0, :, 5].square().sum(), x)
    assert bool((slope[0, :, :6].abs().sum(0) > 0).all()) and bool((slope[0, :, 6:] == 0).all())


def test_mingru_is_matched_by_parameters_and_its_weights_follow_from_the_seed() -> None:
    hidden = matched_hidden(3000, 7, 2)
    first, second, other = (made_mingru(seed, hidden, 7, 2) for seed in (1, 1, 2))
    assert parameter_count(first) == pytest.approx(3000, rel=0.03)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_a_scan_that_computes_something_else_is_far_from_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = made_mingru(0, 6, 3, 2), torch.randn(2, 3, 8)
    assert parallelism.scan_from_loop(network, x) < parallelism.EQUAL
    for module in network.modules():
        if isinstance(module, MinGRU):
            module.states = lambda kept, fresh: fresh + 0 * kept
    assert parallelism.scan_from_loop(network, x) > parallelism.EQUAL


def test_claim_holds_and_not_for_recurrence_as_such_where_mingru_keeps_up(recorded: Path) -> None:
    result = parallelism.judge(measured_with([0.89, 0.91] * 4), SETTINGS)
    assert result.verdict == HOLDS
    assert result.effects["gru − mingru"].verdict == DOES_NOT_HOLD
    assert "holds for rnn, lstm, gru; not for recurrence as such." in result.shown
    assert all(check["passed"] for check in result.controls.values())
    assert parallelism.draw(json.loads(json.dumps(result.described()))).axes


@pytest.mark.parametrize(
    ("accuracies", "apart", "beside"),
    [([0.5, 0.52] * 4, 0.0, HOLDS), ([0.5, 1.0] * 4, 0.0, NOT_DECIDED), ([0.89, 0.91] * 4, 0.1, DOES_NOT_HOLD)],
    ids=["mingru behind", "mingru undecided", "scan is not the loop"],
)
def test_nothing_is_said_about_recurrence_as_such_otherwise(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, accuracies: list[float], apart: float, beside: str
) -> None:
    monkeypatch.setattr(parallelism, "chains", lambda settings, channels: rigged_chains(1.0))
    result = parallelism.judge(measured_with(accuracies, apart), SETTINGS)
    assert result.verdict == HOLDS
    assert result.effects["gru − mingru"].verdict == beside
    assert "stays open" in result.shown


@pytest.mark.parametrize(
    ("growth", "verdict"), [(1.0, HOLDS), (0.6, HOLDS), (0.4, DOES_NOT_HOLD), (0.0, DOES_NOT_HOLD)]
)
def test_claim_stands_and_falls_with_how_the_chains_of_cells_grow(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, growth: float, verdict: str
) -> None:
    monkeypatch.setattr(parallelism, "chains", lambda settings, channels: rigged_chains(growth))
    result = parallelism.judge(measured_with([0.9] * 8), SETTINGS)
    assert result.verdict == verdict
    assert result.effects["rnn"].mean == pytest.approx(growth, abs=0.01)
    assert bool(result.advice) == (verdict == HOLDS)


def test_one_cell_that_needs_no_chain_is_enough_to_refute_the_claim(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallelism, "chains", lambda *_: {**rigged_chains(1.0), "gru": [100, 100]})
    assert parallelism.judge(measured_with([0.9] * 8), SETTINGS).verdict == DOES_NOT_HOLD


def test_a_training_is_seen_at_every_lag_and_scan_is_compared_on_counting_seeds(recorded: Path) -> None:
    arm = parallelism.arms(SETTINGS)[parallelism.MINGRU]
    seen = parallelism.measure(arm.facts, 0, 0.01, SETTINGS, True)
    assert set(seen["accuracy"]) == {"4", "16"} and seen["validation"] == seen["accuracy"]["16"]
    assert seen["apart"] < parallelism.EQUAL
    assert "apart" not in parallelism.measure(arm.facts, 1000, 0.01, SETTINGS, False)


def test_settings_must_be_those_of_temporal_dependency(recorded: Path) -> None:
    with pytest.raises(ParamsError, match=r"parallelism\.steps must be that of temporal_dependency, 2, got 3"):
        parallelism.arms(SETTINGS.model_copy(update={"steps": 3}))
    recorded.unlink()
    with pytest.raises(ParamsError, match="is missing; run `dvc repro"):
        parallelism.arms(SETTINGS)


def test_params_of_the_repository_fit_those_of_temporal_dependency() -> None:
    from pipeline.differences.settings import chosen
    from pipeline.params import read_raw

    path = Path(__file__).parents[2] / "differences/params.yaml"
    entries = read_raw(path)["differences"]
    assert chosen(path, "parallelism", parallelism.Settings)[1].lengths[-1] == 512
    assert chosen(path, "temporal_dependency", temporal_dependency.Settings)
    for name in parallelism.SHARED:
        assert entries["parallelism"][name] == entries["temporal_dependency"][name]


def test_seconds_go_beside_the_results(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rigged(networks: dict[str, nn.Module], cases: list[Case], channels: int, blocks: int) -> list[dict[str, Any]]:
        assert all(network(torch.zeros(1, channels, 8)).shape == (1, 2) for network in networks.values())
        return [{"network": name, **asdict(case), "seconds": 0.1} for case in cases for name in networks]

    monkeypatch.setattr(parallelism, "median_seconds", rigged)
    parallelism.after(measured_with([0.9] * 8), SETTINGS, tmp_path)
    rows = json.loads((tmp_path / "parallelism-seconds.json").read_text(encoding="utf-8"))["rows"]
    assert {(row["batch"], row["length"], row["threads"]) for row in rows} == {
        (2, 8, 1), (2, 8, 2), (1, 8, 1), (1, 8, 2), (1, 16, 1), (1, 16, 2),
    }  # fmt: skip
    assert len(rows) == 6 * 5
    assert {row["network"] for row in rows} == {"resnet", "rnn", "lstm", "gru", parallelism.MINGRU}
    assert (tmp_path / "parallelism-seconds.svg").is_file()


def test_seconds_are_medians_and_threads_are_as_before() -> None:
    threads = torch.get_num_threads()
    rows = median_seconds({"one": nn.Conv1d(2, 1, 1)}, [Case(1, 4, 1), Case(1, 4, 2)], 2, 3)
    assert [row["threads"] for row in rows] == [1, 2] and all(row["seconds"] > 0 for row in rows)
    assert torch.get_num_threads() == threads


def test_a_difference_that_measures_the_machine_writes_beside_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after(measured: Measured, settings: Any, folder: Path) -> None:
        (folder / "parallelism-seconds.txt").write_text(f"{measured.of('arm', 'validation')}", encoding="utf-8")

    seen = Measured({"arm": [{"validation": 1.0}]}, {"arm": 0.01})
    rigged = SimpleNamespace(
        CLAIM="", Settings=None, draw=lambda result: figure(1, 1), after=after,
        judge=lambda measured, settings: Result(HOLDS, {}, "", ""),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pipeline.differences.parallelism", rigged)  # type: ignore[arg-type]
    monkeypatch.setattr(difference, "chosen", lambda *_: ("quick", SETTINGS))
    monkeypatch.setattr(difference, "measure_all", lambda *_, **__: seen)
    monkeypatch.setattr(difference, "code_digest", lambda *_: "")
    monkeypatch.setattr(difference, "read_by", lambda name: [])
    difference.main("parallelism", SimpleNamespace(threads=1, workers=1))  # type: ignore[arg-type]
    assert Path("timings/differences/parallelism-seconds.txt").read_text(encoding="utf-8") == "[1.0]"
    assert json.loads(Path("differences/results/parallelism.json").read_text(encoding="utf-8"))["verdict"] == HOLDS
