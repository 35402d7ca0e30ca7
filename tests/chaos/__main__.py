"""`make chaos`: kills stages, workers and dvc at random moments of real runs; proves that nothing is lost or doubled.

Every line of the result can be repeated: `make chaos ARGS="--seed 3"` draws the same attacks again, and
`make chaos ARGS="--case train@digits-rnn/worker/0.4300"` does one of them alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from clones import Clone
from servers import MlflowServer, running_mlflow

from chaos.attacks import HARMS, Attack, drawn
from chaos.campaign import Round, Undisturbed, copied, disturbed, forget, source, undisturbed

A_CLONE = 12  # attacks that one clone takes
SHOWN = 12  # faults of one clone


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50, help="attacks in all (50)")
    parser.add_argument("--seed", type=int, default=0, help="what they are drawn from (0)")
    parser.add_argument("--case", action="append", default=[], help="one attack, as a failing run has printed it")
    parser.add_argument("--server", action="store_true", help="track on an MLflow server, which is killed as well")
    parser.add_argument("--folder", type=Path, help="where the clones go (a temporary folder)")
    given = parser.parse_args(arguments)
    place = given.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    origin = source(place / "source", enough_steps)
    before = undisturbed(copied(origin, place / "undisturbed"))
    said = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in before.durations.items())
    print(f"undisturbed: {sum(before.durations.values()):.0f} s ({said})", flush=True)
    attacks = (
        map(Attack.parse, given.case)
        if given.case
        else drawn(before.stages, random.Random(given.seed), server=given.server)
    )
    rounds = list(campaign(origin, before, attacks, len(given.case) or given.kills, given.server))
    print(table(rounds))
    survived = sum(len(found.done) for found in rounds if not found.faults)
    total = sum(len(found.done) for found in rounds)
    print(f"survived: {survived} of {total} attacks in {len(rounds)} clones, seed {given.seed}; clones in {place}")
    return 0 if survived == total else 1


def campaign(
    origin: Clone, before: Undisturbed, attacks: Iterator[Attack], wanted: int, with_server: bool
) -> Iterator[Round]:
    """Clone after clone until so many attacks were done. One that came too late is done in the next clone."""
    missed: list[Attack] = []
    number = done = 0
    while done < wanted and number <= wanted:
        count = min(A_CLONE, wanted - done)
        chosen = [*missed, *islice(attacks, max(0, count - len(missed)))][:count]
        if not chosen:
            return
        clone = copied(origin, origin.folder.with_name(f"clone-{number}"))
        with server_for(clone) if with_server else nullcontext() as server:
            found = disturbed(clone, chosen, before, server)
        missed = [Attack(attack.stage, attack.harm, attack.moment / 2) for attack in found.missed]
        number, done = number + 1, done + len(found.done)
        tell(number, found)
        yield found


@contextmanager
def server_for(clone: Clone) -> Iterator[MlflowServer]:
    """An MLflow server of its own for a clone."""
    folder = clone.folder.with_name(f"{clone.folder.name}-server")
    folder.mkdir()
    with running_mlflow(f"sqlite:///{folder / 'mlflow.db'}", folder) as server:
        yield server


def tell(number: int, found: Round) -> None:
    """What happened in a clone; of one that differs, everything that is needed to do it again."""
    verdict = f"{len(found.faults)} FAULTS" if found.faults else "nothing lost, nothing doubled"
    print(f"clone {number}: {len(found.done)} attacks, {found.runs} runs, {found.seconds:.0f} s: {verdict}", flush=True)
    for fault in found.faults[:SHOWN]:
        print(f"  {fault}")
    if found.faults:
        print(f"  kept in {found.folder}; again: --case " + " --case ".join(map(str, found.done)), flush=True)
    else:
        forget(found.folder)


def table(rounds: list[Round]) -> str:
    """Attacks that were survived, of all, by stage and harm."""
    survived = Counter((a.stage, a.harm) for found in rounds if not found.faults for a in found.done)
    all_of = Counter((attack.stage, attack.harm) for found in rounds for attack in found.done)
    stages = list(dict.fromkeys(stage for stage, _ in all_of))
    lines = [f"{'':18}" + "".join(f"{harm:>12}" for harm in HARMS)]
    for stage in sorted(stages):
        cells = [f"{survived[stage, harm]} of {all_of[stage, harm]}" if all_of[stage, harm] else "" for harm in HARMS]
        lines.append(f"{stage:18}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def enough_steps(document: dict[str, Any]) -> None:
    """Budgets with which most attacks come within an epoch, and several checkpoints lie before them."""
    document["experiments"]["digits"]["training"] |= {
        "trials": 4, "trial_epochs": 6, "pruning": {"after_epochs": 2, "quantile": 0.5}, "epochs": 20,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
