"""Questions to Git. Where there is no Git, no repository or no answer in time, the answer is None."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# Whatever a user has configured, a difference looks the same and can be applied anywhere.
PLAIN = ("-c", "core.quotepath=off", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false")
DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--binary", "--full-index",
        "--relative", "HEAD", "--")  # fmt: skip


def git(folder: Path, *arguments: str, index: Path | None = None) -> bytes | None:
    """Returns what a Git command prints in `folder`; with `index`, that file instead of the repository's own index."""
    environment = {**os.environ, **({} if index is None else {"GIT_INDEX_FILE": str(index)})}
    # Never waits for the locks that another Git holds in order to refresh what it has seen.
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        answer = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def text(folder: Path, *arguments: str) -> str | None:
    """The same as text without the last line break."""
    answer = git(folder, *arguments)
    return None if answer is None else answer.decode("utf-8", "replace").rstrip("\n")


def untracked(folder: Path, places: tuple[str, ...]) -> list[str]:
    """Files at these places that Git neither keeps nor ignores."""
    listed = git(folder, "ls-files", "-z", "--others", "--exclude-standard", "--", *places) or b""
    return [name for name in os.fsdecode(listed).split("\0") if name]


def difference(folder: Path, new: list[str], without: tuple[str, ...]) -> bytes | None:
    """Returns how `folder` and the files `new` differ from its commit, as `git apply` takes it, relative to `folder`.

    The repository is left as it is, with its index: the new files are announced in a copy of it.
    """
    place = text(folder, "rev-parse", "--path-format=absolute", "--git-path", "index")
    if place is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch, "index")
        if Path(place).is_file():
            shutil.copyfile(place, index)
        if new and git(folder, "add", "--intent-to-add", "--", *new, index=index) is None:
            return None
        left_out = [f":(exclude,glob){place}" for place in without]
        return git(folder, *PLAIN, *DIFF, ".", *left_out, index=index)
