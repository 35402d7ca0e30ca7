"""The ten differences in MLflow: one experiment, one run each, rebuilt from the files of the results."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path
from typing import Any

import pytest
from measured_differences import write_result

from pipeline.commands import audit
from pipeline.params import ParamsError, Tracking
from pipeline.stages import register
from pipeline.tracking.address import address_of
from pipeline.tracking.client import connect

PARAMS: Any = types.SimpleNamespace(experiments={}, tracking=Tracking(uri=None, artifacts=None))


@pytest.fixture
def measured(repository: Path) -> Path:
    """Two results, of one of which the seconds are known."""
    write_result("memory")
    write_result("uses")
    file = repository / "timings/differences/memory.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"seconds": 31.5, "key": "m" * 64, "whole": True, "machine": "x"}), encoding="utf-8")
    return repository


def runs() -> dict[str, Any]:
    """Name of a run → run."""
    client = connect(address_of(PARAMS.tracking))
    place = client.get_experiment_by_name("differences")
    return {run.info.run_name: run for run in client.search_runs([place.experiment_id])}


def differing() -> list[str]:
    """What the audit finds, without the files of DVC, of which there are none."""
    address = address_of(PARAMS.tracking)
    return list(map(str, audit._of_experiment("differences", PARAMS, address, connect(address))))


def test_each_difference_is_a_run_with_parameters_metrics_figure_and_the_verdict_as_tag(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register.main(None, PARAMS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "register differences: sent 2 changes"
    assert "is up to date" in lines[1]
    found = runs()
    assert sorted(found) == ["difference memory", "difference uses"]
    run = found["difference memory"]
    tags, params, metrics = run.data.tags, run.data.params, run.data.metrics
    assert (tags["pipeline.verdict"], tags["pipeline.kind"], tags["pipeline.key"]) == ("holds", "difference", "m" * 64)
    assert tags["pipeline.controls"] == "failed: ablation: found 2, expected above 2.5"
    assert tags["pipeline.machine"] == "Linux, x86_64, AMD EPYC, avx avx2", "that of the measurement, not of now"
    assert (params["seeds"], params["setting"], params["learning_rate/gru"]) == ("8", "quick", "0.01")
    assert (metrics["main"], metrics["main/margin"], metrics["seconds"]) == (0.5025, 0.05, 31.5)
    assert metrics["main/low_995"] < metrics["main/low_95"] < 0.5025 < metrics["main/high_95"]
    assert run.info.status == "FINISHED"
    client = connect(address_of(PARAMS.tracking))
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["memory.json", "memory.svg"]
    assert differing() == []

    before = {name: run.to_dictionary() for name, run in found.items()}
    register.main("differences", PARAMS)
    assert capsys.readouterr().out.startswith("register differences: nothing to send\n")
    assert {name: run.to_dictionary() for name, run in runs().items()} == before, "the same files: no second run"


def test_a_lost_database_is_written_again_from_the_files(measured: Path, empty_store: Path) -> None:
    register.main("differences", PARAMS)
    before = runs()["difference memory"].data
    shutil.copyfile(empty_store, measured / "mlflow.db")
    shutil.rmtree(measured / "mlartifacts")
    (measured / "timings/differences/memory.json").unlink()
    assert differing() == ["differences: MLflow has no such experiment; mended by `python -m pipeline register`"]
    register.main("differences", PARAMS)
    after = runs()["difference memory"].data
    assert after.params == before.params
    assert after.metrics == {name: value for name, value in before.metrics.items() if name != "seconds"}
    assert after.tags["pipeline.verdict"] == "holds"
    assert differing() == []


def test_audit_names_what_differs_and_register_mends_it(measured: Path) -> None:
    register.main("differences", PARAMS)
    client, run = connect(address_of(PARAMS.tracking)), runs()["difference uses"]
    client.set_tag(run.info.run_id, "pipeline.verdict", "holds")
    client.delete_run(runs()["difference memory"].info.run_id)
    assert [line.split("; mended")[0] for line in differing()] == [
        "differences: run difference memory: MLflow does not have it",
        "differences: run difference uses: tag pipeline.verdict is 'holds' instead of 'does not hold'",
    ]
    register.main("differences", PARAMS)
    assert differing() == []


def test_a_difference_that_is_measured_again_gets_a_run_of_its_own_and_the_old_one_is_earlier_work(
    measured: Path,
) -> None:
    register.main("differences", PARAMS)
    write_result("memory", key="n" * 64, verdict="does not hold")
    register.main("differences", PARAMS)
    client = connect(address_of(PARAMS.tracking))
    place = client.get_experiment_by_name("differences").experiment_id
    assert len(client.search_runs([place])) == 3
    assert differing() == ["differences: MLflow has 1 runs of earlier work, which no file knows"]


def test_a_server_that_is_away_is_said_and_what_waits_is_counted(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(register, "_connected", lambda address: (None, "no server answers there"))
    register.main("differences", PARAMS)
    assert capsys.readouterr().out.splitlines()[:2] == [
        "register differences: nothing to send; waiting: no server answers there",
        f"register: MLflow at {address_of(PARAMS.tracking).shown} is 1 steps behind; `make ui` shows it → "
        "reports/registry.json",
    ]


def test_an_unknown_name_is_refused_and_the_differences_are_among_those_allowed(repository: Path) -> None:
    for stage in (register, audit):
        with pytest.raises(ParamsError, match="found difference; allowed: differences; did you mean `differences`"):
            stage.main("difference", PARAMS)


def test_without_results_nothing_is_sent_and_no_experiment_is_made(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register.main("differences", PARAMS)
    assert "differences" not in capsys.readouterr().out
    assert connect(address_of(PARAMS.tracking)).get_experiment_by_name("differences") is None
    assert differing() == []
