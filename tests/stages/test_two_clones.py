"""Two clones register at one MLflow server at the same moment: one line a decision, each about the champion of then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from registered import aliases, retrain
from registrar import Clones

from pipeline.registry import chain
from pipeline.registry.ledger import lines_of

if TYPE_CHECKING:
    from servers import MlflowServer

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def clones(trained_template: Path, tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[Clones]:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        shutil.copytree(trained_template, folder)
    found = Clones(folders, mlflow_server.address)
    yield found
    found.end()


def test_every_registration_is_about_the_champion_that_the_one_before_has_left(
    clones: Clones, fake: ModuleType
) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(clones.address, clones.address)
    said = clones.register()  # both have the outputs of one training
    for turn, shares in enumerate([(0.8, 0.82), (0.9, 0.9)]):
        for number, (folder, share) in enumerate(zip(clones.folders, shares, strict=True)):
            key = f"key{turn}" if shares[0] == shares[1] else f"key{turn}n{number}"
            retrain(fake, folder, key, share, base=0.7)
        said += clones.register()
    assert all("is champion" in text and "waiting:" not in text for text in said), said
    model = client.get_registered_model("digits")
    lines = lines_of(model.tags)
    check(lines)
    assert sorted(line["challenger"]["key"] for line in lines) == ["aaa", "key0n0", "key0n1", "key1"]
    versions = {int(v.version): v.tags["pipeline.key"] for v in client.search_model_versions("name = 'digits'")}
    assert sorted(versions.values()) == sorted(line["challenger"]["key"] for line in lines), "no version twice"
    assert versions[aliases(client)["champion"]] == lines[-1]["champion_after"]
    assert [entry.name for entry in client.search_registered_models() if entry.name.startswith("digits (")] == []
    last = [json.loads((folder / "reports/registry.json").read_text()) for folder in clones.folders]
    assert lines in [entry["experiments"]["digits"]["history"] for entry in last]


def check(lines: list[dict[str, Any]]) -> None:
    """One chain, in which nobody speaks of another champion than that of the line before."""
    assert {line["kind"] for line in lines} == {"decision"}
    assert [line["previous"] for line in lines] == [None, *map(chain.digest, lines[:-1])]
    champions = [None, *(line["champion_after"] for line in lines)]
    for champion, line in zip(champions, lines, strict=False):
        assert (line["against"] and line["against"]["key"]) == champion, line["reason"]


def test_two_processes_in_one_clone_lose_no_entry_of_the_record(tmp_path: Path, root: Path) -> None:
    import os
    import subprocess
    import sys

    code = (
        "import sys\nfrom pathlib import Path\nfrom pipeline.registry import record\n"
        "from pipeline.tracking.address import Address\nhere = Address('', '', None, Path.cwd())\n"
        "for number in range(50): record.update(here, sys.argv[1], lambda entry: {'n': entry.get('n', 0) + 1})"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    names = ("digits", "co2", "digits")
    processes = [subprocess.Popen([sys.executable, "-c", code, name], cwd=tmp_path, env=environment) for name in names]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    found = json.loads((tmp_path / "reports/registry.json").read_text())["experiments"]
    assert found == {"digits": {"n": 100}, "co2": {"n": 50}}
