"""Fits side by side in processes of their own, with one progress bar for all of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.training.signals import Preempted, Stopped, leave_on_sigterm, stop_asked, undisturbed

logger = logging.getLogger(__name__)

PRELOADED = [
    "pipeline.training.fit",
    "pipeline.training.callbacks",
    "pipeline.training.resume",
]  # what takes seconds; a task and a family take none
LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal
GRACE = 3.0  # seconds that workers have for their last checkpoint: a scheduler allows little more
DEATHS = 3  # of workers in a row, without a step forward


Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")


class Job(Protocol[Result_co]):
    """Work for one process, such as a fit: it keeps what it has done in files, so that it can go on after a kill."""

    @property
    def name(self) -> str:
        """Begins the names of the files that it leaves in the folder `work`."""

    @property
    def work(self) -> str: ...

    @property
    def epochs(self) -> int:
        """Returns how many there are at most."""

    @property
    def journal(self) -> Path:
        """A file with a line for every epoch that is done."""

    def run(self) -> Result_co:
        """Raises Stopped where the process was asked to end."""


class Progress:
    """A bar with the time left in a terminal, a plain line now and then elsewhere; counts epochs."""

    def __init__(self, title: str, epochs: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=epochs, desc=title, unit="epoch", disable=not sys.stderr.isatty(), leave=False)
        self.title, self.started, self.said, self.done, self.epochs = (
            title,
            time.monotonic(),
            time.monotonic(),
            0,
            epochs,
        )

    def reach(self, epochs: int) -> None:
        """Shows that so many epochs are done in all."""
        new, now = epochs - self.done, time.monotonic()
        self.bar.update(new)
        self.done = epochs
        if self.bar.disable and new and now - self.said > LINE_SECONDS:
            left = (now - self.started) / epochs * (self.epochs - epochs)
            print(f"{self.title}: {epochs} of at most {self.epochs} epochs, about {left:.0f} s left", file=sys.stderr)
            self.said = now


class Pool:
    """Worker processes that import the code once: a server process loads it and forks the workers off."""

    def __init__(self, workers: int, title: str, epochs: int, preloaded: Sequence[str] = PRELOADED) -> None:
        self.workers, self.title, self.preloaded = workers, title, preloaded
        self.progress = Progress(title, epochs)
        self.executor: ProcessPoolExecutor | None = None
        self.finished: dict[str, int] = {}  # epochs that a completed fit was allowed, by its name
        self.deaths = 0  # of workers, one after another, without any step forward
        self.reached: list[str] = []  # what the unfinished fits had left when a worker died last

    def run(self, jobs: Iterable[Job[Result]], on_done: Callable[[Any, Result], None] | None = None) -> list[Result]:
        """The outcomes in the order of the jobs, whichever came first; `on_done` hears of each as it comes.

        A job is drawn only when a worker is free for it. A worker that was killed is replaced, and its fit goes on from
        its checkpoint; raises ValueError where that happens again and again. Raises Preempted after SIGTERM.
        """
        waiting = iter(jobs)
        order: list[str] = []
        outcomes: dict[str, Result] = {}
        running: dict[Future[Result], Job[Result]] = {}
        while True:
            for job in self._drawn(waiting, self.workers - len(running) if self.workers else 1):
                order.append(job.name)
                running[self._submit(job)] = job
            if not running:
                return [outcomes[name] for name in order]
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            broken = [running.pop(future) for future in done if isinstance(future.exception(), BrokenProcessPool)]
            for future in done:
                if future in running:
                    job = running.pop(future)
                    outcomes[job.name] = self._completed(job, future)
                    if on_done is not None:
                        on_done(job, outcomes[job.name])
            if broken:  # one death breaks them all
                unfinished = [*broken, *running.values()]
                self._replace_workers(unfinished)
                running = {self._submit(job): job for job in unfinished}
            self._show(running.values())

    def start(self) -> None:
        """Makes the processes, which then wait for work."""
        start_server(self.preloaded)
        context = multiprocessing.get_context("forkserver")
        self.executor = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_join)

    def stop(self) -> None:
        """Asks the workers to save what they have done and to end; after GRACE seconds they are ended.

        The executor alone would wait for ever: for a worker that needs a lock which another one held when it was
        killed, and for one that it made in the moment in which another one was killed.
        """
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.terminate()
        deadline = time.monotonic() + GRACE
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                worker.kill()
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)

    def _drawn(self, waiting: Iterator[Job[Result]], free: int) -> Iterator[Job[Result]]:
        for _ in range(free):
            job = next(waiting, None)
            if job is None:
                return
            yield job

    def _submit(self, job: Job[Result]) -> Future[Result]:
        future: Future[Result] = Future()
        if self.executor is not None:
            try:
                with undisturbed():  # this makes the workers, and a worker needs what its leader would remove
                    return self.executor.submit(_work, job)
            except (BrokenProcessPool, BrokenPipeError) as death:  # a worker was killed before it had this job
                future.set_exception(BrokenProcessPool(str(death)))
                return future
        try:
            future.set_result(_work(job))
        except Stopped:
            raise Preempted from None
        return future

    def _completed(self, job: Job[Result], future: Future[Result]) -> Result:
        self.finished[job.name] = job.epochs
        return future.result()  # raises what the worker raised

    def _replace_workers(self, unfinished: Sequence[Job[Any]]) -> None:
        """New workers after one was killed. Raises ValueError where that happens again and again to no avail."""
        reached = [entry for job in unfinished for entry in _traces(job)]
        self.deaths = self.deaths + 1 if reached == self.reached else 1
        self.reached = reached
        if self.deaths > DEATHS:
            raise ValueError(
                f"{self.title}: a worker was killed {self.deaths} times and got no further in between; if the machine "
                "runs out of memory, lower `workers` or training.batch_size. What was done is kept"
            )
        logger.warning("%s: a worker was killed; its fit goes on from its checkpoint", self.title)
        self.stop()
        self.start()

    def _show(self, running: Iterable[Job[Any]]) -> None:
        self.progress.reach(sum(self.finished.values()) + sum(_lines(job.journal) for job in running))


def _work(job: Job[Result]) -> Result:
    try:
        outcome = job.run()
    except Stopped:
        if multiprocessing.parent_process() is None:
            raise
        os._exit(128 + signal.SIGTERM)  # nobody waits for an answer any more
    if stop_asked() and multiprocessing.parent_process() is not None:
        os._exit(128 + signal.SIGTERM)  # the job ended before it could stop: whoever asked waits for this process
    return outcome


def _lines(journal: Path) -> int:
    try:
        return journal.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _traces(job: Job[Any]) -> list[str]:
    """Returns what tells how far a fit has come."""
    return [f"{job.name}: {_lines(job.journal)} epochs", *sorted(p.name for p in Path(job.work).glob(f"{job.name}.*"))]


def start_server(preloaded: Sequence[str] = PRELOADED) -> None:
    """Starts the server process, unless it runs already; it loads Lightning while this process does other things."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(preloaded))
    forkserver.ensure_running()


@contextmanager
def open_pool(workers: int, title: str, epochs: int, preloaded: Sequence[str] = PRELOADED) -> Iterator[Pool]:
    """A pool that is closed, with its processes, when the block ends; `workers` of 0 works in this process.

    `preloaded` are the modules that are imported once for all workers.
    """
    pool = Pool(workers, title, epochs, preloaded)
    if workers:
        pool.start()
    try:
        yield pool
    finally:
        pool.progress.bar.close()
        if workers:
            pool.stop()


def _join() -> None:
    """Makes a worker end with the process it works for, also when that was killed, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_on_sigterm()
    leader = multiprocessing.parent_process()
    assert leader is not None

    def follow() -> None:
        leader.join()  # ends when the leader's end of a pipe is closed: also for one that is dead but not yet reaped
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
