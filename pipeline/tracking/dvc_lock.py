"""What dvc.lock says of the outputs, read without DVC, which takes a second to import."""

from __future__ import annotations

import configparser
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LockedOutput:
    """An output as dvc.lock knows it. The MD5 of a folder ends with .dir and is that of the list of its files.

    `of_bytes`: whether it is the sum of the very bytes; DVC 2 hashed texts in a way of its own.
    """

    stage: str
    path: str
    md5: str
    of_bytes: bool


# Folders with a dvc.yaml, and what begins the addresses of its stages. All stages work in the root, as their paths do.
PIPELINES = {".": "", "differences": "differences/dvc.yaml:"}


def locked_outputs(root: Path) -> list[LockedOutput]:
    """Every output of every stage; nothing where there is no readable dvc.lock, of which DVC itself complains."""
    return [
        output
        for folder, prefix in PIPELINES.items()
        for stage, entry in _stages(root / folder / "dvc.lock").items()
        for output in _outputs(f"{prefix}{stage}", entry)
    ]


def _stages(lock: Path) -> dict[str, Any]:
    import yaml  # its C parser is ten times as fast as ruamel.yaml, and a lock file has thousands of lines

    # Paths and sums are texts: the base loader makes no number, date or truth value of `no` or `12e3`.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        document = yaml.load(lock.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return (document.get("stages") if isinstance(document, dict) else None) or {}


def cached(root: Path, md5: str) -> Path:
    """Where DVC's cache keeps the file, or the list of files, with this MD5."""
    return cache_folder(root) / md5[:2] / md5[2:]


def cache_folder(root: Path) -> Path:
    """DVC's cache as the configuration of the repository places it; one that only a user's own names is not seen."""
    for name in ("config.local", "config"):
        settings = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            settings.read(root / ".dvc" / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        if settings.get("cache", "dir", fallback=""):
            return root / ".dvc" / settings["cache"]["dir"] / "files/md5"  # relative to the file that says it
    return root / ".dvc/cache/files/md5"


def md5_of(file: Path) -> str:
    """MD5 of a file's bytes, in hexadecimal: the sum by which DVC knows it, no protection against anybody."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _outputs(stage: str, entry: dict[str, Any]) -> Iterator[LockedOutput]:
    for out in entry.get("outs", []):
        if "md5" in out:
            yield LockedOutput(stage, out["path"], out["md5"], out.get("hash") == "md5")
