"""The search: proposals depend on completed generations and numbers alone, whatever runs, crashes or comes first."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.params import Choices, Pruning, Range, load
from pipeline.search.search import Trial, best_trial, importances, propose, pruning_limits, search, searched
from pipeline.stages import tune
from pipeline.training.fit import Outcome

SPACE: dict[str, Any] = {
    "architecture": Choices(choices=["vgg", "resnet"]),
    "width": Range(low=16, high=64),
    "learning_rate": Range(low=1e-3, high=1e-1, log=True),
    "depth": 2,
}
PRUNING = Pruning(after_epochs=2, quantile=0.5)


def outcome_of(parameters: dict[str, Any], limits: dict[int, float] | None = None, epochs: int = 4) -> Outcome:
    """A made-up fit whose loss has its minimum at a learning rate of 0.01 and a width of 48."""
    base = abs(math.log10(parameters["learning_rate"]) + 2) + abs(parameters["width"] - 48) / 48
    losses = [base + 1 / (epoch + 1) for epoch in range(epochs)]
    kept = next((epoch + 1 for epoch, loss in enumerate(losses) if loss > (limits or {}).get(epoch, math.inf)), epochs)
    history = [{"epoch": float(epoch), "validation_loss": loss} for epoch, loss in enumerate(losses[:kept])]
    figures = {"validation_loss": losses[kept - 1], "validation_accuracy": 0.5}
    return Outcome(figures, kept - 1, kept < epochs or losses[-1] > (limits or {}).get(epochs - 1, math.inf), history)


def run(proposals: Sequence[tuple[int, dict[str, Any], dict[int, float]]]) -> list[Outcome]:
    return [outcome_of(parameters, limits) for _, parameters, limits in proposals]


def trial(number: int, losses: list[float], pruned: bool = False) -> Trial:
    history = [{"epoch": epoch, "validation_loss": loss} for epoch, loss in enumerate(losses)]
    parameters = {"architecture": "vgg", "width": 16 + number, "learning_rate": 0.01 * (number + 1), "depth": 2}
    return Trial(number, 0, parameters, Outcome({"validation_loss": min(losses)}, 0, pruned, history))


def test_the_same_search_twice_gives_the_same_trials() -> None:
    first, second = (search(SPACE, 10, 4, PRUNING, 0, run) for _ in range(2))
    assert first == second
    assert [each.number for each in first] == list(range(10))
    assert [each.generation for each in first] == [0] * 4 + [1] * 4 + [2] * 2
    assert first != search(SPACE, 10, 4, PRUNING, 1, run)


def test_a_seeded_search_proposes_what_it_always_did() -> None:
    """Other proposals would change the dvc.lock of every user of the pipeline."""
    found = [each.parameters for each in search(SPACE, 10, 4, PRUNING, 0, run)]
    assert [(each["architecture"], each["width"], each["learning_rate"]) for each in found] == [
        ("resnet", 45, pytest.approx(0.0122960711, rel=1e-8)),
        ("resnet", 16, pytest.approx(0.00402406646, rel=1e-8)),
        ("vgg", 42, pytest.approx(0.00742411662, rel=1e-8)),
        ("resnet", 30, pytest.approx(0.0105112704, rel=1e-8)),
        ("vgg", 63, pytest.approx(0.0268925502, rel=1e-8)),
        ("resnet", 26, pytest.approx(0.068741945, rel=1e-8)),
        ("vgg", 56, pytest.approx(0.00121169482, rel=1e-8)),
        ("resnet", 37, pytest.approx(0.0279853251, rel=1e-8)),
        ("resnet", 51, pytest.approx(0.00181441936, rel=1e-8)),
        ("resnet", 52, pytest.approx(0.0362745447, rel=1e-8)),
    ]


def test_proposals_are_in_the_space_and_keep_fixed_values_and_the_order_of_names() -> None:
    for each in search(SPACE, 12, 4, None, 0, run):
        assert list(each.parameters) == list(SPACE)
        assert each.parameters["architecture"] in ("vgg", "resnet")
        assert isinstance(each.parameters["width"], int) and 16 <= each.parameters["width"] <= 64
        assert 1e-3 <= each.parameters["learning_rate"] <= 1e-1
        assert each.parameters["depth"] == 2


def test_proposals_depend_on_completed_generations_and_on_the_numbers_before_them_alone() -> None:
    done = search(SPACE, 8, 4, None, 0, run)
    together = propose(SPACE, done, range(8, 12), 0)
    assert propose(SPACE, done, range(8, 12), 0) == together
    assert propose(SPACE, done, range(8, 10), 0) == together[:2], "those that come later change nothing"
    assert len({str(values) for _, values in together}) == 4, "trials of a generation differ"
    assert propose(SPACE, done[:4], range(8, 12), 0) != together


def test_limits_of_a_generation_are_the_same_for_all_of_it_and_come_from_those_before() -> None:
    given: list[list[dict[int, float]]] = []

    def noted(proposals: Sequence[tuple[int, dict[str, Any], dict[int, float]]]) -> list[Outcome]:
        given.append([limits for *_, limits in proposals])
        return run(proposals)

    trials = search(SPACE, 8, 4, PRUNING, 0, noted)
    assert given[0] == [{}] * 4
    assert given[1] == [pruning_limits(trials[:4], PRUNING)] * 4
    assert sorted(given[1][0]) == [1, 2, 3]


def test_more_trials_go_on_where_fewer_ended() -> None:
    few, many = search(SPACE, 4, 4, PRUNING, 0, run), search(SPACE, 8, 4, PRUNING, 0, run)
    assert many[:4] == few


def test_the_search_finds_better_parameters_than_chance() -> None:
    trials = search(SPACE, 30, 5, None, 0, run)
    first, last = ([each.value for each in part] for part in (trials[:10], trials[-10:]))
    assert sum(last) / 10 < sum(first) / 10
    assert best_trial(trials).value < 0.6


def test_pruning_limits_are_quantiles_of_the_lowest_losses_so_far() -> None:
    done = [trial(0, [3.0, 1.0, 2.0]), trial(1, [2.0, 2.0, 0.5]), trial(2, [4.0, 4.0, 4.0])]
    assert pruning_limits(done, Pruning(after_epochs=2, quantile=0.5)) == {1: 2.0, 2: 1.0}
    assert pruning_limits(done, Pruning(after_epochs=1, quantile=0.25)) == {0: 2.5, 1: 1.5, 2: 0.75}


def test_pruned_and_failed_trials_set_no_limits_and_short_ones_keep_their_last_loss() -> None:
    done = [trial(0, [3.0, 1.0]), trial(1, [0.1], pruned=True), trial(2, [math.nan, math.nan, math.nan])]
    assert pruning_limits(done, PRUNING) == {1: 1.0}
    longer = [*done, trial(3, [2.0, 2.0, 2.0])]
    assert pruning_limits(longer, PRUNING) == {1: 1.5, 2: 1.5}
    assert pruning_limits(done, None) == {} == pruning_limits([], PRUNING)


def test_the_best_trial_is_complete_finite_and_the_first_of_equals() -> None:
    trials = [trial(0, [math.nan]), trial(1, [0.1], pruned=True), trial(2, [0.5]), trial(3, [0.5]), trial(4, [0.7])]
    assert best_trial(trials).number == 2
    assert [each.state for each in trials] == ["FAIL", "PRUNED", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_a_search_in_which_every_trial_diverges_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="none of 2 trials came to a finite validation loss"):
        best_trial([trial(0, [math.nan]), trial(1, [math.inf])])


def test_a_failed_trial_does_not_stop_the_search() -> None:
    def failing(proposals: Sequence[tuple[int, dict[str, Any], dict[int, float]]]) -> list[Outcome]:
        broken = Outcome({"validation_loss": math.nan}, 0, False, [{"epoch": 0, "validation_loss": math.nan}])
        return [broken if number % 2 else outcome_of(values) for number, values, _ in proposals]

    trials = search(SPACE, 8, 4, PRUNING, 0, failing)
    assert [each.state for each in trials] == ["COMPLETE", "FAIL"] * 4


def test_importances_name_every_searched_parameter_the_decisive_one_first() -> None:
    trials = search(SPACE, 24, 4, None, 0, run)
    found = importances(SPACE, trials, 0)
    assert set(found) == {"architecture", "width", "learning_rate"} == set(searched(SPACE))
    assert next(iter(found)) != "architecture"
    assert sum(found.values()) == pytest.approx(1)
    assert found == importances(SPACE, trials, 0)


def test_importances_without_a_choice_or_enough_trials_are_still_said() -> None:
    assert importances({"width": Range(low=16, high=64), "depth": 2}, [], 0) == {"width": 1.0}
    few = importances(SPACE, [trial(0, [1.0])], 0)
    assert all(math.isnan(value) for value in few.values())


def test_a_search_without_anything_to_search_runs_its_trials() -> None:
    fixed = {name: 0.01 if name == "learning_rate" else 48 for name in ("learning_rate", "width")}
    trials = search(fixed, 3, 2, None, 0, run)
    assert [each.parameters for each in trials] == [fixed] * 3


# The stage, on real data


@pytest.fixture
def repository(
    tiny: dict[str, Any], prepared: Path, tmp_path: Path, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with prepared data in which digits-cnn is searched with 4 trials of 1 epoch in generations of 2."""
    tiny["experiments"]["digits"]["training"] |= {"trials": 4, "generation": 2, "trial_epochs": 1, "pruning": None}
    save(tiny, tmp_path)
    (tmp_path / "data").symlink_to(prepared / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tune, "live_run", lambda *_, **__: contextlib.nullcontext())
    return tmp_path


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = tune.open_pool
    monkeypatch.setattr(tune, "open_pool", lambda _, *others: opened(0, *others))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_one_worker_two_workers_and_a_killed_search_give_the_same_files(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, target = load(), repository / "search/digits/digits-cnn"
    tune.main("digits-cnn", params.model_copy(update={"workers": 2}))
    two = contents(target)
    assert len(pd.read_csv(target / "trials.csv")) == 4
    tune.main("digits-cnn", params.model_copy(update={"workers": 1}))
    assert contents(target) == two

    in_this_process(monkeypatch)
    fits = count_fits(monkeypatch, stop_before=2)
    with pytest.raises(KeyboardInterrupt):
        tune.main("digits-cnn", params)
    assert contents(target) == two, "what stood there before is untouched"
    kept = sorted(path.name for path in (repository / ".work").glob("*/*.safetensors"))
    assert kept == ["trial-000.safetensors", "trial-001.safetensors"]
    assert fits == ["trial-000", "trial-001"]

    fits = count_fits(monkeypatch)
    tune.main("digits-cnn", params)
    assert contents(target) == two
    assert fits == ["trial-002", "trial-003"], "completed trials are not trained again"
    assert list((repository / ".work").iterdir()) == []


def count_fits(monkeypatch: pytest.MonkeyPatch, stop_before: int | None = None) -> list[str]:
    """The names of the fits that really train; the one of number `stop_before` is interrupted."""
    from pipeline.training import fit

    trained: list[str] = []
    real = getattr(fit._fit, "real", fit._fit)

    def counted(job: Any) -> Any:
        if stop_before is not None and len(trained) == stop_before:
            raise KeyboardInterrupt
        trained.append(job.name)
        return real(job)

    counted.real = real  # type: ignore[attr-defined]
    monkeypatch.setattr(fit, "_fit", counted)
    return trained
