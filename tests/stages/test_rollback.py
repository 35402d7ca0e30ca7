"""The champion in MLflow is moved by the gate or by `rollback`, with a line that says who; all else is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from registered import aliases, client_of, lost, overtaken, record, retrain, snapshot

from pipeline.commands import history, rollback
from pipeline.serving.preflight import Report
from pipeline.stages.register import main as register


@pytest.fixture
def repository(trained: Path) -> Path:
    """A working directory of its own with the outputs of one experiment."""
    return trained


@pytest.fixture
def params(repository: Path, fake: ModuleType) -> Any:
    return overtaken(fake, repository)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on no servable model answers as it should."""

    def start() -> None:
        found = Report(False, ["2 images: row 1 says class 'a' instead of 'b'"], 1.0)
        monkeypatch.setattr("pipeline.serving.preflight.inspect", lambda folder: found)

    return start


def lines(root: Path) -> list[tuple[str, Any, Any]]:
    return [(line["kind"], line["from"], line["to"]) for line in record(root)["history"]]


def test_rollback_moves_the_champion_back_and_says_who_did_it(
    repository: Path, params: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    rollback.main("digits", params)
    assert aliases(client_of(repository)) == {"champion": 1, "challenger": 2}
    last = record(repository)["history"][-1]
    assert last["reason"] == "rolled back from version 2 to version 1 (digits-cnn) by ada"
    assert (last["by"], last["from"], last["to"], last["evidence"]) == ("ada", "2", "1", {"preflight": "passed"})
    assert record(repository)["champion"]["version"] == "1"
    assert (
        "rolled back from version 2 to version 1 (digits-cnn) by ada; its pre-flight passed" in capsys.readouterr().out
    )


def test_what_was_rolled_back_is_not_promoted_again_until_something_new_is_trained(
    repository: Path, params: Any, fake: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    rollback.main("digits", params)
    after = record(repository)["history"]
    for _ in range(2):
        register(None, params)
        assert aliases(client_of(repository)) == {"champion": 1, "challenger": 2}
    assert record(repository)["history"] == after
    assert record(repository)["decision"]["promoted"] is False
    assert 'promote digits --to 2 --because "…"`, not by itself' in record(repository)["note"]
    assert 'promote digits --to 2 --because "…"`, not by itself' in capsys.readouterr().out
    retrain(fake, repository, "ccc", 0.97)
    register(None, params)
    assert aliases(client_of(repository)) == {"champion": 3, "challenger": 3}
    assert "note" not in record(repository)


def test_what_was_rolled_back_past_another_champion_is_not_promoted_either(
    repository: Path, params: Any, fake: ModuleType
) -> None:
    """Versions 3 and 1 were never compared, so that no decision about them is known."""
    retrain(fake, repository, "ccc", 1.0, base=0.95)
    client = client_of(repository)
    register(None, params)
    if aliases(client)["champion"] != 3:  # whether it is surely better does not matter here
        rollback.main("digits", params, to="3")
    rollback.main("digits", params, to="1")
    register(None, params)
    assert aliases(client) == {"champion": 1, "challenger": 3}
    rollback.main("digits", params, to="3")
    register(None, params)
    assert aliases(client) == {"champion": 3, "challenger": 3}
    assert "note" not in record(repository)


def test_rollback_twice_goes_back_twice_and_not_forth(repository: Path, params: Any) -> None:
    rollback.main("digits", params)
    with pytest.raises(ValueError, match="the history tells of no earlier champion; name one: --to 1, 2"):
        rollback.main("digits", params)
    assert aliases(client_of(repository))["champion"] == 1


@pytest.mark.parametrize(
    ("name", "to", "said"),
    [
        ("digit", None, "found digit; allowed: digits"),
        (None, None, "found None; allowed: digits"),
        ("digits", "7", "--to: found 7; digits has the versions 1, 2"),
        ("digits", "two", "--to: found two; allowed: the number of a version of digits, such as 1, 2"),
        ("digits", "-1", "--to: found -1; allowed: the number"),
        ("digits", "²", "--to: found ²; allowed: the number"),
        ("digits", "2", r"version 2 \(digits-cnn\) is champion already"),
        ("digits", "3", r"version 3 of digits was not made by this pipeline \(it has no content key\)"),
    ],
)
def test_refusal_is_one_sentence_and_changes_nothing(
    repository: Path, params: Any, name: str | None, to: str | None, said: str
) -> None:
    client = client_of(repository)
    if to == "3":
        client.create_model_version("digits", client.get_model_version("digits", "1").source)
    before, file = snapshot(client), (repository / "reports/registry.json").read_bytes()
    with pytest.raises(ValueError, match=said):
        rollback.main(name, params, to=to)
    assert snapshot(client) == before
    assert (repository / "reports/registry.json").read_bytes() == file


def test_refusal_at_the_command_line_is_one_line_and_the_exit_code_2(repository: Path, root: Path, call: Any) -> None:
    (repository / "params.yaml").write_bytes((root / "tests" / "tiny.yaml").read_bytes())
    for arguments, said in [
        (("rollback", "digit"), "rollback: experiment: found digit; allowed: digits, co2, "),
        (("rollback", "digits", "--to", "two"), "has no version of it; `dvc repro` makes one"),
        (("history", "digit"), "history: experiment: found digit; allowed: digits, co2, "),
    ]:
        done = call(repository, *arguments)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_rollback_to_a_model_that_fails_its_preflight_is_refused(
    repository: Path, params: Any, failing: Callable[[], None]
) -> None:
    failing()
    client = client_of(repository)
    before = snapshot(client)
    with pytest.raises(
        ValueError, match=r"version 1 \(digits-cnn\) does not become champion: its pre-flight failed: 2"
    ):
        rollback.main("digits", params)
    assert snapshot(client) == before
    assert lines(repository)[-1] == ("decision", "1", "2")


def test_rollback_to_a_version_without_files_is_refused(repository: Path, params: Any) -> None:
    shutil.rmtree(repository / "mlartifacts")
    with pytest.raises(ValueError, match=r"does not become champion: its pre-flight was not possible: the files of"):
        rollback.main("digits", params)
    assert aliases(client_of(repository))["champion"] == 2


def test_rollback_while_mlflow_is_away_or_empty_is_refused(repository: Path, fake: ModuleType) -> None:
    away = fake.params_for("digits", uri="http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"http://127.0.0.1:9: no server answers there; nothing was changed"):
        rollback.main("digits", away)
    with pytest.raises(ValueError, match="has no version of it; `dvc repro` makes one"):
        rollback.main("digits", fake.params_for("digits"))
    assert client_of(repository).get_experiment_by_name("digits") is None
    assert not (repository / "reports/registry.json").exists()


def test_challenger_that_fails_its_preflight_gets_no_alias_and_a_reason(
    repository: Path, params: Any, fake: ModuleType, failing: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing()
    retrain(fake, repository, "ccc", 0.99)
    register(None, params)
    client = client_of(repository)
    assert aliases(client) == {"champion": 2, "challenger": 2}
    tags = client.get_model_version("digits", "3").tags
    assert tags["pipeline.preflight"] == "failed: 2 images: row 1 says class 'a' instead of 'b'"
    decision = record(repository)["decision"]
    assert decision["promoted"] is False
    assert decision["reason"] == f"version 3 (digits-cnn) is kept out: its pre-flight {tags['pipeline.preflight']}"
    assert "is kept out: its pre-flight failed" in capsys.readouterr().out
    before = snapshot(client)
    register(None, params)  # known, and not tried again
    assert snapshot(client) == before


def test_model_that_does_not_answer_what_evaluate_stored_is_found_in_earnest(
    repository: Path, fake: ModuleType, in_earnest: None
) -> None:
    """The stored predictions are invented, so that this network cannot have made them."""
    register(None, fake.params_for("digits"))
    assert aliases(client_of(repository)) == {}
    tag = client_of(repository).get_model_version("digits", "1").tags["pipeline.preflight"]
    assert tag.startswith("failed: 1 images: row 0 says ")
    assert record(repository)["decision"]["reason"] == f"version 1 (digits-cnn) is kept out: its pre-flight {tag}"


def test_first_model_that_fails_its_preflight_becomes_no_champion(
    repository: Path, fake: ModuleType, failing: Callable[[], None]
) -> None:
    failing()
    register(None, fake.params_for("digits"))
    assert aliases(client_of(repository)) == {}
    assert record(repository)["champion"] is None and record(repository)["versions"] == 1


def test_alias_that_was_moved_by_hand_is_kept_and_said_loudly(
    repository: Path, params: Any, failing: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    client = client_of(repository)
    client.delete_model_version_tag("digits", "1", "pipeline.preflight")  # as of a time before there was one
    failing()
    client.set_registered_model_alias("digits", "champion", "1")
    for _ in range(2):
        register(None, params)
        assert aliases(client) == {"champion": 1, "challenger": 2}
        said = capsys.readouterr().out
        assert "version 1 (digits-cnn) was made champion outside of this pipeline by somebody" in said
        assert "pre-flight: failed: 2 images" in record(repository)["note"]
    assert lines(repository)[2:] == [("moved", "2", "1")]
    assert record(repository)["history"][-1]["by"] == "unknown"


def test_deleted_champion_is_reported_and_its_files_still_decide(
    repository: Path, params: Any, fake: ModuleType
) -> None:
    client = client_of(repository)
    client.delete_model_version("digits", "2")
    retrain(fake, repository, "ccc", 0.72)  # far worse than version 2: without it, the first version that passes
    register(None, params)
    assert "champion" not in aliases(client)
    assert lines(repository)[2:] == [("deleted", "2", None), ("decision", "2", "2")]
    assert "it was the champion: `python -m pipeline rollback digits`" in record(repository)["note"]
    assert "significantly worse than version 2 (digits-cnn)" in record(repository)["decision"]["reason"]
    rollback.main("digits", params)
    assert aliases(client)["champion"] == 1


def test_deleted_champion_without_files_is_not_replaced_by_whatever_comes_first(
    repository: Path, params: Any, fake: ModuleType
) -> None:
    client = client_of(repository)
    client.delete_model_version("digits", "2")
    shutil.rmtree(repository / "mlartifacts")
    retrain(fake, repository, "ccc", 0.99)
    register(None, params)
    assert "champion" not in aliases(client)
    assert record(repository)["decision"] is None
    assert "`python -m pipeline rollback digits` makes an earlier version champion" in record(repository)["pending"][0]


def test_deleted_champion_that_is_made_again_waits_for_a_person(repository: Path, params: Any) -> None:
    client = client_of(repository)
    client.delete_model_version("digits", "2")
    register(None, params)
    assert aliases(client) == {"challenger": 3}
    assert "`python -m pipeline rollback digits --to 3` makes it champion again" in record(repository)["note"]
    rollback.main("digits", params, to="3")
    register(None, params)
    assert aliases(client) == {"champion": 3, "challenger": 3}
    place = client.get_experiment_by_name("digits").experiment_id
    assert len(client.search_logged_models([place])) == 2  # the files were there: nothing was doubled


def test_removed_alias_is_not_taken_for_a_first_time(repository: Path, params: Any, fake: ModuleType) -> None:
    client = client_of(repository)
    client.delete_registered_model_alias("digits", "champion")
    retrain(fake, repository, "ccc", 0.72)
    register(None, params)
    assert "champion" not in aliases(client)
    assert "somebody has removed the alias champion from version 2" in record(repository)["note"]
    rollback.main("digits", params, to="2")
    assert "note" not in record(repository)


def test_version_whose_run_and_files_were_deleted_does_no_harm(repository: Path, params: Any, fake: ModuleType) -> None:
    client = client_of(repository)
    version = client.get_model_version("digits", "2")
    client.delete_run(version.run_id)
    client.delete_logged_model(version.source.removeprefix("models:/"))
    shutil.rmtree(repository / "mlartifacts")
    retrain(fake, repository, "ccc", 0.99)
    register(None, params)
    assert aliases(client) == {"champion": 2, "challenger": 3}
    assert (
        "could not be compared with version 2 (digits-cnn): the files of version 2"
        in (record(repository)["decision"]["reason"])
    )
    client.delete_experiment(client.get_experiment_by_name("digits").experiment_id)
    register(None, params)
    assert aliases(client) == {"champion": 2, "challenger": 3}


def test_lost_file_comes_back_from_mlflow(repository: Path, params: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rollback.main("digits", params)
    before = record(repository)["history"]
    (repository / "reports/registry.json").unlink()
    capsys.readouterr()
    history.main("digits", params)
    assert capsys.readouterr().out.count("\n20") == 2  # three lines with a time
    register(None, params)
    assert record(repository)["history"] == before
    assert aliases(client_of(repository)) == {"champion": 1, "challenger": 2}


def test_lost_mlflow_gets_the_ledger_from_the_file(repository: Path, params: Any, fake: ModuleType) -> None:
    from pipeline.registry.ledger import lines_of

    rollback.main("digits", params)
    before = record(repository)["history"]
    register(None, lost(fake, repository))
    client = client_of(repository, "new.db")
    assert lines_of(client.get_registered_model("digits").tags) == before == record(repository)["history"]
    assert aliases(client) == {"champion": 1, "challenger": 2}


def test_history_tells_who_when_from_where_to_where_why_and_by_which_evidence(
    repository: Path, params: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    rollback.main("digits", params)
    capsys.readouterr()
    history.main("digits", params)
    said = capsys.readouterr().out
    first, second, third = said.split("\n20")
    assert "none → version 1  (decision about version 1)" in first
    assert "version 1 → version 2  (decision about version 2)" in second
    assert "evidence: over champion +0.2375 [" in second
    assert "error level 0.0" in second and "test examples " in second
    assert "by ada  version 2 → version 1  (rollback)" in third
    assert "evidence: pre-flight passed" in third


def test_history_understands_lines_of_a_time_when_less_was_written_down(
    repository: Path, fake: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = ({"version": number, "key": f"key-{number}", "candidate": "digits-cnn"} for number in "12")
    old = {"time": "2026-01-02T03:04:05+00:00", "reason": "because", "evidence": {}, "promoted": True,
           "challenger": second, "against": first, "champion_after": "key-2"}  # fmt: skip
    moved = {**old, "promoted": False, "challenger": None, "against": None, "champion_after": "key-1"}
    fake.write_json(Path("reports/registry.json"), {"experiments": {"digits": {"history": [old, moved]}}})
    history.main("digits", fake.params_for("digits"))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2026-01-02 03:04:05  by unknown  version 1 → version 2  (decision about version 2)"
    assert said[2] == "2026-01-02 03:04:05  by unknown  none stays  (moved)"


def test_history_of_nothing_and_of_an_unknown_experiment(
    repository: Path, fake: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    history.main("digits", fake.params_for("digits"))
    assert "nothing was decided yet" in capsys.readouterr().out
    with pytest.raises(ValueError, match="found digit; allowed: digits"):
        history.main("digit", fake.params_for("digits"))
