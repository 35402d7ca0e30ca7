"""Ending when asked to: SIGTERM from a scheduler that wants its node back, Ctrl-C, or the death of who waits for us.

A stage answers by stopping its workers; a fit answers by a checkpoint after the step that is running. Nothing here
imports PyTorch: the handlers are in place before that has loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

POLL = 1.0  # seconds between two looks at a process that must be alive

_asked = threading.Event()
_held, _late = threading.Event(), threading.Event()  # whether SIGTERM has to wait, and whether one came meanwhile


class Preempted(KeyboardInterrupt):
    """The stage was asked to end. Like Ctrl-C it is no error, so nobody who catches errors catches it."""


class Stopped(Exception):
    """A fit ended early because it was asked to; its checkpoint holds all that was done, or all but a few steps."""


def stop_asked() -> bool:
    """Whether this process was asked to end since `stop_after_step` was called."""
    return _asked.is_set()


def stop_after_step() -> None:
    """From now on SIGTERM only sets what `stop_asked` tells: training is in the middle of something.

    Lightning puts a handler of its own in place when a fit begins, which talks to the other processes in the middle
    of whatever they are doing; it puts ours back when the fit has ended.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _note)


def preempt_on_sigterm() -> None:
    """SIGTERM raises Preempted in the main thread, so that a stage leaves its blocks in good order."""
    signal.signal(signal.SIGTERM, _preempt)


def leave_on_sigterm() -> None:
    """SIGTERM ends a worker at once while it does nothing that would be lost."""
    signal.signal(signal.SIGTERM, _leave)


def forget_stop() -> None:
    """For processes that do several fits one after another, such as tests."""
    _asked.clear()


@contextmanager
def undisturbed() -> Iterator[None]:
    """SIGTERM raises Preempted only when the block has ended: it makes something that must not be half made.

    A mask of signals would not do: it holds for one thread, and another one would take the signal for all.
    """
    _held.set()
    try:
        yield
    finally:
        _held.clear()
    if _late.is_set():
        _late.clear()
        _preempt(signal.SIGTERM, None)


def when_gone(process: Callable[[], bool], act: Callable[[], None]) -> None:
    """Acts once as soon as `process` answers that it is no longer alive."""

    def watch() -> None:
        while process():
            time.sleep(POLL)
        act()

    threading.Thread(target=watch, daemon=True).start()


def end_with_dvc() -> None:
    """Ends this stage, as SIGTERM does, when the `dvc` that started it is gone: nobody would keep its outputs."""
    import psutil

    try:
        parents = psutil.Process().parents()
        # `dvc repro` starts a shell, which starts us: the shell survives it.
        dvc = next(
            (parent for parent in parents[:3] if any(Path(word).name == "dvc" for word in parent.cmdline()[:4])), None
        )
    except psutil.Error:
        return
    if dvc is not None:
        when_gone(lambda: _is_alive(dvc), lambda: os.kill(os.getpid(), signal.SIGTERM))


def end_with_parent() -> None:
    """Ends this process at once when its parent is gone: the other processes of a distributed training."""
    parent = os.getppid()
    when_gone(lambda: os.getppid() == parent, lambda: os._exit(1))


def _is_alive(process: Any) -> bool:
    """A process that nobody has reaped yet does not count."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _note(number: int, frame: FrameType | None) -> None:
    _asked.set()


def _preempt(number: int, frame: FrameType | None) -> None:
    if _held.is_set():
        _late.set()
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the next one must not break off the clean end
    raise Preempted


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    try:
        sys.stderr.flush()
    finally:  # also where the signal came in the middle of a line, which must not be flushed
        os._exit(128 + number)
