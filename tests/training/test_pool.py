"""Workers that are killed, also in the moments that leave the others waiting for what never comes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable

import pytest

from pipeline.training.fit import Job, Outcome
from pipeline.training.pool import GRACE, Pool, open_pool

pytestmark = pytest.mark.timeout(120)
Make = Callable[..., Job]


def jobs(job: Make, count: int, work: str = "work") -> list[Job]:
    return [job(name=f"repeat-{number}", seed=number, work=work) for number in range(count)]


def undisturbed(job: Make, count: int) -> list[dict[str, float]]:
    with open_pool(0, "undisturbed", 2 * count) as pool:
        return [outcome.figures for outcome in pool.run(jobs(job, count, "undisturbed"))]


def once(act: Callable[[], None]) -> Callable[[Job, Outcome], None]:
    """Acts when the first fit has ended."""
    heard: list[str] = []

    def on_done(done: Job, outcome: Outcome) -> None:
        heard.append(done.name)
        if len(heard) == 1:
            act()

    return on_done


def test_a_worker_that_is_idle_after_a_fit_ends_when_it_is_asked_to(job: Make) -> None:
    with open_pool(1, "idle", 2) as pool:
        pool.run(jobs(job, 1))
        (worker,) = multiprocessing.active_children()
        worker.terminate()
        worker.join(20)
        assert not worker.is_alive()


def test_one_worker_killed_and_the_other_one_deaf(job: Make) -> None:
    """As one is that waits for a lock which the killed one held: it is replaced too."""

    def strike() -> None:
        killed, deaf = multiprocessing.active_children()
        os.kill(deaf.pid or 0, signal.SIGSTOP)
        killed.kill()

    with open_pool(2, "deaf", 8) as pool:
        outcomes = pool.run(jobs(job, 4), once(strike))
    assert [outcome.figures for outcome in outcomes] == undisturbed(job, 4)
    assert multiprocessing.active_children() == []


def test_workers_that_die_before_they_are_given_a_fit_are_replaced(job: Make) -> None:
    """The executor refuses what it is given then."""

    def strike(pool: Pool) -> None:
        for worker in multiprocessing.active_children():
            worker.kill()
        while pool.executor is not None and not pool.executor._broken:  # type: ignore[attr-defined]
            time.sleep(0.01)

    with open_pool(1, "dead", 6) as pool:
        outcomes = pool.run(jobs(job, 3), once(lambda: strike(pool)))
    assert [outcome.figures for outcome in outcomes] == undisturbed(job, 3)


def test_a_pool_closes_although_a_worker_is_deaf(job: Make) -> None:
    with open_pool(2, "closed", 4) as pool:
        pool.run(jobs(job, 2))
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGSTOP)
        begun = time.monotonic()
    assert time.monotonic() - begun < 4 * GRACE
    assert multiprocessing.active_children() == []
