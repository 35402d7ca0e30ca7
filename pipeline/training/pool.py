"""Fits side by side in processes of their own, with one progress bar for all of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.training.fit import Job, Outcome

PRELOADED = ["pipeline.training.fit", "pipeline.training.module"]  # what takes seconds; a task and a family take none
LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal


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
        self.bar.update(epochs - self.done)
        self.done = epochs
        now = time.monotonic()
        if self.bar.disable and epochs and now - self.said > LINE_SECONDS:
            left = (now - self.started) / epochs * (self.epochs - epochs)
            print(f"{self.title}: {epochs} of at most {self.epochs} epochs, about {left:.0f} s left", file=sys.stderr)
            self.said = now


class Pool:
    """Worker processes that import the code once: a server process loads it and forks the workers off."""

    def __init__(self, title: str, epochs: int) -> None:
        self.progress = Progress(title, epochs)
        self.executor: ProcessPoolExecutor | None = None
        self.finished: dict[str, int] = {}  # epochs that a completed fit was allowed, by its name

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """The outcomes in the order of the jobs, whichever came first."""
        if self.executor is None:
            return [self._alone(job) for job in jobs]
        futures = {self.executor.submit(_work, job): job for job in jobs}
        waiting: set[Future[Outcome]] = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()  # raises what the worker raised
                self.finished[futures[future].name] = futures[future].epochs
            running = sum(_lines(futures[future].journal) for future in waiting)
            self.progress.reach(sum(self.finished.values()) + running)
        return [future.result() for future in futures]

    def _alone(self, job: Job) -> Outcome:
        outcome = _work(job)
        self.finished[job.name] = job.epochs
        self.progress.reach(sum(self.finished.values()))
        return outcome


def _work(job: Job) -> Outcome:
    from pipeline.training.fit import fit

    return fit(job)


def _lines(journal: Path) -> int:
    try:
        return journal.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def start_server() -> None:
    """Starts the server process, unless it runs already; it loads Lightning while this process does other things."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()


@contextmanager
def open_pool(workers: int, title: str, epochs: int) -> Iterator[Pool]:
    """A pool that is closed, with its processes, when the block ends; `workers` of 0 works in this process."""
    pool = Pool(title, epochs)
    if workers:
        start_server()
        context = multiprocessing.get_context("forkserver")
        pool.executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_join, initargs=(os.getpid(),))
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():  # nobody waits for what they are doing any more
            child.terminate()
        raise
    finally:
        pool.progress.bar.close()
        if pool.executor:
            pool.executor.shutdown(wait=True, cancel_futures=True)


def _join(leader: int) -> None:
    """Makes a worker end with the process it works for, also when that was killed, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while _is_running(leader):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
