"""Streams a running search or training to MLflow. It only watches: nothing in here can stop or change a training."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.files.atomic import write_json
from pipeline.params import Tracking
from pipeline.tracking import journals
from pipeline.tracking.address import address_of
from pipeline.tracking.follower import Follower
from pipeline.tracking.stream import Identity

logger = logging.getLogger(__name__)


@contextmanager
def live_run(
    tracking: Tracking,
    *,
    experiment: str,
    kind: str,
    candidate: str,
    key: str,
    work: Path,
    parameters: dict[str, Any],
    description: str,
) -> Iterator[None]:
    """Shows in MLflow what the journals in `work` (*.jsonl, one line an epoch) say while the block runs.

    The journals must stay until the block is left. Journals `trial-…` become child runs, `repeat-…` curves named
    `<metric>/seed_<n>`. Where MLflow goes away, one warning is all, and the view goes on when it is back; what is
    missing in the end `register` sends from the files. When things happened stays in timings/.
    """
    work = Path(work)
    follower = Follower(address_of(tracking), Identity(experiment, kind, candidate, key, description), work, parameters)
    follower.start()
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
        _keep_times(Path("timings", experiment, candidate, f"{kind}.times.json"), key, work)
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        follower.finish(status)


def _keep_times(file: Path, key: str, work: Path) -> None:
    """When each epoch ended, so that curves which are sent later show the times at which things happened."""
    try:
        write_json(file, {"key": key, "times": journals.times(work)})
    except OSError as error:
        logger.warning("%s cannot be written (%s); curves that are sent later show estimated times", file, error)
