"""A version's code is its own: it runs in a namespace that no other version and no checkout shares."""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from registered import packaged

from pipeline.models import FAMILIES
from pipeline.registry.asking import answers_of
from pipeline.serving.namespace import with_relative_imports, write_package
from pipeline.serving.packaging import copy_code
from pipeline.serving.preflight import inspect
from pipeline.serving.rehearse import RehearsalFailed, package_of, run_apart
from pipeline.tasks import TASKS

ROOT = Path(__file__).parents[2]
EDIT = ("classes = [str(name)", "classes = [f'digit {name}'")  # in the answer of a classifier

# Loads models in the order of the words, in a process of its own that was forked from one with the libraries, and
# prints what they answer: `checkout` imports this repository's package, `drop X` deletes the folder X.
PROGRAM = """
import json, os, shutil, sys
import mlflow.pyfunc, pandas, torch
def answer(model, folder):
    with open(folder + '/serving_input_example.json') as stream:
        example = json.load(stream)['dataframe_split']
    import base64
    frame = pandas.DataFrame(example['data'], columns=example['columns'])
    if 'image' in frame:
        frame['image'] = [base64.b64decode(entry) for entry in frame['image']]
    return model.predict(frame).to_dict(orient='list')
def run(words):
    models = {}
    for word in words:
        if word == 'checkout':
            sys.path.insert(0, ROOT)
            import pipeline.tasks.network, pipeline.tasks.image_classification.task
            assert pipeline.__path__ == [ROOT + '/pipeline']
        elif word.startswith('drop '):
            shutil.rmtree(word.removeprefix('drop '))
        else:
            models[word] = mlflow.pyfunc.load_model(word)
    found = {word: answer(model, word) for word, model in models.items() if os.path.isdir(word)}
    sys.path.insert(0, ROOT)
    import pipeline.tasks
    assert pipeline.tasks.__file__.startswith(ROOT + '/pipeline/'), pipeline.tasks.__file__
    return found
ROOT, *_ = sys.argv[1:]
for number, words in enumerate(json.load(sys.stdin)):
    if not os.fork():
        with open(f'{number}.json', 'w') as stream:
            json.dump(run(words), stream)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(f'the models {words} cannot be loaded and asked')
"""


def answers(scenarios: list[list[str]], place: Path) -> list[dict[str, Any]]:
    """What the models of each scenario answer, one process each."""
    place.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-P", "-c", PROGRAM, str(ROOT)], cwd=place, env=environment, check=True,
                   input=json.dumps(scenarios), text=True)  # fmt: skip
    return [json.loads((place / f"{number}.json").read_text()) for number in range(len(scenarios))]


@pytest.fixture(scope="module")
def versions(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three models: a classifier, the same with edited code, and a forecaster."""
    folder = tmp_path_factory.mktemp("versions")
    checkout = folder / "checkout"
    shutil.copytree(ROOT / "pipeline", checkout / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    edit(checkout / "pipeline/tasks/classification.py")
    made = {"digits": ("digits-cnn", ROOT), "edited": ("digits-cnn", checkout), "co2": ("co2-rnn", ROOT)}
    found = {}
    for name, (candidate, code) in made.items():
        torch.manual_seed(0)
        found[name] = str(packaged(prepared, candidate, folder / name, code))
    return found


def edit(file: Path) -> None:
    text = file.read_text()
    assert text.count(EDIT[0]) == 1
    file.write_text(text.replace(*EDIT))


def test_three_models_in_one_process_answer_as_alone_in_both_orders_and_with_a_checkout(
    versions: dict[str, str], tmp_path: Path
) -> None:
    order = list(versions.values())
    scenarios = [[folder] for folder in order]
    scenarios += [order, order[::-1], ["checkout", *order], [*order[::-1], "checkout"]]
    *alone, both, back, before, after = answers(scenarios, tmp_path / "answers")
    expected = alone[0] | alone[1] | alone[2]
    classes = [expected[versions[name]]["class"] for name in ("digits", "edited")]
    assert [f"digit {name}" for name in classes[0]] == classes[1]
    assert set(expected[versions["co2"]]) >= {"forecast"}
    assert both == back == before == after == expected


def test_code_that_was_edited_in_place_or_whose_twin_is_gone_answers_for_itself(
    versions: dict[str, str], tmp_path: Path
) -> None:
    """A copy of a version has the same package name on disk; what it imports late must not come from the other one."""
    ours, twin, edited = versions["digits"], tmp_path / "twin", tmp_path / "edited"
    shutil.copytree(ours, twin)
    shutil.copytree(ours, edited)
    edit(edited / "code" / package_of(edited / "code") / "tasks/classification.py")
    last, copies = answers([[str(twin), str(edited), ours, f"drop {twin}"], [ours]], tmp_path / "answers")
    assert last[ours] == copies[ours]
    assert last[str(edited)] == {**copies[ours], "class": [f"digit {name}" for name in copies[ours]["class"]]}


@pytest.mark.parametrize(("task", "family"), zip(TASKS, itertools.cycle(FAMILIES), strict=False))
def test_code_of_every_task_is_imported_without_the_name_of_this_package(
    task: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = copy_code(task, family, tmp_path)
    package = package_of(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    network, models, tasks = (
        importlib.import_module(f"{package}.{name}") for name in ("tasks.network", "models", "tasks")
    )
    assert network.load_task is tasks.load_task
    assert {tasks.task_type(task).__module__, models.load_family(family).__module__} == {
        f"{package}.tasks.{task}.task", f"{package}.models.{family}.encoder"
    }  # fmt: skip
    for file in files:
        assert not [name for name in names(file) if re.fullmatch(r"pipeline|pipeline(\.\w+)+(:\w+)?", name)], file


def names(file: Path) -> Iterator[str]:
    """What a file imports, and its texts: a name may stand in a table."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            yield node.value


def test_name_of_the_code_follows_from_its_files_alone(tmp_path: Path) -> None:
    code = {"pipeline/tasks/a.py": "from pipeline.data.b import c\n", "pipeline/data/b.py": "c = 1\n"}
    for folder in ("one", "two"):
        write_package(code, tmp_path / folder)
    write_package({**code, "pipeline/data/b.py": "c = 2\n"}, tmp_path / "three")
    names = [package_of(tmp_path / folder) for folder in ("one", "two", "three")]
    assert names[0] == names[1] != names[2]
    written = [{f.name: f.read_bytes() for f in (tmp_path / folder).rglob("*.py")} for folder in ("one", "two")]
    assert written[0] == written[1]
    assert sorted(written[0]) == ["__init__.py", "a.py", "b.py"]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("pipeline/a.py", "from pipeline.b import c", "from .b import c"),
        ("pipeline/a/__init__.py", "from pipeline.a.b import c", "from ..a.b import c"),
        ("pipeline/a/b.py", "from pipeline import c", "from .. import c"),
        ("pipeline/a/b.py", "é = 1; from pipeline.c import (\n    d,\n)", "é = 1; from ..c import (\n    d,\n)"),
        (
            "pipeline/a/b.py",
            "from pipeline.c import d; from pipeline.e import f",
            "from ..c import d; from ..e import f",
        ),
        ("pipeline/a/b.py", "def f():\n    from  pipeline.c.d import e", "def f():\n    from ..c.d import e"),
        ("pipeline/a/b.py", "s = 'from pipeline.c import d'", "s = 'from pipeline.c import d'"),
        ("pipeline/a/b.py", '"""\nfrom pipeline.c import d\n"""', '"""\nfrom pipeline.c import d\n"""'),
        ("pipeline/a/b.py", "from pipelines.c import d\nimport sklearn.pipeline", None),
        ("pipeline/a/b.py", "from sklearn.pipeline import d\nfrom ..c import e", None),
    ],
)
def test_imports_are_moved_where_they_stand_and_no_other_text(name: str, before: str, after: str | None) -> None:
    assert with_relative_imports(name, before) == (before if after is None else after)


@pytest.mark.parametrize(
    "text", ["import pipeline", "import os, pipeline.data.b as c", "from \\\n pipeline.b import c"]
)
def test_import_that_cannot_be_moved_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"pipeline/a/b\.py, line 2: found `.*pipeline.*`; .* write `from pipeline\.…"):
        with_relative_imports("pipeline/a/b.py", f"x = 1\n{text}\n")


def test_rooms_that_travel_have_no_import_that_cannot_be_moved() -> None:
    """So that nobody learns of it after a training of hours."""
    for room in ("data", "files", "formats", "models", "tasks"):
        for file in sorted((ROOT / "pipeline" / room).rglob("*.py")):
            moved = with_relative_imports(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
            assert "\nfrom pipeline" not in moved, file


def test_code_that_asks_for_a_checkout_is_found_before_it_is_served(versions: dict[str, str], tmp_path: Path) -> None:
    folder = shutil.copytree(versions["digits"], tmp_path / "digits")
    network = folder / "code" / package_of(folder / "code") / "tasks/network.py"
    network.write_text(network.read_text() + "\nimport importlib\nimportlib.import_module('pipeline.tasks')\n")
    (finding,) = inspect(folder).findings
    assert "cannot be served: ModuleNotFoundError" in finding and "pipeline" in finding
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(RehearsalFailed, match=r"ModuleNotFoundError.*pipeline"):
        run_apart(tmp_path / "job.json", folder / "code")


def test_version_without_its_code_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RehearsalFailed, match="found no package in its folder `code`; one package is right"):
        package_of(tmp_path)


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s1", "AWS_PROFILE": "s2", "GITHUB_TOKEN": "s3", "MLFLOW_TRACKING_PASSWORD": "s4",
    "MLFLOW_TRACKING_URI": "http://me:s5@host", "DVC_REMOTE_PASSWORD": "s6", "NVIDIA_API_KEY": "s7",
    "DATABASE_URL": "postgresql://me:s8@host/db", "HF_TOKEN": "s9", "PYTHONPATH": "/s10", "ANYTHING_ELSE": "s11",
    "CUDA_REGISTRY_TOKEN": "s12", "SSH_AUTH_SOCK": "/s13", "http_proxy": "http://me:s14@proxy",
}  # fmt: skip
SPY = """
import json, os, sys
with open({!r}, "w") as stream:
    json.dump([dict(os.environ), os.getcwd(), os.listdir(), sys.stdin.read()], stream)
"""
WANTED = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "LC_ALL": "C.UTF-8", "TZ": "Europe/Zurich"}


@pytest.mark.parametrize("way", ["register", "pre-flight", "predict"])
def test_code_of_a_version_gets_no_secret_no_input_and_no_folder_of_its_caller(
    versions: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder, seen = shutil.copytree(versions["digits"], tmp_path / "digits"), tmp_path / "seen.json"
    spy = folder / "code" / package_of(folder / "code") / "__init__.py"
    spy.write_text(SPY.format(str(seen)))
    monkeypatch.chdir(tmp_path)
    for name, value in {**SECRETS, **WANTED}.items():
        monkeypatch.setenv(name, value)
    if way == "register":
        (tmp_path / "job.json").write_text('{"output": "", "model": "", "prepared": ""}')
        with pytest.raises(RehearsalFailed, match=r"model\.json"):
            run_apart(tmp_path / "job.json", folder / "code")
    elif way == "pre-flight":
        assert inspect(folder).passed
    else:
        example = json.loads((folder / "serving_input_example.json").read_text())["dataframe_split"]
        request = pd.DataFrame({"image": [bytes(str(example["data"][0][0]), "ascii")]})
        with pytest.raises(ValueError, match="not readable as an image"):
            answers_of(folder, [request], tmp_path)
    environment, place, files, read = json.loads(seen.read_text())
    own = {"PYTHONPATH"} if way == "register" else {"MLFLOW_TRACKING_URI"}
    assert not set(SECRETS) - own & set(environment)
    assert not [value for value in environment.values() if any(value == secret for secret in SECRETS.values())]
    assert {name: environment.get(name) for name in WANTED} == WANTED
    assert environment["PATH"] == os.environ["PATH"]
    assert files == [] and Path(place) not in (tmp_path, folder, Path.cwd()) and not Path(place).exists()
    assert read == ""
