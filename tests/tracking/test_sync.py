"""MLflow is a view of the files: everything arrives once, what is missing is added, nothing is doubled."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline.params import Tracking
from pipeline.tracking.address import address_of
from pipeline.tracking.client import connect, experiment_id
from pipeline.tracking.outputs import planned_runs
from pipeline.tracking.specification import parameter_text, parameter_texts
from pipeline.tracking.sync import Sent, sync


class View:
    """MLflow beside the files of a repository."""

    def __init__(self, root: Path) -> None:
        self.address = address_of(Tracking(uri=None, artifacts=None), root)
        self.client = connect(self.address)

    def sync(self) -> Sent:
        self.place = experiment_id(self.client, self.address, "digits", "Handwritten digits")
        return sync(self.client, self.place, planned_runs("digits", ["digits-cnn", "digits-rnn"]), self.address.root)

    def runs(self) -> dict[str, Any]:
        found = self.client.search_runs([self.place])
        names = [run.info.run_name for run in found]
        assert len(names) == len(set(names)), names
        return {run.info.run_name: run for run in found}

    def count_points(self) -> int:
        return sum(
            len(self.client.get_metric_history(run.info.run_id, name))
            for run in self.runs().values()
            for name in run.data.metrics
        )

    def paths(self, run: Any, folder: str | None = None) -> set[str]:
        return {entry.path for entry in self.client.list_artifacts(run.info.run_id, folder)}


@pytest.fixture
def view(repository: Path, fake_outputs: ModuleType) -> View:
    fake_outputs.write_experiment(repository)
    return View(repository)


def test_everything_arrives_in_mlflow(view: View) -> None:
    view.sync()
    runs = view.runs()
    assert set(runs) == {"tune digits-cnn", "trial 0", "trial 1", "trial 2", "train digits-cnn", "baseline svc"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    tune, train, baseline = runs["tune digits-cnn"], runs["train digits-cnn"], runs["baseline svc"]
    assert tune.data.metrics["best_validation_accuracy"] == 0.9
    assert tune.data.params["best/architecture"] == "vgg"
    assert tune.info.end_time - tune.info.start_time == pytest.approx(30_000, abs=2)  # timings/, in ms
    assert view.paths(tune) == {"best.json", "trials.csv", "curves.csv", "importances.csv", "history.png"}
    assert runs["trial 2"].data.tags["pipeline.state"] == "PRUNED"
    assert runs["trial 1"].data.tags["mlflow.parentRunId"] == tune.info.run_id
    assert train.data.params["width"] == "16"
    assert train.data.metrics["test_accuracy"] == pytest.approx(0.8, abs=0.1)
    assert train.data.metrics["test_accuracy/low"] < train.data.metrics["test_accuracy"]
    assert view.paths(train, "evaluation") == {"evaluation/confusion.png"}
    assert not any(path.endswith((".safetensors", ".parquet")) for path in view.paths(train))
    assert baseline.data.metrics["test_accuracy"] < train.data.metrics["test_accuracy"]


def test_a_guess_is_a_run_of_its_own_and_called_what_it_is(view: View, repository: Path) -> None:
    file = repository / "metrics/digits.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))
    figures = {"accuracy": {"value": 0.3, "low": 0.2, "high": 0.4}}
    guess = {"kind": "guess", "validation": {"accuracy": 0.3}, "test": figures}
    metrics["models"]["most_common_class"] = guess
    file.write_text(json.dumps(metrics), encoding="utf-8")
    view.sync()
    found = view.runs()["guess most_common_class"]
    assert found.data.tags["pipeline.family"] == "guess" and found.data.metrics["test_accuracy"] == 0.3
    assert found.data.tags["mlflow.note.content"] == (
        "The guess most_common_class: what anybody can answer without a model."
    )


def test_runs_name_the_data_they_have_read(view: View, repository: Path) -> None:
    (repository / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  prepare@digits:\n    cmd: x\n    outs:\n"
        "    - path: data/prepared/digits\n      md5: 0123456789abcdef.dir\n"
    )
    view.sync()
    found = view.runs()["train digits-cnn"].inputs.dataset_inputs[0]
    tags = {tag.key: tag.value for tag in found.tags}
    card = json.loads((repository / "data/prepared/digits/card.json").read_text())
    assert tags["dvc.md5"] == "0123456789abcdef.dir"
    assert tags["pipeline.data"] == card["data"]
    assert json.loads(found.dataset.source) == {"uri": "data/prepared/digits"}


def test_second_time_changes_nothing_and_is_quick(view: View) -> None:
    view.sync()
    points = view.count_points()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert view.sync().lines == []
        seconds.append(time.perf_counter() - start)
    assert view.count_points() == points
    assert min(seconds) < 0.5


def test_run_that_was_killed_while_it_streamed_is_completed_without_doubling(view: View) -> None:
    from mlflow.entities import Metric

    view.sync()
    expected, points = view.runs(), view.count_points()
    for run in expected.values():
        view.client.delete_run(run.info.run_id)
    begun = view.client.create_run(
        view.place, None, {"pipeline.key": "aaa", "pipeline.kind": "train"}, "train digits-cnn"
    )
    curve = [Metric("train_loss/seed_0", 1.0, 1_700_000_000_000 + epoch, epoch) for epoch in range(2)]
    view.client.log_batch(begun.info.run_id, metrics=curve)
    view.sync()
    runs = view.runs()
    assert runs["train digits-cnn"].info.run_id == begun.info.run_id
    assert runs["train digits-cnn"].info.status == "FINISHED"
    assert view.count_points() == points
    history = view.client.get_metric_history(begun.info.run_id, "train_loss/seed_0")
    assert [point.timestamp for point in history][:2] == [1_700_000_000_000, 1_700_000_000_001]


def test_curves_that_are_sent_later_show_when_things_happened(view: View, repository: Path) -> None:
    """The same as the live view would have sent: a point that arrives twice is then one point."""
    from mlflow.entities import Metric

    kept = {"tune": ("aaas", {"trial-001": {"0": 5.5, "1": 7.25, "2": 9.0}}),
            "train": ("aaa", {"repeat-0": {"0": 1.5}, "repeat-1": {"2": 2.5}})}  # fmt: skip
    for stage, (key, times) in kept.items():
        file = repository / f"timings/digits/digits-cnn/{stage}.times.json"
        file.write_text(json.dumps({"key": key, "times": times}))
    view.sync()
    runs = view.runs()

    def times_of(name: str, metric: str) -> list[int]:
        return [point.timestamp for point in view.client.get_metric_history(runs[name].info.run_id, metric)]

    assert times_of("trial 1", "train_loss") == [5500, 7250, 9000]
    assert times_of("train digits-cnn", "validation_loss/seed_0")[0] == 1500
    assert times_of("train digits-cnn", "validation_loss/seed_1")[0] == 2500
    late = [
        Metric("train_loss", 1 / (epoch + 1), int(1000 * time), epoch) for epoch, time in enumerate((5.5, 7.25, 9.0))
    ]
    view.client.log_batch(runs["trial 1"].info.run_id, late)  # a server that hung did what it was asked before
    assert times_of("trial 1", "train_loss") == [5500, 7250, 9000]


def test_times_of_other_work_are_not_used(view: View, repository: Path) -> None:
    times = {"key": "another", "times": {"repeat-0": {"0": 1.5}}}
    (repository / "timings/digits/digits-cnn/train.times.json").write_text(json.dumps(times))
    view.sync()
    history = view.client.get_metric_history(view.runs()["train digits-cnn"].info.run_id, "validation_loss/seed_0")
    assert history[0].timestamp > 1_700_000_000_000


def test_changed_figure_replaces_the_old_one(view: View, repository: Path) -> None:
    view.sync()
    file = repository / "metrics/digits.json"
    metrics = json.loads(file.read_text())
    metrics["models"]["digits-cnn"]["test"]["accuracy"]["low"] = 0.123
    file.write_text(json.dumps(metrics))
    assert view.sync().lines == ["train digits-cnn: 1 figures"]
    assert view.runs()["train digits-cnn"].data.metrics["test_accuracy/low"] == 0.123


def test_figures_of_an_earlier_training_are_not_shown_as_its_successors(view: View, fake_outputs: ModuleType) -> None:
    card = json.loads(Path("data/prepared/digits/card.json").read_text())
    fake_outputs.write_model(Path(), "digits", "digits-cnn", "bbb", card)  # trained anew, not evaluated yet
    view.sync()
    assert "test_accuracy" not in view.runs()["train digits-cnn"].data.metrics


def test_candidates_that_params_no_longer_names_are_ignored(
    view: View, fake_outputs: ModuleType, repository: Path
) -> None:
    fake_outputs.write_search(repository, "digits", "digits-old", "old")
    view.sync()
    assert "tune digits-old" not in view.runs()


def test_hundreds_of_trials_pass_the_limits_of_a_call(view: View, fake_outputs: ModuleType, repository: Path) -> None:
    from pipeline.tracking.specification import Planned, Point, RunSpec

    points = tuple(Point(f"metric_{index % 7}", index, float(index), 1.0 + index) for index in range(3100))
    parameters = {f"parameter_{index}": str(index) for index in range(250)}
    spec = RunSpec("many", "train", "many", 1.0, 2.0, parameters=parameters, points=points)
    view.sync()
    planned = [Planned("many", "train", "many", "digest", lambda: spec)]
    assert sync(view.client, view.place, planned, repository).lines == ["many: run, 250 parameters, 3100 points"]
    run = view.runs()["many"]
    assert len(run.data.params) == 250
    assert sum(len(view.client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics) == 3100


def test_long_parameters_are_cut_and_nested_ones_flattened() -> None:
    assert len(parameter_text("x" * 10_000)) == 6000
    nested = {"parameters": {"width": 16}, "settings": {"horizon": 26}, "columns": ["a", "b"], "pruning": None}
    assert parameter_texts(nested) == {
        "width": "16", "settings/horizon": "26", "columns": '["a", "b"]', "pruning": "null"
    }  # fmt: skip
