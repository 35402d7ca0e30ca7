"""Uses: regrets of known results, and every verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.differences import uses as subject
from pipeline.differences.paired import Measured
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED
from pipeline.params import ParamsError

SETTINGS = subject.Settings(margin=0.05)


def facts(task: str, cnn: float, rnn: float, half: float, *, validation: tuple[float, float] | None = None) -> Any:
    """A result with a score of which less is better; `half` of the 95 % interval of the difference."""
    known = validation or (cnn, rnn)
    models = {
        f"{task}-{family}": {
            "kind": "candidate", "family": family, "test": {"loss": {"value": value}}, "validation": {"loss": before}
        }
        for family, value, before in (("cnn", cnn, known[0]), ("rnn", rnn, known[1]))
    }  # fmt: skip
    difference = {"difference": cnn - rnn, "low": cnn - rnn - half, "high": cnn - rnn + half}
    return {"experiment": task, "task": task, "score": "loss", "maximize": False, "models": models,
            "differences": {f"{task}-cnn − {task}-rnn": difference}}  # fmt: skip


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def judge(**changed: Any) -> Any:
        for task, family in subject.TEXTBOOK.items():
            ahead = {"cnn": (0.8, 1.0), "rnn": (1.0, 0.8)}[family]
            entry = changed.get(task) or facts(task, *ahead, 0.02)
            (tmp_path / f"{task}.json").write_text(json.dumps(entry), encoding="utf-8")
        monkeypatch.setattr(subject, "measurements", lambda: subject_measurements(tmp_path))
        return subject.judge(Measured({}, {}), SETTINGS)

    subject_measurements = subject.measurements
    return judge


def test_where_the_textbook_is_right_everywhere_it_holds(judged: Any) -> None:
    result = judged()
    assert result.verdict == HOLDS and result.effects["translation"].mean == pytest.approx(0.2)
    assert result.curves["rules"]["textbook"] == 0 == result.curves["rules"]["validation"]
    assert result.curves["rules"]["always cnn"] == pytest.approx(0.1), "wrong on half of the uses, by a fifth"


def test_two_uses_that_are_decided_against_it_are_enough(judged: Any) -> None:
    one = judged(translation=facts("translation", 0.8, 1.0, 0.02))
    assert one.verdict == NOT_DECIDED, "one is not"
    two = judged(
        translation=facts("translation", 0.8, 1.0, 0.02), style_transfer=facts("style_transfer", 1.0, 0.8, 0.02)
    )
    assert two.verdict == DOES_NOT_HOLD and "style transfer, translation" in two.shown


def test_what_is_uncertain_decides_nothing(judged: Any) -> None:
    wide = judged(translation=facts("translation", 0.8, 1.0, 2.0))
    assert wide.effects["translation"].verdict == NOT_DECIDED
    assert wide.verdict == NOT_DECIDED, "its picks could lose more than the margin against validation"
    agreed = judged(translation=facts("translation", 0.8, 1.0, 2.0, validation=(1.0, 0.8)))
    assert agreed.verdict == HOLDS, "where validation picks the same family nothing is lost against it"


def test_a_share_counts_what_is_left_to_one(judged: Any) -> None:
    entry = facts("translation", 30.0, 40.0, 1.0)
    for model in entry["models"].values():
        model["test"]["bleu"], model["validation"]["bleu"] = model["test"]["loss"], model["validation"]["loss"]
    effect = judged(translation={**entry, "score": "bleu", "maximize": True}).effects["translation"]
    assert effect.mean == pytest.approx(10 / 70) and effect.verdict == HOLDS
    low, high = effect.ends(0.95)
    assert (low, high) == pytest.approx((9 / 70, 11 / 70), rel=1e-4)


def test_a_use_without_a_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(facts("translation", 1.0, 0.8, 0.1)), encoding="utf-8")
    with pytest.raises(ParamsError, match=r"no result of forecasting, image_classification, .*pipeline results"):
        subject.measurements(tmp_path)


def test_published_results_can_be_judged_and_drawn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    described = json.loads(json.dumps(subject.judge(Measured({}, {}), SETTINGS).described(), sort_keys=True))
    labels = [label.get_text() for label in subject.draw(described).axes[0].get_yticklabels()]
    assert "translation: multi30k" in labels and len(labels) >= len(subject.TEXTBOOK)
