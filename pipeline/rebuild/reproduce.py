"""Rebuilds a version from what MLflow recorded of it: its commit, its patch, its parameters, its data.

The search is not repeated: the parameters that it found travel with the version. Everything else is done again, in a
working copy that is removed afterwards: raw data → prepared data → training.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files.code import sources
from pipeline.rebuild.worktree import Failed, Worktree, called
from pipeline.tracking.source import PARAMS, PATCH

CODE_OF = "import sys; from pipeline.files.code import code_digest; print(code_digest(*sys.argv[1:]))"
DATA_OF = (
    "import json, sys, pipeline.params; params = pipeline.params.load();"
    "print(json.dumps([params.experiments[sys.argv[1]].data.path, list(params.downloads)]))"
)


@dataclass(frozen=True)
class Recorded:
    """Holds what is known of a version, with copies of its files."""

    name: str  # digits@3
    commit: str
    description: Mapping[str, Any]  # model.json
    score: str  # the name of the validation score
    model: Path  # the folder of model.json and model.safetensors
    files: Path  # those of the run: source/…
    tags: Mapping[str, str]  # of its run

    @property
    def experiment(self) -> str:
        return str(self.description["experiment"])

    @property
    def candidate(self) -> str:
        return str(self.description["candidate"])

    def stored(self, name: str) -> Path | None:
        """A file of the run's source, where it has one."""
        file = self.files / name
        return file if file.is_file() else None


def rebuild(recorded: Recorded, tree: Worktree, repository: Path, say: Callable[[str], None]) -> Path:
    """Trains the version again in `tree` and returns the folder of the model. Raises Failed with the reason."""
    _lay_out(recorded, tree)
    _check_code(recorded, tree)
    say("code as recorded; preparing the data")
    source = _prepare(recorded, tree, repository)
    say(f"data as recorded, from {source}; training {recorded.candidate} with the parameters that its search found")
    best = tree.folder / "search" / recorded.experiment / recorded.candidate / "best.json"
    best.parent.mkdir(parents=True, exist_ok=True)
    best.write_text(json.dumps({**recorded.description, "key": "rebuilt"}), encoding="utf-8")
    tree.python("-m", "pipeline", "train", recorded.candidate, shown=True)
    folder = tree.folder / "models" / recorded.experiment / recorded.candidate
    _check_facts(recorded.description, json.loads((folder / "model.json").read_text(encoding="utf-8")))
    return folder


def _lay_out(recorded: Recorded, tree: Worktree) -> None:
    """The commit becomes the source of the run."""
    if not (tree.folder / "pipeline").is_dir():
        raise Failed(f"commit {recorded.commit[:12]} has no pipeline/ where this repository has it")
    patch, params = recorded.stored(PATCH), recorded.stored(PARAMS)
    if patch is not None:
        tree.apply(patch)
    if params is not None:
        shutil.copyfile(params, tree.folder / "params.yaml")


def _check_code(recorded: Recorded, tree: Worktree) -> None:
    """The code of the working copy digests itself. Raises Failed where it is not what the version was made with."""
    wanted = recorded.description
    try:
        digest = tree.python("-c", CODE_OF, *sources("train", wanted["task"], wanted["family"])).strip()
    except Failed as error:
        raise Failed(f"the code of commit {recorded.commit[:12]} does not run here: {error}") from None
    if digest != wanted["code"]:
        raise Failed(
            f"commit {recorded.commit[:12]} with what was stored beside it is other code than the version was trained "
            f"with (digest {digest[:12]} instead of {wanted['code'][:12]})"
        )


def _prepare(recorded: Recorded, tree: Worktree, repository: Path) -> str:
    """Prepares the data and returns where the raw data came from. Raises Failed where no place has the right ones."""
    path, downloads = json.loads(tree.python("-c", DATA_OF, recorded.experiment))
    wanted, reasons = recorded.description["data"], []
    for place, bring in _places(tree, repository, path, downloads).items():
        shutil.rmtree(tree.folder / path, ignore_errors=True)
        try:
            bring()
            tree.python("-m", "pipeline", "prepare", recorded.experiment)
        except (Failed, OSError) as error:
            reasons.append(f"{place}: {error}")
            continue
        card = tree.folder / "data/prepared" / recorded.experiment / "card.json"
        data_digest = json.loads(card.read_text(encoding="utf-8"))["data"]
        if data_digest == wanted:
            return place
        reasons.append(f"{place}: other data ({data_digest[:12]} instead of {wanted[:12]})")
    raise Failed(f"its data are nowhere any more; {path} was looked for in " + "; ".join(reasons))


def _places(tree: Worktree, repository: Path, path: str, downloads: list[str]) -> dict[str, Callable[[], object]]:
    """Where raw data may be, and how they come from there."""
    _share_cache(tree, repository)
    target = _target(tree.folder, path)
    places: dict[str, Callable[[], object]] = {
        "DVC's cache": lambda: tree.python("-m", "dvc", "checkout", "--quiet", target),
    }
    if tree.python("-m", "dvc", "remote", "list").strip():
        places["DVC's remote"] = lambda: tree.python("-m", "dvc", "pull", "--quiet", target)
    name = Path(path).name
    if name in downloads and Path(path) == Path("data/raw", name):
        places["the download"] = lambda: tree.python("-m", "pipeline", "fetch", name)
    if (repository / path).exists():
        places["this working tree"] = lambda: shutil.copytree(repository / path, tree.folder / path)
    return places


def _target(folder: Path, path: str) -> str:
    """The .dvc file of raw data, which DVC reads also in a commit whose ignore files hide it; else their path."""
    files = (place.with_name(f"{place.name}.dvc") for place in (Path(path), *Path(path).parents) if place.name)
    return next((file.as_posix() for file in files if (folder / file).is_file()), path)


def _share_cache(tree: Worktree, repository: Path) -> None:
    """Lets DVC in the working copy take files from the repository's cache and remote."""
    settings = ConfigParser(interpolation=None)
    settings.read(repository / ".dvc" / "config.local", encoding="utf-8")
    cache = called([sys.executable, "-m", "dvc", "cache", "dir"], repository)
    if not settings.has_section("cache"):
        settings.add_section("cache")
    settings["cache"]["dir"] = str((repository / cache).resolve())
    with (tree.folder / ".dvc" / "config.local").open("w", encoding="utf-8") as stream:
        settings.write(stream)


def _check_facts(wanted: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> None:
    """Raises Failed where the rebuilt training was another one, although code and data agree."""
    if wanted["key"] == rebuilt["key"] or wanted["precision"] != rebuilt["precision"]:
        return  # another precision is chosen by the machine, not by the parameters
    names = ("parameters", "settings", "seed", "threads")
    different = [name for name in names if wanted.get(name) != rebuilt.get(name)] or ["budget or trainer"]
    raise Failed(f"the stored params.yaml is not the one of the version: {', '.join(different)} differ")
