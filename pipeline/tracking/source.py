"""What a run must hold to be rebuilt: what the commit does not say, params.yaml, and the installed packages."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.credentials import credential_in, known, scrubbed
from pipeline.files.code import code_digest, sources
from pipeline.tracking.git import difference, text, untracked
from pipeline.tracking.machine import CAPABILITY, GPU, MACHINE, PYTHON, installed, requirements_text
from pipeline.tracking.origin import BRANCH, COMMIT, DIRTY, code_folder, origin_tags, user_tags
from pipeline.tracking.specification import RunSpec

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SOURCE = "pipeline.source"  # whether a run can be rebuilt; set when its files have arrived
PATCH, PARAMS, REQUIREMENTS = "source/uncommitted.patch", "source/params.yaml", "source/requirements.txt"
COMMITTED, PATCHED = "commit", "commit and uncommitted.patch"
ADDRESSES = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"`<>]+")
LIMIT = 5 * 2**20  # bytes of a patch: more is data, which belongs to DVC

NEW = ("pipeline", "recipes", "dvc.yaml", "dvc.lock", ".dvcignore", ":(glob)data/**/*.dvc", ":(glob)*.dvc")
# params.yaml is kept as a whole, metrics are results, and the others may hold credentials.
WITHOUT = ("params.yaml", "metrics/**", ".dvc/config*", "**/.env*", "**/*.pem", "**/*.key")


@dataclass(frozen=True)
class Snapshot:
    """The source of a run as files, and the value of the tag SOURCE that says what they are good for."""

    files: Mapping[str, bytes]
    said: str


@cache
def snapshot(root: Path) -> Snapshot:
    """The present source of the repository `root`. Takes a third of a second, and asks once a process."""
    folder = code_folder(root)
    params = _read(folder / "params.yaml")
    files = {REQUIREMENTS: requirements_text(installed()).encode()}
    if params is not None:
        files[PARAMS] = scrubbed(params).encode()
    patch, reason = _patch(folder, known(params or ""))
    if patch:
        files[PATCH] = patch
    return Snapshot(files, reason or (PATCHED if patch else COMMITTED))


def keep_source(client: MlflowClient, run_id: str, root: Path) -> None:
    """Stores the present source with a run, unless it has its source already or is said to have none."""
    if SOURCE in client.get_run(run_id).data.tags:
        return
    present = snapshot(root)
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in present.files.items():
            file = Path(scratch, name)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        client.log_artifacts(run_id, scratch)
    client.set_tag(run_id, SOURCE, present.said)


def keep_source_of_files(client: MlflowClient, run_id: str, spec: RunSpec, root: Path) -> None:
    """The same for a search or training that is sent from files, where the present source is that of the files."""
    if spec.kind not in ("tune", "train"):
        return
    reason = _reason_against(spec, code_folder(root))
    if not reason:
        keep_source(client, run_id, root)
    elif SOURCE not in client.get_run(run_id).data.tags:
        client.set_tag(run_id, SOURCE, f"unknown: {reason}")


def hand_over(client: MlflowClient, before: Run, run_id: str) -> None:
    """Gives the origin and the source of a run to the one that takes its place, so that it can still be rebuilt."""
    tags = before.data.tags
    if tags.get(SOURCE) not in (COMMITTED, PATCHED):
        return
    with tempfile.TemporaryDirectory() as scratch:
        if fetched(client, before.info.run_id, "source", Path(scratch)) is None:
            return  # lost with the run
        client.log_artifacts(run_id, scratch)
    for name in (COMMIT, BRANCH, DIRTY, PYTHON, MACHINE, CAPABILITY, GPU, SOURCE):  # SOURCE last: it says "all here"
        if name in tags:
            client.set_tag(run_id, name, tags[name])


def fetched(client: MlflowClient, run_id: str, path: str, target: Path) -> Path | None:
    """A copy in `target` of files of a run; None where the run has none of that name."""
    from mlflow.exceptions import MlflowException

    try:
        return Path(client.download_artifacts(run_id, path, str(target)))
    except (MlflowException, OSError):
        client.search_experiments(max_results=1)  # raises where it is the server that is gone
        return None


def origin_of_files(spec: RunSpec, root: Path) -> dict[str, str]:
    """Origin of a run that is written from files later on: the present one only where code and data still fit it.

    A trial belongs to its search, which has the origin.
    """
    if spec.kind == "trial":
        return user_tags()
    reason = _reason_against(spec, code_folder(root))
    return {**user_tags(), SOURCE: f"unknown: {reason}"} if reason else origin_tags(root)


def _patch(folder: Path, forbidden: set[str]) -> tuple[bytes, str]:
    """(the patch, "") or (nothing, why it cannot be kept)."""
    if text(folder, "rev-parse", "HEAD") is None:
        return b"", "unknown: no commit, because this is no Git repository or an empty one"
    new = untracked(folder, NEW)
    size = sum((folder / name).stat().st_size for name in new if (folder / name).is_file())
    patch = difference(folder, new, WITHOUT) if size <= LIMIT else b""
    if patch is None:
        return b"", "incomplete: Git could not tell what was not committed"
    size = max(size, len(patch))
    if size > LIMIT:
        return b"", f"incomplete: what was not committed has {size / 2**20:.1f} MiB, more than {LIMIT >> 20} MiB"
    written = patch.decode("utf-8", "replace")
    if any(secret in written for secret in forbidden) or any(map(credential_in, ADDRESSES.findall(written))):
        return b"", "incomplete: what was not committed names a password, which shall not be stored"
    return patch, ""


def _reason_against(spec: RunSpec, folder: Path) -> str:
    """Why a piece of work does not come from the present tree; empty where nothing speaks against it."""
    tags = spec.tags
    if spec.data is not None and _data_in(folder / spec.data.uri) != spec.data.tags["pipeline.data"]:
        return "its data are not those that are prepared here now"
    if "pipeline.code" not in tags:
        return ""  # a baseline, which stands in the metrics file of the present commit
    try:
        present = code_digest(*sources(spec.kind, tags["pipeline.task"], tags["pipeline.family"]), root=folder)
    except (OSError, SyntaxError):
        present = ""
    return "" if present == tags["pipeline.code"] else "its code is not the one that lies here now"


def _data_in(prepared: Path) -> str | None:
    try:
        return str(json.loads((prepared / "card.json").read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, KeyError):
        return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
