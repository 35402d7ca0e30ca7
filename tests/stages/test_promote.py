"""A person makes a version champion past the gate: with a reason, after the same pre-flight, and it is written down."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from registered import aliases, client_of, overtaken, record, retrain, snapshot

from pipeline.commands import audit, history, promote, rollback
from pipeline.serving.preflight import Report
from pipeline.stages.register import main as register

WHY = "the new camera is what users have"


@pytest.fixture
def params(trained: Path, fake: ModuleType) -> Any:
    return overtaken(fake, trained)


def test_version_that_the_gate_kept_out_becomes_champion_with_who_why_and_what_the_gate_said(
    trained: Path, params: Any, fake: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(fake, trained, "ccc", 0.72)
    register(None, params)
    assert aliases(client_of(trained)) == {"champion": 2, "challenger": 3}
    kept_out = record(trained)["decision"]["reason"]
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    promote.main("digits", params, to="3", because=f"  {WHY}\n")
    assert aliases(client_of(trained)) == {"champion": 3, "challenger": 3}
    line = record(trained)["history"][-1]
    assert (line["kind"], line["by"], line["from"], line["to"]) == ("promotion by hand", "ada", "2", "3")
    assert line["reason"] == f"version 3 (digits-cnn) was made champion by hand by ada: {WHY}"
    assert line["evidence"] == {"preflight": "passed", "because": WHY, "gate": kept_out}
    assert client_of(trained).get_model_version("digits", "3").description == line["reason"]
    capsys.readouterr()
    history.main("digits", params)
    said = capsys.readouterr().out
    assert "by ada  version 2 → version 3  (promotion by hand)" in said
    assert f"the gate had said: {kept_out}" in said
    register(None, params)
    assert aliases(client_of(trained)) == {"champion": 3, "challenger": 3}
    assert record(trained)["history"][-1] == line and "note" not in record(trained)
    monkeypatch.setattr(audit, "file_differences", lambda root: [])
    capsys.readouterr()
    audit.main("digits", params)
    assert not [text for text in capsys.readouterr().out.splitlines() if "history" in text or "champion" in text]
    rollback.main("digits", params)
    assert aliases(client_of(trained))["champion"] == 2


def test_model_that_lies_here_is_registered_and_becomes_champion_without_the_gate(
    trained: Path, params: Any, fake: ModuleType
) -> None:
    retrain(fake, trained, "ccc", 0.1)
    decided = len(record(trained)["history"])
    promote.main("digits", params, because=WHY)
    assert aliases(client_of(trained))["champion"] == 3
    assert client_of(trained).get_model_version("digits", "3").tags["pipeline.key"] == "ccc"
    last = record(trained)["history"][decided:]
    assert [(line["kind"], line["evidence"]["gate"]) for line in last] == [
        ("promotion by hand", "it was not asked about this version")
    ]
    register(None, params)
    assert aliases(client_of(trained)) == {"champion": 3, "challenger": 3}
    assert record(trained)["history"][decided:] == last


def test_first_model_of_all_can_be_promoted_by_hand(trained: Path, fake: ModuleType) -> None:
    promote.main("digits", fake.params_for("digits"), because=WHY)
    assert aliases(client_of(trained)) == {"champion": 1}
    assert [(line["from"], line["to"], line["previous"]) for line in record(trained)["history"]] == [(None, "1", None)]


def test_gate_does_not_undo_what_a_person_has_decided(trained: Path, params: Any) -> None:
    promote.main("digits", params, to="1", because=WHY)
    register(None, params)
    assert aliases(client_of(trained)) == {"champion": 1, "challenger": 2}
    assert 'comes back by `python -m pipeline promote digits --to 2 --because "…"`' in record(trained)["note"]


@pytest.mark.parametrize(
    ("to", "because", "said"),
    [
        ("1", None, "--because: found None; allowed: a sentence that says why"),
        ("1", " \n\t", "--because: found ' .n.t'; allowed"),
        ("1", "red \x1b[31m", "--because: found 'red .x1b.31m'; allowed"),
        ("7", WHY, "--to: found 7; digits has the versions 1, 2"),
        ("2", WHY, r"version 2 \(digits-cnn\) is champion already"),
        (None, WHY, r"version 2 \(digits-cnn\) is champion already"),
    ],
)
def test_refusal_is_one_sentence_and_changes_nothing(
    trained: Path, params: Any, to: str | None, because: str | None, said: str
) -> None:
    client = client_of(trained)
    before, file = snapshot(client), (trained / "reports/registry.json").read_bytes()
    with pytest.raises(ValueError, match=said):
        promote.main("digits", params, to=to, because=because)
    assert snapshot(client) == before
    assert (trained / "reports/registry.json").read_bytes() == file


def test_model_that_fails_its_preflight_is_not_promoted_by_hand_either(
    trained: Path, params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.serving.preflight.inspect", lambda folder: Report(False, ["two of two differ"], 1.0))
    with pytest.raises(ValueError, match="does not become champion: its pre-flight failed: two of two differ"):
        promote.main("digits", params, to="1", because=WHY)
    assert aliases(client_of(trained))["champion"] == 2


def test_without_results_or_mlflow_there_is_one_sentence(trained: Path, fake: ModuleType) -> None:
    (trained / "metrics/digits.json").unlink()
    with pytest.raises(ValueError, match="digits: not evaluated yet; `dvc repro` goes on; to name a version that"):
        promote.main("digits", fake.params_for("digits"), because=WHY)
    with pytest.raises(ValueError, match="no server answers there; the champion was not changed"):
        promote.main("digits", fake.params_for("digits", uri="http://127.0.0.1:9"), because=WHY)


def test_only_promote_and_rollback_take_a_version(root: Path, call: Any) -> None:
    done = call(root, "register", "digits", "--to", "1")
    assert (done.returncode, done.stderr) == (2, "register takes no --to; rollback and promote do\n")
    done = call(root, "rollback", "digits", "--because", "why")
    assert (done.returncode, done.stderr) == (2, "rollback takes no --because; promote does\n")
