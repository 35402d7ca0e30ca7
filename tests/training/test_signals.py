"""When a process that was asked to end does so."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from pipeline.training import signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    signals.preempt_on_sigterm()
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_waits_for_what_must_not_be_half_made_also_beside_other_threads() -> None:
    ended = threading.Event()
    other = threading.Thread(target=ended.wait, args=(30,))
    other.start()  # it could take the signal in the place of the main thread
    whole = False
    with pytest.raises(signals.Preempted), signals.undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        whole = sum(range(100_000)) > 0
    ended.set()
    other.join()
    assert whole


def test_without_sigterm_nothing_is_raised_afterwards() -> None:
    with signals.undisturbed():
        pass
    with pytest.raises(signals.Preempted):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(100_000))


def test_sigterm_is_only_noted_in_the_middle_of_a_step() -> None:
    signals.stop_after_step()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.stop_asked()
    signals.forget_stop()
    assert not signals.stop_asked()
