"""Folders that are either complete or untouched, and files that are named where they are neither."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Of files and folders that are being made, next to those whose place they take: on the same disk, so that they can take
# it in one step. A killed process leaves them; .dvcignore names them, so that DVC never takes them for a part of a
# dependency, and the next stage removes them.
NEW, OLD, PART = ".pipeline-new", ".pipeline-old", ".pipeline-part"


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when the block ends well.

    If the block fails, what was in `folder` before is untouched. A full disk becomes a ValueError.
    """
    fresh, old = (folder.with_name(f".{folder.name}{ending}") for ending in (NEW, OLD))
    try:
        fresh.parent.mkdir(parents=True, exist_ok=True)
        remove(fresh)  # left by a run that was killed, perhaps between the two renames below
        if old.exists() and not folder.exists():
            old.rename(folder)
        remove(old)
        fresh.mkdir()
        with held(fresh):
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


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Keeps `remove_leftovers` of other processes away from a file or folder that is being made.

    Yields whether nobody else held it. It ends with the process, however that ends.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _is_free(descriptor)
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        return False
    return True


def disk_full(folder: Path) -> ValueError:
    """Makes the error for a user whose disk was full while `folder` was written."""
    return ValueError(f"{folder}: no space left on the disk; free some and try again. Nothing earlier was changed.")


def damaged(path: Path, error: Exception) -> ValueError:
    """Makes the error for an output that cannot be read; DVC notices the change and makes it again."""
    return ValueError(f"{path} is damaged ({error}); run `dvc repro`, which makes it anew")


def read_json(path: Path) -> dict[str, Any]:
    """Reads an output that holds an object. Raises ValueError that names the file where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; run `dvc repro` (or `dvc pull`) first, which makes it") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise damaged(path, error) from None
    if not isinstance(content, dict):
        raise damaged(path, ValueError(f"found {type(content).__name__}, allowed: an object"))
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes sorted, indented JSON."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_whole(path, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Takes the place of an earlier file only when it is complete, so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{PART}")
    with partial.open("wb") as stream, held(partial):
        stream.write(content)
        stream.flush()
        os.replace(partial, path)


def remove(path: Path) -> None:
    """Removes a file, link or folder where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
