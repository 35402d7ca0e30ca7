"""A commit of this repository in a folder of its own, with what was not committed, for as long as a block runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "rebuild-"  # of the temporary folders: rebuild-<process>-…


class Failed(Exception):
    """A step could not be done; the message is a sentence."""


@dataclass(frozen=True)
class Worktree:
    """A working copy. `folder` is where params.yaml lies in it, `scratch` a folder beside it; both will be removed."""

    folder: Path
    scratch: Path

    def python(self, *arguments: str, shown: bool = False, **variables: str) -> str:
        """Returns what this Python prints with the code of the working copy, which knows nothing of the user's MLflow.

        `shown` lets it talk to the terminal, for steps that take minutes. Raises Failed with its last line.
        """
        free = ("MLFLOW_", "PIPELINE_STUDY", "PIPELINE_LAUNCHED", "DVC_STAGE", "DVC_ROOT", "PYTHONSAFEPATH")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(free)}
        own = {"PYTHONPATH": str(self.folder), "MLFLOW_TRACKING_URI": f"sqlite:///{self.scratch / 'mlflow.db'}"}
        own |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")]), **variables}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env={**kept, **own}, text=True,
            stdout=None if shown else subprocess.PIPE, stderr=None if shown else subprocess.PIPE,
        )  # fmt: skip
        if done.returncode:
            raise Failed(_last_line(done.stderr) or f"exit code {done.returncode}; its own messages stand above")
        return done.stdout or ""

    def apply(self, patch: Path) -> None:
        """Raises Failed where the patch does not fit the commit."""
        try:
            _git(self.folder, "apply", "--whitespace=nowarn", "--exclude=.dvc/*", str(patch))
        except Failed as error:
            raise Failed(f"what was not committed does not fit its commit: {error}") from None


@contextmanager
def worktree(repository: Path, commit: str) -> Iterator[Worktree]:
    """`commit` of `repository`, checked out; nothing of it is left afterwards, whatever happens in the block.

    Raises Failed for a commit that is not here.
    """
    _git(repository, "rev-parse", "HEAD")
    remove_abandoned(repository)
    try:
        _git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except Failed:
        raise Failed(
            f"this repository has no commit {commit[:12]}: the version comes from another repository or clone, "
            "or from a branch that was not fetched (`git fetch --all`)"
        ) from None
    prefix = _git(repository, "rev-parse", "--show-prefix")
    with tempfile.TemporaryDirectory(prefix=f"{MARK}{os.getpid()}-", ignore_cleanup_errors=True) as scratch:
        tree = Path(scratch).resolve() / "tree"
        try:
            # Without hooks: `dvc install` sets one that would check out all data.
            _git(repository, "-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", str(tree), commit)
            yield Worktree(tree / prefix, Path(scratch).resolve())
        finally:
            _forget(repository, tree)


def remove_abandoned(repository: Path) -> None:
    """Removes what processes that were killed have left behind."""
    for line in _git(repository, "worktree", "list", "--porcelain").splitlines():
        tree = Path(line.removeprefix("worktree "))
        if line.startswith("worktree ") and tree.parent.name.startswith(MARK) and not _lives(tree.parent.name):
            _forget(repository, tree)
            shutil.rmtree(tree.parent, ignore_errors=True)


def _lives(name: str) -> bool:
    import psutil

    number = name.removeprefix(MARK).partition("-")[0]
    return not number.isdigit() or psutil.pid_exists(int(number))


def _forget(repository: Path, tree: Path) -> None:
    """Not `git worktree prune`: that would forget also those of the user whose disk is not mounted just now."""
    with suppress(Failed):
        _git(repository, "worktree", "remove", "--force", "--force", str(tree))  # twice: also one half made
    shutil.rmtree(tree, ignore_errors=True)


def _git(folder: Path, *arguments: str) -> str:
    return called(["git", *arguments], folder)


def called(command: Sequence[str], folder: Path) -> str:
    """Returns what a command prints. Raises Failed with its last line."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed") from None
    if done.returncode:
        raise Failed(_last_line(done.stderr) or f"`{' '.join(command[:3])}` ended with exit code {done.returncode}")
    return done.stdout.rstrip("\n")


def _last_line(text: str | None) -> str:
    lines = [line.strip() for line in (text or "").strip().splitlines() if line.strip()]
    return lines[-1] if lines else ""
