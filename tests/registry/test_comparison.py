"""One decision from files to reason: scores are found, limits looked at, the test split paid for."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from pipeline.formats.contents import digests_of
from pipeline.params import Gate, Limits
from pipeline.registry import record
from pipeline.registry.comparison import Comparison
from pipeline.registry.experiment import Outputs
from pipeline.registry.gate import Decision
from pipeline.registry.store import Version
from pipeline.serving import rehearsal
from pipeline.serving.rehearse import RehearsalFailed, rehearse
from pipeline.tasks.image_classification.task import ImageClassification

Decide = Callable[..., Decision]


def hits(share: float) -> np.ndarray:
    """Which of the 80 test examples a model gets right: with a larger share these and others."""
    right: np.ndarray = np.random.default_rng(0).random(80) < share
    return right


@pytest.fixture(scope="module")
def fake() -> ModuleType:
    """The writer of output folders."""
    spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("fake_outputs.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Shelf:
    """Versions whose files lie in folders: what the comparison asks of a store."""

    root: Path
    versions: dict[str, Version] = field(default_factory=dict)

    def add(self, key: str, right: np.ndarray, model: Path, examples: Path, **tags: str) -> Version:
        """A version that is right about these test examples when it is asked."""
        artifacts = self.root / key / "artifacts"
        artifacts.mkdir(parents=True)
        description = json.loads((model / "model.json").read_text()) | {"right": right.tolist()}
        (artifacts / "model.json").write_text(json.dumps(description))
        shutil.copyfile(model / "model.safetensors", artifacts / "model.safetensors")
        shutil.copyfile(examples, artifacts / "examples.safetensors")
        self.versions[key] = Version(str(len(self.versions) + 1), key, "digits-cnn", tags)
        return self.versions[key]

    def download(self, version: Version, path: str, target: Path) -> Path:
        return self.root / version.key / path


class House:
    """A repository with one trained candidate, decided upon without MLflow and in this process."""

    def __init__(self, fake: ModuleType, root: Path) -> None:
        self.fake, self.root, self.shelf = fake, root, Shelf(root / "shelf")
        self.card = fake.write_experiment(root, key="aaa", share=0.7)
        self.history: list[record.Entry] = []

    @property
    def outputs(self) -> Outputs:
        return Outputs("digits", json.loads((self.root / "metrics/digits.json").read_text()))

    def retrain(self, key: str, share: float) -> None:
        """A challenger that is right wherever a weaker one is."""
        self.fake.write_model(self.root, "digits", "digits-cnn", key, self.card)
        right = {"digits-cnn": hits(share), "svc": np.random.default_rng(1).random(80) < 0.3}
        self.fake.write_evaluation(self.root, "digits", right, {"digits-cnn": key}, self.card, "digits-cnn")

    def version(self, key: str, share: float, **tags: str) -> Version:
        """A version that was trained on the present data."""
        return self.shelf.add(key, hits(share), self.outputs.model("digits-cnn"), self.examples, **tags)

    @property
    def examples(self) -> Path:
        return self.outputs.prepared / "examples.safetensors"

    def learn(self, *rows: int) -> None:
        """Moves test examples into train, for versions that are made from now on."""
        digests = load_file(self.examples)
        digests["train"] = np.concatenate([digests["train"], digests["test"][list(rows)]])
        self.examples.write_bytes(save(digests))

    def renew(self, *rows: int) -> None:
        """Puts examples that nobody has seen into the place of test examples."""
        digests = load_file(self.examples)
        digests["test"][list(rows)] = digests_of(str(row).encode() for row in rows)
        self.examples.write_bytes(save(digests))

    def decide(self, challenger: Version, champion: Version | None, **limits: float) -> Decision:
        """Asks the gate, and writes down what it says as `register` does."""
        work = self.root / f"work-{challenger.key}-{len(self.history)}"
        files = {name: self.outputs.predictions(name) for name in ("digits-cnn", "svc")}
        model, prepared = self.outputs.model("digits-cnn"), self.outputs.prepared
        trial = rehearse(model, self.root, prepared, work / "trial", predictions=files)
        nothing = {"latency_ms": None, "megabytes": None, "worst_class": None}
        gate = Gate(resamples=1000, confidence=0.95, margin=0.0, limits=Limits(**{**nothing, **limits}))
        shelf: Any = self.shelf
        comparison = Comparison(shelf, self.outputs, trial, self.root, work, gate, 0, self.history)
        found = comparison.decision(challenger, champion)
        against = champion and champion.named()
        line = record.entry(challenger.named(), against, promoted=found.promoted, reason=found.reason,
                            evidence=json.loads(json.dumps(found.evidence())))  # fmt: skip
        self.history.append(line)
        return found


@pytest.fixture
def house(fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    def tried_here(job: Path, code: Path) -> None:
        try:
            rehearsal.main(fake.answers_as_told(json.loads(job.read_text())))
        except Exception as error:
            raise RehearsalFailed(repr(error)) from error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.serving.rehearse.run_apart", tried_here)
    return House(fake, tmp_path)


def split_of(found: Decision) -> dict[str, Any]:
    assert found.test_split is not None
    return dict(found.test_split)


def test_every_comparison_on_a_split_is_counted_and_the_next_one_is_stricter(house: House) -> None:
    champion = house.version("aaa", 0.5)
    house.retrain("aaa", 0.5)
    first = house.decide(champion, None)
    assert (first.promoted, first.level, split_of(first)["decisions"]) == (True, None, 0)
    for number, key in enumerate(("bbb", "ccc", "ddd"), start=1):
        house.retrain(key, 0.52)
        found = house.decide(house.version(key, 0.52), champion)
        assert found.level == pytest.approx(0.05 / (number * (number + 1)))
        assert f"at the error level {found.level:.2g} (interval of" in found.reason
        assert split_of(found)["decisions"] == number
        assert split_of(found)["left"] == pytest.approx(0.05 / (number + 1))
    again = house.decide(house.shelf.versions["bbb"], champion)
    assert again.level == pytest.approx(0.025), "the same two models: the same question"
    assert split_of(again)["decisions"] == 3


def test_lost_record_is_counted_from_the_tags_of_the_versions(house: House) -> None:
    champion = house.version("aaa", 0.5)
    house.retrain("bbb", 0.52)
    house.decide(house.version("bbb", 0.52), champion)
    known = house.shelf.versions["bbb"]
    tags = {**known.tags, **record.decision_tags(house.history[-1])}
    house.shelf.versions["bbb"] = Version(known.number, known.key, known.candidate, tags)
    house.history.clear()
    house.retrain("ccc", 0.52)
    assert house.decide(house.version("ccc", 0.52), champion).level == pytest.approx(0.05 / 6)


def test_fresh_test_split_begins_with_the_whole_error_level(house: House) -> None:
    champion = house.version("aaa", 0.5)
    house.retrain("bbb", 0.52)
    house.decide(house.version("bbb", 0.52), champion)
    house.renew(*range(80))
    house.retrain("ccc", 0.52)
    assert house.decide(house.version("ccc", 0.52), house.version("zzz", 0.5)).level == pytest.approx(0.025)


def test_examples_count_and_not_files(house: House) -> None:
    """More data in train or another order of files is no new test; a few fresh examples give little back."""
    champion = house.version("aaa", 0.5)
    levels = []
    for number, fresh in enumerate(((), (), (0, 1, 2, 3), range(40, 80))):
        house.renew(*fresh)
        house.retrain(f"b{number}", 0.52)
        levels.append(house.decide(house.version(f"b{number}", 0.52), champion).level)
    # All of two earlier comparisons, then 76/80 of both, then half of three.
    assert levels == pytest.approx([0.05 / 2, 0.05 / 6, 0.05 / 12, 0.05 / 12], rel=0.01)


def test_champion_is_not_asked_what_it_has_learned_from(house: House) -> None:
    weak = hits(0.5)
    house.learn(*np.flatnonzero(weak))
    champion = house.version("aaa", 0.5)
    digests = load_file(house.examples)
    house.examples.write_bytes(save(digests | {"train": digests["train"][: -int(weak.sum())]}))
    house.retrain("bbb", 0.95)
    found = house.decide(house.version("bbb", 0.95), champion)
    left = int((~weak).sum())
    assert split_of(found)["count"] == left and split_of(found)["left_out"] == 80 - left
    assert found.over_champion is not None
    assert found.over_champion.difference == pytest.approx((hits(0.95) & ~weak).sum() / left), "it is right about none"
    assert f"Left out: {80 - left} of 80 test examples" in found.reason


def test_champion_that_has_learned_from_all_of_the_test_is_a_case_for_a_person(house: House) -> None:
    house.learn(*range(79))
    champion = house.version("aaa", 0.5)
    house.retrain("bbb", 0.95)
    with pytest.raises(RehearsalFailed, match=r"79 of 80 test examples were learned from .*, and 1 are left, of 2"):
        house.decide(house.version("bbb", 0.95), champion)


def test_version_that_does_not_say_what_it_has_learned_from_is_not_compared(house: House) -> None:
    champion = house.version("aaa", 0.5)
    (house.shelf.root / "aaa/artifacts/examples.safetensors").unlink()
    house.retrain("bbb", 0.95)
    with pytest.raises(RehearsalFailed, match="does not say which examples it has learned from"):
        house.decide(house.version("bbb", 0.95), champion)


def test_models_of_other_classes_are_not_compared(house: House) -> None:
    champion = house.version("aaa", 0.5)
    file = house.shelf.root / "aaa/artifacts/model.json"
    description = json.loads(file.read_text())
    description["card"]["classes"] = ["c", "a", "z"]
    file.write_text(json.dumps(description))
    house.retrain("bbb", 0.95)
    with pytest.raises(RehearsalFailed, match="no score is fair to both: classes c, a, z and now a, b, c"):
        house.decide(house.version("bbb", 0.95), champion)


def test_champion_that_nobody_can_beat_on_this_split_is_told_with_advice(house: House) -> None:
    house.retrain("aaa", 0.96)
    mistakes = int((~hits(0.96)).sum())
    assert 0 < mistakes < 6, "2 to the power of 1 - mistakes must not be below 0.05"
    found = house.decide(house.version("aaa", 0.96), None)
    assert found.promoted and split_of(found)["passable"] is False
    assert "not even one without a fault: collect more and fresh ones; it would take about" in found.reason
    needed = int(found.reason.rpartition("about ")[2].split()[0])
    assert needed * mistakes / 80 >= 6, "as many mistakes must be there to be avoided"
    house.retrain("aaa", 0.5)
    roomy = house.decide(house.version("bbb", 0.5), None)
    assert split_of(roomy)["passable"] is True and "fresh" not in roomy.reason


def test_model_that_is_too_heavy_is_not_compared_at_all(house: House) -> None:
    champion = house.version("aaa", 0.3)
    house.retrain("bbb", 0.95)
    challenger = house.version("bbb", 0.95)
    found = house.decide(challenger, champion, megabytes=1e-6)
    assert (found.promoted, found.over_champion, found.level, found.test_split) == (False, None, None, None)
    assert "limits.megabytes: the weights have" in found.reason
    assert house.history[-1]["champion_after"] == "aaa"
    lighter = house.decide(challenger, champion, megabytes=10.0)
    assert lighter.promoted and lighter.level == pytest.approx(0.025), "being kept out has cost nothing"


def test_limits_hold_for_a_first_version_too(house: House) -> None:
    version = house.version("aaa", 0.7)
    found = house.decide(version, None, latency_ms=5.0)
    assert not found.promoted and "never measured on this machine" in found.reason
    assert house.decide(version, None).promoted


def test_worst_class_is_a_question_to_the_test_split_and_is_paid_for(house: House) -> None:
    champion = house.version("aaa", 0.3)
    house.retrain("bbb", 0.95)
    metrics = json.loads(Path("metrics/digits.json").read_text())
    metrics["models"]["digits-cnn"]["test"]["worst_class_recall"] = {"value": 0.4}
    Path("metrics/digits.json").write_text(json.dumps(metrics))
    found = house.decide(house.version("bbb", 0.95), champion, worst_class=0.5)
    assert not found.promoted and found.level == pytest.approx(0.025) and split_of(found)["decisions"] == 1
    assert "it gets 0.4 right, asked for is 0.5. Without that limit: digits-cnn is better than" in found.reason


def test_corpus_score_of_the_champion_is_drawn_anew_beside_the_challengers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both answer the test examples once more, and all of their answers are scored together."""
    monkeypatch.setattr(ImageClassification, "score", "macro_f1")
    monkeypatch.setattr(ImageClassification, "corpus", True)
    champion = house.version("aaa", 0.3)
    house.retrain("bbb", 0.95)
    file = Path("metrics/digits.json")
    file.write_text(file.read_text().replace('"accuracy"', '"macro_f1"'))
    found = house.decide(house.version("bbb", 0.95), champion)
    assert found.promoted and found.over_champion is not None and found.over_baseline is not None
    assert (
        found.over_champion.method
        == found.over_baseline.method
        == "moments of the paired bootstrap of the corpus score"
    )
    assert 0.3 < found.over_champion.low < found.over_champion.difference < 1
    assert "macro_f1 advantage +" in found.reason
