"""The short version of `make chaos`: real kills in a real run, which ends as the undisturbed one did."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from chaos.attacks import HARMS, Attack, drawn
from chaos.campaign import Undisturbed, copied, disturbed, source, undisturbed
from chaos.evidence import differences
from clones import Clone

pytestmark = pytest.mark.timeout(600)

ATTACKS = [
    "tune@digits-rnn/worker/0.70", "tune@digits-rnn/dvc/0.60", "train@digits-rnn/checkpoint/0.70",
    "train@digits-rnn/stage/0.60", "register/stage/0.60",
]  # fmt: skip
SECONDS = 5.0  # that a stage takes on a quiet machine


def one_candidate(document: dict[str, Any]) -> None:
    del document["candidates"]["digits-cnn"]
    digits = document["experiments"]["digits"]
    digits["candidates"] = ["digits-rnn"]
    digits["training"] |= {"trial_epochs": 6, "epochs": 12, "patience": 12, "pruning": None}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return source(tmp_path_factory.mktemp("chaos") / "source", one_candidate)


@pytest.fixture(scope="module")
def before(origin: Clone) -> Undisturbed:
    return undisturbed(copied(origin, origin.folder.with_name("undisturbed")))


def test_killed_anywhere_the_pipeline_ends_with_the_same_bytes_and_one_clean_history(
    origin: Clone, before: Undisturbed
) -> None:
    # If the machine was busy before and is no more, later moments would find their stage ended; early ones meet it.
    soon = replace(before, durations={stage: min(seconds, SECONDS) for stage, seconds in before.durations.items()})
    found = disturbed(copied(origin, origin.folder.with_name("disturbed")), map(Attack.parse, ATTACKS), soon)
    assert found.faults == []
    assert len(found.done) >= 4, found


def test_the_comparison_sees_a_lost_and_a_doubled_point_and_a_changed_byte(before: Undisturbed) -> None:
    import copy

    changed = copy.deepcopy(before.evidence)
    key, run = next((key, run) for key, run in changed.runs.items() if run["points"].get("best_loss_so_far"))
    run["points"]["best_loss_so_far"].append(run["points"]["best_loss_so_far"][0])
    file = next(iter(changed.files))
    changed.files[file] = "0"  # type: ignore[index]
    changed.keys[key] = 2  # type: ignore[index]
    told = list(differences(before.evidence, changed))
    assert len(told) == 3
    assert any(f"keys → {key}: 2 instead of 1" in line for line in told)
    assert any("best_loss_so_far: 1 too many" in line and "0 missing" in line for line in told)
    assert any(line.startswith(f"files → {file}: 0 instead of") for line in told)


def test_attacks_are_drawn_from_the_seed_and_come_everywhere_before_they_come_again() -> None:
    stages = ["fetch@a", "tune@a-rnn", "train@a-rnn", "report"]
    first, second = ([next(drawing) for _ in range(48)] for drawing in (drawn(stages, random.Random(5)) for _ in "ab"))
    assert first == second
    cells = {(attack.stage, attack.harm) for attack in first[:24]}
    assert cells == {(attack.stage, attack.harm) for attack in first[24:]} and len(cells) == 24
    assert {harm for stage, harm in cells if stage == "train@a-rnn"} == set(HARMS) - {"server"}
    with_server = list(islice(drawn(stages, random.Random(5), server=True), 26))
    assert {attack.stage for attack in with_server if attack.harm == "server"} == {"tune@a-rnn", "train@a-rnn"}
    assert Attack.parse(str(first[0])).stage == first[0].stage


@pytest.mark.parametrize("text", ["train@x/nuke/0.5"])
def test_an_unknown_harm_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="harm: found nuke; allowed: stage, dvc"):
        Attack.parse(text)


def test_damage_cuts_the_newest_file_of_its_kind(tmp_path: Path) -> None:
    from chaos.attacks import damage

    folder = tmp_path / ".work/key"
    folder.mkdir(parents=True)
    (folder / "repeat-0.200-0123456789abcdef.ckpt").write_bytes(b"x" * 100)
    (folder / "trial-000.params.json").write_bytes(b"{}" * 10)
    (folder / "trial-000.json").write_bytes(b"{}" * 10)
    for harm in ("checkpoint", "outcome"):
        damage(Attack("train@x", harm, 0.5), tmp_path)
    assert [path.stat().st_size for path in sorted(folder.iterdir())] == [50, 10, 20]
