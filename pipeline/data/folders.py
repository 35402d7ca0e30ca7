"""Folders that are either complete or untouched."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when the block ends well.

    If the block fails, what stood in `folder` before is untouched. A full disk becomes a ValueError.
    """
    fresh, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    try:
        fresh.parent.mkdir(parents=True, exist_ok=True)
        remove(fresh)  # left by a run that was killed, perhaps between the two renames below
        if old.exists() and not folder.exists():
            old.rename(folder)
        remove(old)
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(old)  # a folder that is not empty cannot be replaced in one step
        fresh.rename(folder)
        remove(old)
    except BaseException as error:
        remove(fresh)
        if old.exists() and not folder.exists():
            old.rename(folder)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder) from error
        raise


def disk_full(folder: Path) -> ValueError:
    """What to tell a user whose disk ended while `folder` was written."""
    return ValueError(f"{folder}: no space left on the disk; free some and try again. Nothing earlier was changed.")


def remove(path: Path) -> None:
    """Removes a file, link or folder where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
