"""A new SQLite store of MLflow appears whole or not at all.

MLflow sets its tables up in some hundred steps, which take seconds. A process that is killed in the middle of them
would leave a file in which nobody can go on: every later start ends with "table … already exists".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

PREFIX = "sqlite:///"


def set_up(uri: str, opened: Callable[[str], object]) -> None:
    """Makes the file of an SQLite address under another name and renames it; leaves one that is there alone.

    `opened` is called with the address of the unfinished file and lets MLflow write its tables.
    """
    if not uri.startswith(PREFIX):
        return
    file = Path(uri.removeprefix(PREFIX))
    if file.exists():
        return
    _remove_abandoned(file)
    fresh = file.with_name(f"{file.name}.new-{os.getpid()}")
    opened(f"{PREFIX}{fresh.as_posix()}")
    try:
        os.link(fresh, file)  # unlike a renaming it does not replace what another process has made meanwhile
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        fresh.rename(file)
    fresh.unlink(missing_ok=True)


def _remove_abandoned(file: Path) -> None:
    """Removes what killed processes have begun."""
    import psutil

    for path in file.parent.glob(f"{file.name}.new-*"):
        process = path.name.removeprefix(f"{file.name}.new-").partition("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            path.unlink(missing_ok=True)
