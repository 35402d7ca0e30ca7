"""One suite for every task with every architecture of every family, on real data."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch
from processor import needs_half_precision
from safetensors.torch import load, save
from torch import nn

from pipeline.data.tables import Batch, Card, read_card, read_table
from pipeline.models import FAMILIES, load_family
from pipeline.params import load as load_params
from pipeline.tasks import TASKS, load_task
from pipeline.tasks.baselines import BASELINES, GUESSES
from pipeline.tasks.network import build_network, keyword_names
from pipeline.tasks.object_detection import detections
from pipeline.tasks.task import Task
from pipeline.tasks.translation import metrics as text_metrics

TINY = load_params(Path(__file__).parents[1] / "tiny.yaml")


@dataclass(frozen=True)
class Case:
    experiment: str
    family: str
    architecture: str


CASES = [
    Case(experiment, family, architecture)
    for experiment in TINY.experiments
    for family in FAMILIES
    for architecture in load_family(family).ARCHITECTURES
]
every = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.experiment}-{case.architecture}")
every_experiment = pytest.mark.parametrize("experiment", TINY.experiments)


def test_every_task_has_an_experiment() -> None:
    missing = set(TASKS) - {experiment.task for experiment in TINY.experiments.values()}
    assert not missing, f"tests/tiny.yaml needs an experiment with the task {missing}"


@dataclass(frozen=True)
class Bench:
    """A task with its data."""

    task: Task
    card: Card
    folder: Path

    def examples(self, split: str, count: int | None = None) -> Batch:
        examples = self.task.examples(read_table(self.folder, split), self.card)
        return {name: tensor[:count] for name, tensor in examples.items()}

    def network(self, case: Case, **changes: Any) -> nn.Module:
        """Its parameters: what tests/tiny.yaml says for task and family, of a range the largest."""
        (candidate,) = (
            entry for entry in TINY.candidates.values()
            if (entry.experiment, entry.family) == (case.experiment, case.family)
        )  # fmt: skip
        chosen = {name: values_of(entry)[-1] for name, entry in candidate.parameters.items()} | {"dropout": 0.0}
        torch.manual_seed(0)
        return build_network(self.task, case.family, self.card, chosen | {"architecture": case.architecture, **changes})

    def trained(self, case: Case, batch: Batch, steps: int, until: float = 0.0) -> tuple[nn.Module, list[float]]:
        """A network after at most `steps` steps on one batch, and the losses before each of them.

        It ends as soon as the loss is below `until` of the first one.
        """
        network, losses = self.network(case), []
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = self.task.loss(network, self.task.output(network, batch), batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
            if losses[-1] < until * losses[0]:
                break
        return network, losses


def values_of(entry: Any) -> list[Any]:
    """What a parameter may be: the entry itself, its choices, or the ends of its range."""
    return list(getattr(entry, "choices", [getattr(entry, "low", entry), getattr(entry, "high", entry)]))


def bench_of(name: str, prepared: Path) -> Bench:
    experiment, folder = TINY.experiments[name], prepared / "data/prepared" / name
    return Bench(load_task(experiment.task, experiment.settings), read_card(folder), folder)


@every_experiment
def test_batches_are_grouped_by_lengths_that_examples_have(experiment: str, prepared: Path) -> None:
    bench = bench_of(experiment, prepared)
    examples = bench.examples("train")
    for name in bench.task.lengths:
        assert examples[name].shape == (len(next(iter(examples.values()))),)
        assert len(examples[name].unique()) > 1, f"{name} tells nothing apart"


@every
def test_loss_is_finite_falls_on_a_tiny_batch_and_reaches_every_parameter(case: Case, prepared: Path) -> None:
    bench = bench_of(case.experiment, prepared)
    batch = bench.examples("train", 16)
    network, losses = bench.trained(case, batch, 60, until=0.5)
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.5 * losses[0], losses
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, f"{name} gets no gradient"


@every
def test_half_precision_gives_nearly_the_same_loss(case: Case, prepared: Path) -> None:
    """`precision: auto` takes bf16-mixed where a processor or GPU has units for it, and this machine may have none."""
    needs_half_precision(case.architecture)
    bench = bench_of(case.experiment, prepared)
    batch = bench.examples("train", 8)
    network = bench.network(case).eval()
    whole = float(bench.task.loss(network, bench.task.output(network, batch), batch).detach())
    with torch.autocast("cpu", torch.bfloat16):
        half = bench.task.loss(network, bench.task.output(network, batch), batch)
    half.backward()  # type: ignore[no-untyped-call]
    assert float(half.detach()) == pytest.approx(whole, rel=0.1)


@every
def test_predictions_tell_of_every_example_and_do_not_change_by_a_round_trip(case: Case, prepared: Path) -> None:
    bench = bench_of(case.experiment, prepared)
    network, _ = bench.trained(case, bench.examples("train", 16), 3)
    examples = bench.examples("test")
    predictions = bench.task.predict(network.eval(), examples, bench.card)
    count = len(next(iter(examples.values())))
    assert predictions["example"].unique().tolist() == list(range(count))
    again = bench.network(case)
    again.load_state_dict(load(save(network.state_dict())))
    pd.testing.assert_frame_equal(bench.task.predict(again.eval(), examples, bench.card), predictions, check_exact=True)


@every
def test_metrics_are_finite_and_agree_with_the_scores_of_the_examples(case: Case, prepared: Path) -> None:
    bench = bench_of(case.experiment, prepared)
    network, _ = bench.trained(case, bench.examples("train", 16), 3)
    examples = bench.examples("validation")
    predictions = bench.task.predict(network.eval(), examples, bench.card)
    metrics = bench.task.metrics(predictions, bench.card)
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    scores = bench.task.example_scores(predictions)
    assert scores.shape == (len(next(iter(examples.values()))),)
    if bench.task.corpus:
        return  # a score of all examples together is no mean of theirs
    assert metrics[bench.task.score] == pytest.approx(np.nanmean(scores), rel=1e-12)
    with torch.inference_mode():
        training = bench.task.scores(bench.task.output(network, examples), examples, bench.card)
    assert float(training.double().mean()) == pytest.approx(metrics[bench.task.score], rel=1e-4)


@every
def test_the_answer_to_a_request_is_what_evaluation_predicts(case: Case, prepared: Path) -> None:
    bench = bench_of(case.experiment, prepared)
    network, _ = bench.trained(case, bench.examples("train", 16), 10)
    network.eval()
    predictions = bench.task.predict(network, bench.examples("test"), bench.card)
    table, known, refused = read_table(bench.folder, "test"), 0, 0
    assert len(bench.task.answer(network, bench.task.input_example(table, bench.card), bench.card)) > 0
    for probe in bench.task.probes(table, predictions, bench.card):
        if probe.error is not None:
            refused += 1
            with pytest.raises(ValueError, match=re.escape(probe.error)):
                bench.task.answer(network, probe.request, bench.card)
            continue
        answer = bench.task.answer(network, probe.request, bench.card)
        if probe.answer is not None:
            known += len(probe.answer) > 0
            found = answer[list(probe.answer)].astype(probe.answer.dtypes)
            pd.testing.assert_frame_equal(found, probe.answer, rtol=1e-5, atol=1e-6, check_index_type=False)
    assert known >= 3 and refused >= 1, "a batch of 1, of 2 and of 7, and something that cannot be answered"


@every
def test_a_batch_is_answered_example_by_example(case: Case, prepared: Path) -> None:
    bench = bench_of(case.experiment, prepared)
    network = bench.network(case).eval()
    examples = bench.examples("test", 5)
    with torch.inference_mode():
        together = bench.task.output(network, examples)
        alone = [
            bench.task.output(network, {name: tensor[row : row + 1] for name, tensor in examples.items()})
            for row in range(5)
        ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


@every_experiment
def test_counting_an_example_twice_is_having_it_twice(experiment: str, prepared: Path) -> None:
    bench = bench_of(experiment, prepared)
    case = Case(experiment, "cnn", "vgg")
    predictions = bench.task.predict(bench.network(case).eval(), bench.examples("test", 6), bench.card)
    weights = np.array([[2.0, 0.0, 1.0, 0.0, 0.0, 1.0]])
    copies = [predictions[predictions["example"] == example] for example in (0, 0, 2, 5)]
    doubled = pd.concat([copy.assign(example=row) for row, copy in enumerate(copies)], ignore_index=True)
    weighted = bench.task.resampled_metrics(predictions, bench.card, weights)
    for name, value in bench.task.metrics(doubled, bench.card).items():
        assert weighted[name].shape == (1,)
        assert float(weighted[name][0]) == pytest.approx(value, rel=1e-9, abs=1e-12), name


@every_experiment
def test_baselines_predict_like_a_candidate_and_depend_on_nothing_but_their_input(
    experiment: str, prepared: Path
) -> None:
    bench = bench_of(experiment, prepared)
    tables = {split: read_table(bench.folder, split) for split in ("train", "validation", "test")}
    network = bench.network(Case(experiment, "cnn", "vgg")).eval()
    first, second = (bench.task.baselines(tables, bench.card, 0) for _ in range(2))
    assert first and set(first) == set(second)
    assert set(first) <= set(BASELINES[TINY.experiments[experiment].task]), "candidates of these names are not refused"
    for name, found in first.items():
        assert set(found) == {"validation", "test"}
        for split, predictions in found.items():
            candidate = bench.task.predict(network, bench.examples(split, 3), bench.card)
            pd.testing.assert_series_equal(predictions.dtypes, candidate.dtypes)
            pd.testing.assert_frame_equal(predictions, second[name][split], check_exact=True)
            metrics = bench.task.metrics(predictions, bench.card)
            assert all(np.isfinite(value) for value in metrics.values())


PERFECT: dict[str, Callable[[pd.DataFrame, Batch, Card], pd.DataFrame]] = {
    "accuracy": lambda found, examples, card: found.assign(predicted=found["label"]),
    "mse": lambda found, examples, card: found.assign(forecast=found["truth"]),
    "mae": lambda found, examples, card: found.assign(forecast=found["truth"]),
    "bits_per_dimension": lambda found, examples, card: found.assign(bits=0.0),
    "content_and_style_loss": lambda found, examples, card: found.assign(content_and_style_loss=0.0),
    "word_error_rate": lambda found, examples, card: found.assign(word_errors=0, character_errors=0),
    "bleu": lambda found, examples, card: text_metrics.prediction_table(
        *[found[n].tolist() for n in ("source", "truth", "truth")]
    ),
    "ap50": lambda found, examples, card: detections.prediction_table(true_boxes(examples), examples, card),
}  # by score: the predictions of a model without a fault


def true_boxes(examples: Batch) -> np.ndarray:
    """(N, M, 6) reported boxes that are the true ones."""
    labels = examples["labels"].numpy()
    return np.concatenate([examples["boxes"].numpy(), np.ones_like(labels)[..., None], labels[..., None]], axis=2)


@every_experiment
def test_guesses_are_scored_like_a_candidate_and_a_faultless_model_beats_them(experiment: str, prepared: Path) -> None:
    bench = bench_of(experiment, prepared)
    tables = {split: read_table(bench.folder, split) for split in ("train", "validation", "test")}
    network = bench.network(Case(experiment, "cnn", "vgg")).eval()
    examples = bench.examples("test")
    count = len(next(iter(examples.values())))
    guesses = bench.task.guesses(tables, bench.card, 0)
    assert guesses and set(guesses) == set(GUESSES[TINY.experiments[experiment].task])
    for found in guesses.values():
        assert set(found) == {"validation", "test"}
        candidate = bench.task.predict(network, bench.examples("test", 3), bench.card)
        pd.testing.assert_series_equal(found["test"].dtypes, candidate.dtypes)
        resampled = bench.task.resampled_metrics(found["test"], bench.card, np.ones((2, count)))
        assert all(np.isfinite(values).all() and values.shape == (2,) for values in resampled.values())
        assert bench.task.example_scores(found["test"]).shape == (count,)
        perfect = PERFECT[bench.task.score](found["test"], examples, bench.card)
        best, guessed = (bench.task.metrics(table, bench.card)[bench.task.score] for table in (perfect, found["test"]))
        assert best > guessed if bench.task.maximize else best < guessed


@every_experiment
def test_guesses_look_at_nothing_but_train(experiment: str, prepared: Path) -> None:
    bench = bench_of(experiment, prepared)
    tables = {split: read_table(bench.folder, split) for split in ("train", "validation", "test")}
    other = {**tables, "validation": tables["test"]}
    first, second = (bench.task.guesses(known, bench.card, 0) for known in (tables, other))
    for name, found in first.items():
        pd.testing.assert_frame_equal(found["test"], second[name]["test"], check_exact=True)
        pd.testing.assert_frame_equal(found["test"], second[name]["validation"], check_exact=True)


@every_experiment
def test_pictures_of_the_same_predictions_are_the_same_files(experiment: str, prepared: Path, tmp_path: Path) -> None:
    bench = bench_of(experiment, prepared)
    predictions = bench.task.predict(
        bench.network(Case(experiment, "cnn", "vgg")).eval(), bench.examples("test"), bench.card
    )
    table = read_table(bench.folder, "test")
    written = [bench.task.pictures(predictions, table, bench.card, tmp_path / name, "cnn") for name in "ab"]
    assert [path.name for path in written[0]] == [path.name for path in written[1]]
    assert len(written[0]) >= 1
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.read_bytes().startswith(b"\x89PNG")


@every_experiment
def test_parameters_out_of_range_are_refused_by_name(experiment: str, prepared: Path) -> None:
    bench = bench_of(experiment, prepared)
    hints = get_type_hints(bench.task.network)
    wrong: dict[str, Any] = {name: high + 1 for name, (_, high) in bench.task.RANGES.items()}
    wrong |= {name: "no-such-name" for name in keyword_names(bench.task.network) if get_origin(hints[name]) is Literal}
    assert wrong, "every task has a parameter with limits"
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=rf"^{name}.* '?{value}'?[;,] allowed"):
            bench.network(Case(experiment, "cnn", "vgg"), **{name: value})
