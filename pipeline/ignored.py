"""Data that DVC does not see, because a rule of an ignore file hides them: it would push nothing and delete them.

DVC is asked itself: its reading of ignore files (dulwich, pathspec) differs from Git's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo

FOLDERS = 1000  # of one data set that are looked at
PLACES = ".gitignore, .git/info/exclude or git's core.excludesFile"


def hidden_data(root: Path, paths: Iterable[str]) -> list[str]:
    """Returns a sentence for every data folder or .dvc file that a rule hides from DVC; none outside of a repository.

    `paths` are the data folders that params.yaml names, relative to `root`.
    """
    if not (root / ".dvc").is_dir():
        return []
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            own = sorted({path for path in paths if not Path(path).is_absolute()} | _added(root))
            return [*_unlisted(repo, root, own), *_left_out(repo, root, own)]
    except DvcException:  # of a broken dvc.yaml, about which every command of DVC complains
        return []


def _added(root: Path) -> set[str]:
    """Returns the folders and files that have a .dvc file, hidden or not, in the root and everywhere below data/."""
    files = [*root.glob("*.dvc"), *(root / "data").glob("*.dvc"), *(root / "data").glob("*/*.dvc")]
    return {file.relative_to(root).with_suffix("").as_posix() for file in files if file.is_file()}


def _unlisted(repo: Repo, root: Path, paths: Iterable[str]) -> Iterator[str]:
    """Reports folders that DVC does not walk through in its search for .dvc files, and files that it passes over."""
    from dvc.scm import NoSCM

    if isinstance(repo.scm, NoSCM):
        return
    wanted = dict.fromkeys(parent for path in paths for parent in _listed(root, Path(path)))
    hidden: list[Path] = []
    for folder in wanted:
        if not set(folder.parents) & set(hidden) and repo.scm.is_ignored(f"{root / folder}{os.sep}"):
            hidden.append(folder)
            yield _sentence(folder, f"a rule of {PLACES}", _remedy(root, folder))
    for path in paths:
        file = Path(f"{path}.dvc")
        if (root / file).is_file() and not set(file.parents) & set(hidden) and repo.scm.is_ignored(str(root / file)):
            yield _sentence(file, f"a rule of {PLACES}", "remove that rule")


def _listed(root: Path, path: Path) -> list[Path]:
    """Returns the folders that DVC has to walk through to find the data of a path, the outermost first.

    What lies in a folder that is an output itself, of a .dvc file or of a download, need not be found.
    """
    parents = [parent for parent in reversed(path.parents) if parent.name]
    added = next((place for place in (*parents, path) if (root / f"{place}.dvc").is_file()), None)
    if added is None:  # a download, or data that are not added yet: data/raw
        return parents[:2]
    return [parent for parent in parents if parent in added.parents]


def _left_out(repo: Repo, root: Path, paths: Iterable[str]) -> Iterator[str]:
    """Reports data folders, and folders in them, that a rule of .dvcignore takes out of `dvc add`."""
    for path in paths:
        for folder in _folders(root / path):
            if repo.dvcignore.is_ignored_dir(str(folder)):
                yield _sentence(folder.relative_to(root), "a rule of .dvcignore", "begin that rule with a slash")
                break  # one name is enough to find the rule


def _folders(folder: Path) -> Iterator[Path]:
    """Yields a folder and those in it, hidden ones left out: no format reads them."""
    for count, (place, below, _) in enumerate(os.walk(folder)):
        if count == FOLDERS:
            return
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(place)


def _remedy(root: Path, folder: Path) -> str:
    """Names what to change: for the line that this project itself had, the very line."""
    ignored = root / ".gitignore"
    lines = ignored.read_text(encoding="utf-8").splitlines() if ignored.is_file() else []
    line = f"/{folder.as_posix()}/*"
    if line in lines:
        return f"write `/{folder.as_posix()}/?*` in the place of `{line}` in .gitignore"
    return "remove that rule, or let it name the files instead of the folder"


def _sentence(place: Path, rule: str, remedy: str) -> str:
    return (
        f"{place.as_posix()} is hidden from DVC by {rule}: `dvc push` sends none of its data, and `dvc checkout` "
        f"deletes them; {remedy}"
    )
