"""A fit that was killed, in any step, ends with the bytes of one that was not."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.files.lock import alone
from pipeline.models import load_family
from pipeline.params import load as load_params
from pipeline.training import resume, signals
from pipeline.training.fit import Job, fit
from pipeline.training.resume import Checkpoints, checkpoints, newest

Make = Callable[..., Job]
TINY = load_params(Path(__file__).parents[1] / "tiny.yaml")
STEPS = 8  # of an epoch: 240 training digits in batches of 32


class Killed(BaseException):
    """Stands for SIGKILL: nobody gets to do anything about it."""


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Breaks fits off after a step, once."""
    whole = Checkpoints.on_train_batch_end

    def at(step: int) -> None:
        left = [step]

        def broken(self: Checkpoints, trainer: Any, module: Any, *others: Any) -> None:
            whole(self, trainer, module, *others)
            if left and trainer.global_step >= left[0]:
                left.clear()
                raise Killed

        monkeypatch.setattr(Checkpoints, "on_train_batch_end", broken)

    return at


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """Signal handlers and what they noted, as they were."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    signals.forget_stop()


def same(first: Job, second: Job) -> bool:
    assert first.outcome.read_bytes() == second.outcome.read_bytes()
    assert first.weights.read_bytes() == second.weights.read_bytes()
    lines = [[json.loads(line) for line in job.journal.read_text("utf-8").splitlines()] for job in (first, second)]
    plain = [[(line["epoch"], line["metrics"]) for line in found] for found in lines]
    assert plain[0] == plain[1]
    return True


@pytest.mark.parametrize(
    ("candidate", "changes"),
    [
        ("digits-cnn", {"patience": 1}),
        ("digits-cnn", {"trainer": {"precision": "bf16-mixed"}}),
        ("digits-rnn", {"parameters": {"architecture": "lstm", "dropout": 0.2}}),
        ("co2-cnn", {"limits": {0: 1e9, 1: 1e9, 2: 1e9}}),
        ("co2-rnn", {}),
    ],
)
def test_a_fit_killed_in_any_step_goes_on_to_the_same_bytes(
    candidate: str, changes: dict[str, Any], job: Make, kill: Callable[[int], None]
) -> None:
    if "trainer" in changes:
        changes = {"trainer": job().trainer | changes["trainer"]}
    straight = job(candidate, "straight", epochs=3, checkpoint_steps=3, **changes)
    outcome = fit(straight)
    last = int(outcome.history[-1]["step"])
    for step in range(1, last + 1, 1 if "patience" in changes else 4):
        cut = job(candidate, f"cut-{step}", epochs=3, checkpoint_steps=3, **changes)
        kill(step)
        with pytest.raises(Killed):
            fit(cut)
        assert fit(cut) == outcome, f"killed after step {step} of {last}"
        assert same(straight, cut)


@pytest.mark.parametrize(
    ("candidate", "architecture"),
    [(name, kind) for name, entry in TINY.candidates.items() for kind in load_family(entry.family).ARCHITECTURES],
)
def test_a_killed_fit_of_any_task_and_architecture_goes_on_to_the_same_bytes(
    candidate: str, architecture: str, job: Make, kill: Callable[[int], None]
) -> None:
    """Killed within the last epoch; augmentation and dropout go on where they were."""
    size = 8 if candidate.startswith("canvas") else 16  # of sixteen squares, so that an epoch has two steps
    changes: dict[str, Any] = {"epochs": 2, "checkpoint_steps": 1, "batch_size": size}
    changes["parameters"] = {"architecture": architecture}
    straight, cut = job(candidate, "straight", **changes), job(candidate, "cut", **changes)
    outcome = fit(straight)
    first, last = (int(row["step"]) for row in outcome.history)
    kill((first + last + 1) // 2)
    with pytest.raises(Killed):
        fit(cut)
    assert checkpoints(Path(cut.work), cut.name), "there is something to go on from"
    assert fit(cut) == outcome
    assert same(straight, cut)


def test_kill_after_kill_after_kill(job: Make, kill: Callable[[int], None]) -> None:
    straight, cut = job(work="straight", epochs=3), job(work="cut", epochs=3, checkpoint_steps=2)
    fit(straight)
    for step in (1, 3, 4, 9, 10, 17, 23):
        kill(step)
        with pytest.raises(Killed):
            fit(cut)
    fit(cut)
    assert same(straight, cut)


def test_a_resumed_fit_goes_on_and_does_not_begin_anew(job: Make, kill: Callable[[int], None]) -> None:
    cut = job(epochs=3, checkpoint_steps=3)
    kill(14)
    with pytest.raises(Killed):
        fit(cut)
    assert [int(path.name.split(".")[1].split("-")[0]) for path in checkpoints(Path(cut.work), cut.name)] == [12, 9]
    seen: list[int] = []
    begun = Checkpoints.on_train_start

    def note(self: Checkpoints, trainer: Any, module: Any) -> None:
        seen.append(trainer.global_step)
        begun(self, trainer, module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_start", note)
        fit(cut)
    assert seen == [12]
    assert list(Path(cut.work).glob("*.ckpt")) == [], "a completed fit keeps no checkpoints"


def test_how_often_checkpoints_are_written_changes_nothing(job: Make) -> None:
    rare, often = job(work="rare", checkpoint_steps=1000), job(work="often", checkpoint_steps=1)
    fit(rare)
    fit(often)
    assert same(rare, often)


def test_gathered_gradients_are_not_lost(job: Make, kill: Callable[[int], None]) -> None:
    trainer = job().trainer | {"accumulate_grad_batches": 3}
    straight, cut = job(work="straight", trainer=trainer), job(work="cut", trainer=trainer, checkpoint_steps=1)
    fit(straight)
    kill(5)
    with pytest.raises(Killed):
        fit(cut)
    fit(cut)
    assert same(straight, cut)


@pytest.mark.parametrize("damage", ["shorter", "altered", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    damage: str, job: Make, kill: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    straight, cut = job(work="straight", epochs=3), job(work="cut", epochs=3, checkpoint_steps=3)
    fit(straight)
    kill(14)
    with pytest.raises(Killed):
        fit(cut)
    last, before = checkpoints(Path(cut.work), cut.name)
    content = last.read_bytes()
    altered = {"shorter": content[: len(content) // 2], "altered": content[:-9] + b"x" + content[-8:], "empty": b""}
    last.write_bytes(altered[damage])
    assert newest(Path(cut.work), cut.name) == before
    assert f"{last} is damaged" in caplog.text
    fit(cut)
    assert same(straight, cut)


def test_without_a_whole_checkpoint_it_begins_anew(job: Make, kill: Callable[[int], None]) -> None:
    straight, cut = job(work="straight"), job(work="cut", checkpoint_steps=3)
    fit(straight)
    kill(14)
    with pytest.raises(Killed):
        fit(cut)
    for path in checkpoints(Path(cut.work), cut.name):
        path.write_bytes(b"nothing")
    fit(cut)
    assert same(straight, cut)


@pytest.mark.parametrize("file", ["outcome", "weights"])
def test_a_damaged_outcome_is_computed_again(file: str, job: Make, caplog: pytest.LogCaptureFixture) -> None:
    straight, cut = job(work="straight"), job(work="cut")
    fit(straight)
    fit(cut)
    getattr(cut, file).write_bytes(getattr(cut, file).read_bytes()[:40])
    fit(cut)
    assert "is damaged" in caplog.text
    assert same(straight, cut)


def test_a_damaged_journal_is_written_again(job: Make, kill: Callable[[int], None]) -> None:
    straight, cut = job(work="straight", epochs=3), job(work="cut", epochs=3, checkpoint_steps=3)
    fit(straight)
    kill(20)
    with pytest.raises(Killed):
        fit(cut)
    lines = cut.journal.read_text(encoding="utf-8")
    cut.journal.write_text(lines[: len(lines) // 2], encoding="utf-8")
    fit(cut)
    assert same(straight, cut)


def test_a_stop_that_was_asked_for_saves_the_step_it_comes_in(job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, cut = job(work="straight"), job(work="cut")
    fit(straight)
    begun = Checkpoints.on_train_start

    def ask(self: Checkpoints, trainer: Any, module: Any) -> None:
        begun(self, trainer, module)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_start", ask)
        with pytest.raises(signals.Stopped):
            fit(cut)
    assert [path.name.split("-")[1] for path in checkpoints(Path(cut.work), cut.name)] == ["0.1"]
    signals.forget_stop()
    fit(cut)
    assert same(straight, cut)


def test_a_checkpoint_that_cannot_be_loaded_again_is_noticed_at_once(job: Make, monkeypatch: Any) -> None:
    monkeypatch.setattr(Checkpoints, "state_dict", lambda self: {"folder": self.folder}, raising=False)
    with pytest.raises(Exception, match=r"[Ww]eights"):
        fit(job(checkpoint_steps=1))


def test_a_full_disk_ends_the_fit_and_keeps_the_checkpoint_before(job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, cut = job(work="straight"), job(work="cut", checkpoint_steps=3)
    fit(straight)
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if ".6-" in str(target):
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(resume.os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            fit(cut)
    assert len(checkpoints(Path(cut.work), cut.name)) == 1
    fit(cut)
    assert same(straight, cut)


def _hold(folder: str, held: Any, let_go: Any) -> None:
    with alone(Path(folder), "repeat-0"):
        held.set()
        let_go.wait(60)


def test_a_fit_waits_for_a_process_that_is_still_at_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, let_go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, let_go))
    other.start()
    assert held.wait(30)
    got = threading.Event()

    def take() -> None:
        with alone(tmp_path, "repeat-0"):
            got.set()

    threading.Thread(target=take, daemon=True).start()
    time.sleep(0.5)
    assert not got.is_set()
    other.kill()  # the lock goes with it
    assert got.wait(10)
    other.join()
