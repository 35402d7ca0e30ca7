"""What else goes wrong on real machines: full and read-only disks, damaged files, two runs at once.

Of every fault the user learns in one sentence what is wrong and what to do, and nothing that was there is lost.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from chaos.attacks import stage_process
from chaos.evidence import Evidence, differences, gathered
from chaos.reproduction import started
from clones import Clone

pytestmark = pytest.mark.timeout(600)

FULL = """
mount -t tmpfs -o size=4m tmpfs "$2" && cp -a "$1/." "$2" && mount --bind "$2" "$1" || exit 99
dd if=/dev/zero of="$1/.filling" bs=4k 2>/dev/null; shift 2; "$@"
"""
READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 99
shift 2; "$@"
"""
WRITTEN = {  # stage, name → the folder that it cannot write to
    ("fetch", "digits"): "data/raw", ("prepare", "digits"): "data/prepared", ("tune", "digits-rnn"): "search/digits",
    ("train", "digits-rnn"): "models/digits", ("evaluate", "digits"): "evaluation", ("report", ""): "reports",
}  # fmt: skip


@pytest.fixture(scope="module")
def clone(whole: Clone) -> Clone:
    whole.repro()  # whatever the tests before have left out of date
    whole.commit()
    return whole


@pytest.fixture(scope="module")
def before(clone: Clone) -> Evidence:
    """What is there and must stay."""
    return left(clone)


def left(clone: Clone) -> Evidence:
    """The evidence without .work: from what lies there, the next run goes on."""
    return replace(gathered(clone.folder), work=[])


@pytest.fixture(autouse=True)
def nothing_is_lost(clone: Clone, before: Evidence) -> Iterator[None]:
    """After every fault, all is as it was before, or one `dvc repro` brings it back."""
    yield
    if list(differences(before, left(clone))):
        clone.repro()
        assert list(differences(before, left(clone))) == []


def stage(clone: Clone, *words: str) -> tuple[int, str]:
    """(exit code, what was said) of `python -m pipeline …`."""
    done = clone.run(sys.executable, "-m", "pipeline", *words, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def mounted() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command where one folder is on another disk, which nobody else sees; skips where that is forbidden."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here: `unshare -rm` is missing or forbidden (Linux only)")

    def run(clone: Clone, disk: str, folder: str, scratch: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [unshare, "-rm", "sh", "-c", disk, "sh", str(clone.folder / folder), str(scratch)]
        done = clone.run(*command, sys.executable, "-m", "pipeline", *words, check=False)
        assert done.returncode != 99, done.stderr
        return done

    return run


@pytest.mark.parametrize(
    ("asked", "disk"),
    [*((asked, FULL) for asked in WRITTEN), (("train", "digits-rnn"), READ_ONLY), (("report", ""), READ_ONLY)],
    ids=lambda value: value[0] if isinstance(value, tuple) else "full" if value is FULL else "read-only",
)
def test_a_disk_that_takes_nothing_is_told_in_one_sentence(
    asked: tuple[str, str], disk: str, clone: Clone, mounted: Any, tmp_path: Path, before: Evidence
) -> None:
    done = mounted(clone, disk, WRITTEN[asked], tmp_path, *filter(None, asked))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith(f"{asked[0]}: ") and ("No space left" in told or "no space left" in told or disk != FULL)
    assert "Read-only file system" in told or disk != READ_ONLY
    assert "othing earlier was changed" in told
    assert list(differences(before, left(clone))) == []


@pytest.mark.parametrize("disk", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_stops_a_fit_in_one_sentence(
    disk: str, clone: Clone, mounted: Any, tmp_path: Path, before: Evidence
) -> None:
    """Checkpoints and journals go to .work, which may hold a completed fit."""
    shutil.rmtree(clone.folder / ".work")
    (clone.folder / ".work").mkdir()
    done = mounted(clone, disk, ".work", tmp_path, "train", "digits-rnn")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert ("o space left" if disk == FULL else "Read-only file system") in done.stderr
    assert list(differences(before, left(clone))) == []


def test_registering_without_room_waits_for_the_next_time(
    clone: Clone, mounted: Any, tmp_path: Path, before: Evidence
) -> None:
    done = mounted(clone, FULL, "reports", tmp_path, "register")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "o space left" in done.stderr and list(differences(before, left(clone))) == []


def test_two_runs_at_once_end_with_a_message_and_one_result(clone: Clone, before: Evidence) -> None:
    with started(clone, "--force", "--single-item", "train@digits-cnn") as first:
        running = None
        while first.process.poll() is None and running is None:
            time.sleep(0.05)
            running = stage_process(psutil.Process(first.process.pid), "train@digits-cnn")
        assert running is not None
        running.suspend()  # until the second one has met it
        second = clone.run("dvc", "repro", check=False)
        running.resume()
        said = first.process.communicate()[0]
    assert first.process.returncode == 0, said
    assert second.returncode != 0 and "is busy, it is being blocked by" in second.stdout + second.stderr
    assert list(differences(before, left(clone))) == []


def cache_file(clone: Clone, path: str) -> Path:
    """Where DVC keeps its copy of an output."""
    from ruamel.yaml import YAML

    stages = YAML(typ="safe", pure=True).load(clone.read("dvc.lock"))["stages"]
    (md5,) = {out["md5"] for entry in stages.values() for out in entry.get("outs", []) if out["path"] == path}
    return clone.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def flip(path: Path) -> None:
    """One bit that the disk has lost; mode and all else stay."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    path.chmod(mode)


WEIGHTS = "models/digits/digits-rnn/model.safetensors"


def test_a_damaged_file_in_the_cache_never_reaches_the_registry(clone: Clone) -> None:
    """DVC trusts what is write-protected in its cache: it copies the damaged weights out and says nothing."""
    flip(cache_file(clone, WEIGHTS))
    (clone.folder / WEIGHTS).unlink()
    done = clone.run("dvc", "repro", check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said, said
    assert f"register: {WEIGHTS} is not what train@digits-rnn wrote (dvc.lock: MD5 " in said
    command = said.partition("To make it anew: `")[2].partition("`")[0]
    clone.run(*command.split())
    clone.repro("train@digits-rnn")


@pytest.mark.parametrize("size", [0, 1000])
def test_damaged_weights_are_named_with_the_way_to_mend_them(size: int, clone: Clone) -> None:
    os.truncate(clone.folder / WEIGHTS, size)
    code, said = stage(clone, "evaluate", "digits")
    assert code == 2 and f"evaluate: {WEIGHTS} is damaged (" in said and "`dvc repro`" in said


DAMAGED = {
    "search/digits/digits-rnn/best.json": ("train", "digits-rnn"),
    "models/digits/digits-rnn/model.json": ("evaluate", "digits"),
    "data/prepared/digits/card.json": ("tune", "digits-rnn"),
    "data/prepared/digits/train.safetensors": ("train", "digits-rnn"),
    "metrics/digits.json": ("report",),
    "reports/registry.json": ("register",),
}


@pytest.mark.parametrize("path", DAMAGED)
def test_a_damaged_file_is_named_with_the_way_to_mend_it(path: str, clone: Clone, tmp_path: Path) -> None:
    shutil.copy2(clone.folder / path, tmp_path / "kept")
    os.truncate(clone.folder / path, 150)
    code, said = stage(clone, *DAMAGED[path])
    shutil.copy2(tmp_path / "kept", clone.folder / path)
    assert code == 2 and (f"{path} is damaged (" in said or f"{path} is not valid JSON (" in said), said
    assert "dvc repro" in said or "restore it, or remove it" in said


@pytest.mark.parametrize("path", ["search/digits/digits-rnn/best.json", "metrics/digits.json"])
def test_dvc_repro_mends_a_damaged_output(path: str, clone: Clone, before: Evidence) -> None:
    os.truncate(clone.folder / path, 150)
    clone.repro()
    assert list(differences(before, left(clone))) == []


@pytest.mark.parametrize("content", [b"no database", b""], ids=["text", "empty"])
def test_a_damaged_database_is_named_and_comes_back_from_the_files(content: bytes, clone: Clone) -> None:
    """An empty file is an empty database: everything is written into it."""
    database = clone.folder / "mlflow.db"
    database.write_bytes(content)
    code, said = stage(clone, "register")
    (entry,) = json.loads(clone.read("reports/registry.json"))["experiments"].values()
    assert code == 0 and ("the database is damaged; restore it or move it away" in said) == bool(content), said
    assert bool(entry["pending"]) == bool(content)
    if content:
        database.unlink()
        clone.repro()
