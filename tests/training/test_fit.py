"""One fit: the same bytes every time, the best epoch kept, stopped when it is hopeless, never done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from pipeline.data.tables import read_card, read_table
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network
from pipeline.training.callbacks import AveragedWeights
from pipeline.training.fit import Job, Outcome, fit, precision_of
from pipeline.training.launch import is_first_process
from pipeline.training.optimisation import optimisation_of

Make = Callable[..., Job]


def validated(job: Job) -> tuple[float, float]:
    """(loss, score) on validation of the weights that a fit has kept."""
    task, card = load_task(job.task, job.settings), read_card(Path(job.prepared))
    network = build_network(task, job.family, card, job.parameters)
    network.load_state_dict(load_file(job.weights))
    network.eval()
    examples = task.examples(read_table(Path(job.prepared), "validation"), card)
    with torch.inference_mode():
        output = task.output(network, examples)
        loss = task.loss(network, output, examples)
        return float(loss), float(task.scores(output, examples, card).double().mean())


@pytest.mark.parametrize("candidate", ["digits-cnn", "co2-rnn"])
def test_the_same_job_gives_the_same_bytes(candidate: str, job: Make) -> None:
    first, second = job(candidate, "a"), job(candidate, "b")
    found = [fit(first), fit(second)]
    assert found[0] == found[1]
    assert first.weights.read_bytes() == second.weights.read_bytes()
    assert first.outcome.read_bytes() == second.outcome.read_bytes()
    other = job(candidate, "c", seed=1)
    fit(other)
    assert other.weights.read_bytes() != first.weights.read_bytes()


def test_what_happened_before_in_the_process_changes_nothing(job: Make) -> None:
    first, second = job(work="a"), job(work="b")
    fit(first)
    torch.manual_seed(99)
    torch.rand(1000)
    fit(second)
    assert first.weights.read_bytes() == second.weights.read_bytes()


def test_a_completed_fit_is_read_and_not_done_again(job: Make) -> None:
    once = job()
    first = fit(once)
    once.journal.unlink()
    before = once.weights.stat().st_mtime_ns
    assert fit(once) == first
    assert not once.journal.exists() and once.weights.stat().st_mtime_ns == before


def test_a_fit_that_was_cut_off_begins_anew(job: Make) -> None:
    cut, whole = job(work="a"), job(work="b")
    cut.journal.write_text('{"epoch": 0, "time": 1.0, "metrics": {}}\n', encoding="utf-8")
    cut.weights.with_name(".repeat-0.safetensors.pipeline-part").write_bytes(b"half")
    assert fit(cut) == fit(whole)
    assert cut.weights.read_bytes() == whole.weights.read_bytes()
    assert cut.journal.read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize("decay", [0.0, 0.9])
@pytest.mark.parametrize("candidate", ["digits-cnn", "co2-cnn"])
def test_the_weights_that_are_kept_are_those_that_were_validated(candidate: str, decay: float, job: Make) -> None:
    done = job(candidate, parameters={"ema_decay": decay})
    outcome = fit(done)
    loss, score = validated(done)
    name = load_task(done.task, done.settings).score
    assert outcome.figures["validation_loss"] == pytest.approx(loss, rel=1e-5)
    assert outcome.figures[f"validation_{name}"] == pytest.approx(score, rel=1e-5)


def test_averaging_changes_what_is_validated_but_not_how_weights_move(job: Make) -> None:
    plain = fit(job(work="a", parameters={"ema_decay": 0.0}))
    averaged = fit(job(work="b", parameters={"ema_decay": 0.9}))
    assert [row["train_loss"] for row in plain.history] == [row["train_loss"] for row in averaged.history]
    assert plain.figures["validation_loss"] != averaged.figures["validation_loss"]


def test_running_statistics_are_averaged_with_the_weights_and_counters_are_not() -> None:
    module, averaged = torch.nn.Sequential(torch.nn.BatchNorm1d(2)), AveragedWeights(0.5)
    norm, trainer = module[0], SimpleNamespace(global_step=1_000)
    averaged.on_train_start(trainer, module)  # type: ignore[arg-type]
    for value in (0.0, 1.0, 2.0):
        norm.running_mean.fill_(value)
        norm.weight.data.fill_(value)
        norm.num_batches_tracked.add_(1)
        averaged.on_train_batch_end(trainer, module)  # type: ignore[arg-type]
    averaged.on_validation_start(trainer, module)  # type: ignore[arg-type]
    assert norm.running_mean.tolist() == norm.weight.tolist() == [1.25, 1.25]  # ((0 + 1) / 2 + 2) / 2
    assert int(norm.num_batches_tracked) == 3
    averaged.on_validation_end(trainer, module)  # type: ignore[arg-type]
    assert norm.running_mean.tolist() == norm.weight.tolist() == [2.0, 2.0]


def test_patience_ends_a_fit_and_the_best_epoch_is_kept(job: Make) -> None:
    wild = {"learning_rate": 0.05, "warmup": 0.0, "ema_decay": 0.0, "gradient_clip": 0.0}
    done = job(epochs=30, patience=2, parameters=wild)
    outcome = fit(done)
    losses = [row["validation_loss"] for row in outcome.history]
    assert len(losses) < 30
    assert losses.index(min(losses)) == outcome.best_epoch == len(losses) - 1 - 2
    assert outcome.figures["validation_loss"] == min(losses) == pytest.approx(validated(done)[0], rel=1e-5)


def test_a_trial_above_its_limit_is_pruned_in_that_epoch(job: Make) -> None:
    outcome = fit(job(epochs=5, limits={1: 0.0, 2: 0.0}))
    assert outcome.pruned
    assert [row["epoch"] for row in outcome.history] == [0, 1]


def test_a_trial_below_its_limits_runs_to_the_end(job: Make) -> None:
    outcome = fit(job(epochs=3, limits={0: 100.0, 1: 100.0, 2: 100.0}))
    assert not outcome.pruned
    assert len(outcome.history) == 3


def test_history_and_journal_tell_the_same(job: Make) -> None:
    done = job(epochs=3)
    outcome = fit(done)
    lines = [json.loads(line) for line in done.journal.read_text(encoding="utf-8").splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    for line, row in zip(lines, outcome.history, strict=True):
        assert line["metrics"] == {name: value for name, value in row.items() if name not in ("epoch", "step")}
        assert line["time"] > 1_700_000_000
    steps = -(-240 // 32)  # 240 training examples
    assert [row["step"] for row in outcome.history] == [steps, 2 * steps, 3 * steps]
    assert set(outcome.history[0]) == {
        "epoch", "step", "learning_rate", "train_loss", "validation_loss", "validation_accuracy",
    }  # fmt: skip
    assert outcome.history[-1]["learning_rate"] == pytest.approx(0, abs=1e-5)


def test_training_learns(job: Make) -> None:
    outcome = fit(job(epochs=12, parameters={"dropout": 0.0, "architecture": "resnet"}))
    assert outcome.figures["validation_accuracy"] > 0.85
    assert outcome.history[-1]["train_loss"] < 0.5 * outcome.history[0]["train_loss"]


def test_a_fit_that_diverges_ends_with_a_loss_that_is_no_number(job: Make) -> None:
    outcome = fit(job("co2-rnn", parameters={"learning_rate": 1e30, "gradient_clip": 0.0}))
    assert not outcome.figures["validation_loss"] < 1e6


def test_a_fit_leaves_only_its_own_files(job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = job()
    fit(done)
    assert sorted(path.name for path in Path(done.work).iterdir()) == [
        "repeat-0.json", "repeat-0.jsonl", "repeat-0.lock", "repeat-0.safetensors",
    ]  # fmt: skip
    assert list((tmp_path / "here").iterdir()) == []


def test_a_batch_that_cannot_be_shared_stops_before_training(job: Make) -> None:
    from pipeline.data.batches import Batches

    with pytest.raises(ValueError, match="found 31, which 2 processes"):
        Batches({"x": torch.zeros(4)}, 31, None, 0, 2)


def test_precision_is_what_params_yaml_says_or_what_pays() -> None:
    assert precision_of({"precision": "64-true", "accelerator": "cpu"}, True) == "64-true"
    assert precision_of({"precision": "auto", "accelerator": "cpu"}, False) == "32-true"
    assert precision_of({"precision": "auto", "accelerator": "cpu"}, True) in ("32-true", "bf16-mixed")


@pytest.mark.parametrize(
    ("variables", "first"), [({}, True), ({"LOCAL_RANK": "1"}, False), ({"RANK": "0", "LOCAL_RANK": "1"}, True)]
)
def test_the_first_process_is_the_one_of_rank_zero(
    variables: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


def test_an_outcome_survives_its_file(job: Make) -> None:
    done = job()
    outcome = fit(done)
    assert Outcome(**json.loads(done.outcome.read_text(encoding="utf-8"))) == outcome


def test_large_examples_are_validated_in_smaller_batches() -> None:
    from pipeline.training.module import validation_batch

    digits, photographs = torch.empty(900, 1, 8, 8, device="meta"), torch.empty(900, 3, 240, 320, device="meta")
    labels = torch.empty(900, device="meta")
    assert validation_batch({"images": digits, "labels": labels}) == 512
    assert validation_batch({"labels": labels, "images": photographs}) == 36
    assert validation_batch({"images": torch.empty(2, 3, 4000, 6000, device="meta")}) == 1


def test_a_process_without_a_share_of_the_last_validation_batch_adds_nothing(job: Make) -> None:
    from pipeline.training.module import TaskModule

    made = job("digits-cnn")
    task, card = load_task(made.task, made.settings), read_card(Path(made.prepared))
    network = build_network(task, made.family, card, made.parameters)
    module = TaskModule(task, network, card, optimisation_of(made.parameters), 0, 1)
    examples = task.examples(read_table(Path(made.prepared), "validation"), card)
    for count in (0, 4):
        module.validation_step({name: tensor[:count] for name, tensor in examples.items()}, 0)
    nothing, four = module.validation
    assert nothing.tolist() == [0, 0, 0] and four[2] == 4 and torch.isfinite(four).all()
