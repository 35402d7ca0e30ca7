"""dvc.yaml tells the truth: what a stage declares is what it imports and reads, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from declarations import PER_CANDIDATE, Document, code, declared, pairs, starts
from generated import write_raw
from ruamel.yaml import YAML

from pipeline.files.code import import_closure
from pipeline.params import Params, Section, load
from pipeline.training.facts import search_budget, training_budget

ROOT = Path(__file__).parents[1]
WHOLE = ("prepare", "evaluate")  # they take the whole package of a task
UNWATCHED = (
    "pipeline/params.py",
    "pipeline/problems.py",
    "pipeline/credentials.py",
    "pipeline/escaping.py",
    "pipeline/check.py",
    "pipeline/guard/",
    "pipeline/scope.py",
    "pipeline/__main__.py",
    "pipeline/tracking/",
)
UNDECLARED = ("workers", "checkpoint_steps", "launcher", "study", "tracking")  # of params.yaml: they change no output


def with_recipes(folder: Path) -> Params:
    """params.yaml of the repository with all recipes in it."""
    import shutil

    from pipeline import recipes

    shutil.copy(ROOT / "params.yaml", folder / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "RECIPES", ROOT / "recipes")
        for recipe in recipes.available():
            recipes.merge(recipe, folder / "params.yaml")
    return load(folder / "params.yaml")


@pytest.fixture(scope="module")
def dvc_yaml() -> Document:
    document: Document = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
    return document


def test_stages_declare_all_code_that_they_import_and_no_file_that_none_of_them_does(
    dvc_yaml: Document, tmp_path: Path
) -> None:
    params = with_recipes(tmp_path)
    named: dict[str, set[str]] = {}
    needed: dict[str, set[str]] = {}
    for stage, name, item in pairs(params):
        entries = declared(stage, name, item, dvc_yaml)["deps"]
        closure = set(import_closure(*starts(stage, item, params)))
        assert code(entries) >= closure, f"{stage} {name} declares too little: {closure - code(entries)}"
        named.setdefault(stage, set()).update(entry for entry in entries if entry.startswith("pipeline/"))
        needed.setdefault(stage, set()).update(
            closure, *(loads(f"pipeline/tasks/{item.task}") if stage in WHOLE else [])
        )
    assert set(named) == {"fetch", "prepare", "tune", "train", "evaluate"}
    for stage, places in named.items():
        idle = [place for place in places if not any(f"{file}/".startswith(f"{place}/") for file in needed[stage])]
        assert not idle, f"{stage} names {idle}, which nothing that it runs imports"


def loads(folder: str) -> Iterator[set[str]]:
    """What the files of a task's package import, functions included."""
    for file in sorted((ROOT / folder).glob("*.py")):
        yield set(import_closure(file.relative_to(ROOT).as_posix(), whole_tasks=True))


def test_an_edit_in_the_package_of_a_task_concerns_no_stage_of_another(dvc_yaml: Document, tmp_path: Path) -> None:
    """And one of its plots or its baselines trains nothing."""
    params = with_recipes(tmp_path)
    for stage, name, item in pairs(params):
        task = getattr(item, "task", None)
        files = {file for file in code(declared(stage, name, item, dvc_yaml)["deps"]) if file.count("/") == 3}
        of_tasks = {file for file in files if file.startswith("pipeline/tasks/")}
        assert {file.split("/")[2] for file in of_tasks} <= {task}, f"{stage} {name}"
        if stage in PER_CANDIDATE:
            assert {Path(file).name for file in of_tasks} == {"task.py", "network.py"}


def differences() -> dict[str, Document]:
    """The dependencies and the import closure of every stage of differences/dvc.yaml."""
    from pipeline.models import FAMILIES

    document = YAML(typ="safe", pure=True).load(ROOT / "differences" / "dvc.yaml")
    entries = YAML(typ="safe", pure=True).load(ROOT / "differences" / "params.yaml")["differences"]
    families = [
        f"pipeline/models/{place.split(':')[0].replace('.', '/')}.py" for place in FAMILIES.values()
    ]  # imported by their names
    return {
        name: declared("difference", name, item, document)
        | {"closure": import_closure("pipeline/stages/difference.py", f"pipeline/differences/{name}.py", *families)}
        for name, item in entries.items()
    }


def test_declared_code_of_every_difference_holds_its_import_closure() -> None:
    found = differences()
    for name, entry in found.items():
        closure = set(entry["closure"])
        for file in (path for path in entry["deps"] if path.startswith("differences/results/")):
            closure -= {f"pipeline/differences/{Path(file).stem}.py"}  # the result names the digest of this code
        assert code(entry["deps"]) >= closure, f"{name} declares too little: {sorted(closure - code(entry['deps']))}"
        missing = [path for path in entry["deps"] if path.startswith("pipeline/") and not (ROOT / path).exists()]
        assert not missing, name


def test_all_that_the_differences_declare_is_imported_by_one_of_them() -> None:
    found = differences()
    imported = {file for entry in found.values() for file in entry["closure"]}
    for path in {path for entry in found.values() for path in entry["deps"] if path.startswith("pipeline/")}:
        assert code([path]) & imported, f"no difference imports {path}"


def test_a_difference_resumes_work_of_the_very_code_that_dvc_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.stages import difference

    monkeypatch.setattr(difference, "code_digest", lambda *starts: import_closure(*starts))
    for name, entry in differences().items():
        assert difference._code(name) == entry["closure"]


def test_differences_read_no_parameter_but_threads_and_their_own_entry() -> None:
    document = YAML(typ="safe", pure=True).load(ROOT / "differences" / "dvc.yaml")
    body = document["stages"]["difference"]["do"]
    assert body["params"] == ["threads", {"differences/params.yaml": ["differences.${key}", "setting"]}]
    text = (ROOT / "pipeline" / "stages" / "difference.py").read_text(encoding="utf-8")
    assert set(re.findall(r"\bparams\.(\w+)", text)) == {"threads", "workers"}, "workers change no output"


def test_neither_pipeline_runs_stages_of_the_other() -> None:
    """DVC joins all pipelines of a repository where one needs an output of another."""
    outputs = ("data", "search", "models", "evaluation", "metrics", "reports")
    for name, entry in differences().items():
        read = [path for path in entry["deps"] if path.split("/")[0] in outputs]
        assert not read, f"{name} would make `dvc repro differences/dvc.yaml` run stages of the root: {read}"
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert "differences" not in text, "`dvc repro` in the root would measure differences"
    others = {out.split("/")[0] for out in re.findall(r"^ +(?:outs|metrics):\n +- ([\w./]+)", text, re.M)}
    assert others == set(outputs)


def test_declared_files_exist_and_stand_there_once(dvc_yaml: Document) -> None:
    for stage, name, item in pairs(load(ROOT / "params.yaml")):
        entries = declared(stage, name, item, dvc_yaml)["deps"]
        assert len(entries) == len(set(entries)), f"{stage} {name}"
        for file in (entry for entry in entries if entry.startswith("pipeline/")):
            assert (ROOT / file).exists(), f"{stage} {name} names {file}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Document]:
    """What the stages of one candidate of each experiment really load and read, the families in turn, on few data."""
    folder = tmp_path_factory.mktemp("recorded")
    document = YAML(typ="safe", pure=True).load(ROOT / "tests" / "tiny.yaml")
    stages = [f"fetch:{download}" for download in document["downloads"]]
    chosen = {}
    for number, (name, experiment) in enumerate(document["experiments"].items()):
        candidate = experiment["candidates"][number % 2]
        chosen[candidate] = document["candidates"][candidate]
        experiment["candidates"] = [candidate]
        experiment["training"] |= {"epochs": 1, "trial_epochs": 1, "repeats": 1}
        raw = folder / experiment["data"]["path"]
        if raw.name not in document["downloads"] and not raw.exists():
            write_raw(raw)
        stages += [f"prepare:{name}", f"tune:{candidate}", f"train:{candidate}", f"evaluate:{name}"]
    document["candidates"] = chosen
    YAML(pure=True).dump(document, folder / "params.yaml")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "recorder.py"), *stages],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(entry["stage"], entry["name"]): entry | {"params": load(folder / "params.yaml")} for entry in found}


def items(params: Params) -> dict[tuple[str, str], Any]:
    return {(stage, name): item for stage, name, item in pairs(params)}


def test_stages_load_no_code_that_they_do_not_declare(
    recorded: dict[tuple[str, str], Document], dvc_yaml: Document
) -> None:
    assert {stage for stage, _ in recorded} == {"fetch", "prepare", "tune", "train", "evaluate"}
    for (stage, name), entry in recorded.items():
        named = code(declared(stage, name, items(entry["params"])[stage, name], dvc_yaml)["deps"])
        loaded = {file for file in entry["files"] if not file.startswith(UNWATCHED) and holds_code(file)}
        assert loaded <= named, f"{stage} {name} loads {loaded - named}"
        assert f"pipeline/stages/{stage}.py" in loaded


def holds_code(file: str) -> bool:
    return Path(file).name != "__init__.py" or len((ROOT / file).read_text(encoding="utf-8").split("\n")) > 3


def within(path: str, places: list[str]) -> bool:
    return any(path == place or path.startswith(f"{place}.") for place in places)


def values_of(params: Params, place: str) -> list[str]:
    """The paths of all values of params.yaml in a section; a dictionary without sections of ours is one value."""
    found: Any = params
    for name in place.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    return list(leaves(found, place))


def leaves(found: Any, place: str) -> Iterator[str]:
    sections = isinstance(found, dict) and any(isinstance(entry, Section) for entry in found.values())
    if not (sections or isinstance(found, Section)):
        yield place
        return
    for name in found if isinstance(found, dict) else found.model_fields_set:  # what is left out cannot change
        yield from leaves(found[name] if isinstance(found, dict) else getattr(found, name), f"{place}.{name}")


def test_the_budget_of_a_search_and_of_a_training_have_the_batch_size_in_common_alone(dvc_yaml: Document) -> None:
    params = load(ROOT / "tests" / "tiny.yaml")
    item, start = params.candidates["digits-cnn"], "experiments.digits.training."
    tune, train = (
        {path.removeprefix(start) for path in declared(stage, "digits-cnn", item, dvc_yaml)["params"] if start in path}
        for stage in PER_CANDIDATE
    )
    assert tune & train == {"batch_size"}
    assert tune | train == set(type(params.experiments["digits"].training).model_fields)
    training = params.experiments["digits"].training
    assert (set(search_budget(training)), set(training_budget(training))) == (tune, train), "content keys agree"


def test_stages_read_the_parameters_that_they_declare(
    recorded: dict[tuple[str, str], Document], dvc_yaml: Document
) -> None:
    for (stage, name), entry in recorded.items():
        named = declared(stage, name, items(entry["params"])[stage, name], dvc_yaml)["params"]
        read = [path for path in entry["reads"] if not within(path, [*UNDECLARED])]
        undeclared = [path for path in read if not within(path, named)]
        assert not undeclared, f"{stage} {name} reads {undeclared}, but declares {named}"
        unread = [place for place in named if not any(within(path, [place]) for path in read)]
        assert not unread, f"{stage} {name} declares {unread} and does not read it"
        values = [path for place in named for path in values_of(entry["params"], place)]
        idle = [path for path in values if not any(within(path, [one]) for one in read)]
        assert not idle, f"{stage} {name} reruns for {idle}, which it does not read"


def test_the_recorder_sees_reads_of_values_sections_and_tables(recorded: dict[tuple[str, str], Document]) -> None:
    assert "downloads.digits" not in recorded["prepare", "digits"]["reads"]
    assert recorded["prepare", "co2"]["reads"] == [
        "experiments.co2.data.format",
        "experiments.co2.data.options",
        "experiments.co2.data.parts",
        "experiments.co2.data.path",
        "experiments.co2.settings",
        "experiments.co2.split",
        "experiments.co2.task",
        "seed",
        "threads",
    ]
    assert "experiments.digits.settings" not in recorded["tune", "digits-cnn"]["reads"]
    assert {"trainer.precision", "candidates.digits-cnn", "experiments.digits.training.trials"} <= set(
        recorded["tune", "digits-cnn"]["reads"]
    )


def test_training_needs_neither_mlflow_nor_dvc_nor_optuna() -> None:
    modules = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for room in ("data", "files", "formats", "models", "tasks", "training")
        for path in sorted((ROOT / "pipeline" / room).rglob("*.py"))
    ]
    assert "pipeline.training.fit" in modules and "pipeline.models" in modules
    program = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'mlflow', 'dvc', 'optuna'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("module", ["pipeline.stages.report", "pipeline.stages.register", "pipeline.stages.fetch"])
def test_stages_without_networks_start_without_torch(module: str) -> None:
    program = f"import sys, {module}\nprint('torch' in sys.modules, 'pytorch_lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_importing_has_no_side_effects(tmp_path: Path) -> None:
    """No folders, no environment variables, no logging set-up."""
    program = (
        "import importlib, logging, os\nbefore = dict(os.environ)\n"
        "import pipeline.stages.register, pipeline.stages.report, pipeline.stages.prepare, pipeline.tracking.live\n"
        "print(dict(os.environ) == before, logging.getLogger().handlers)"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True []\n"
    assert list(tmp_path.iterdir()) == []


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("file", files("pipeline"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_have_at_most_300_lines_and_functions_at_most_50(file: Path) -> None:
    import ast

    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, f"{node.name} is too long"


def test_only_the_command_line_reads_params_yaml() -> None:
    """Stages get the parameters handed in, so that nobody reads what it does not declare."""
    readers = [
        file.relative_to(ROOT / "pipeline").as_posix()
        for file in files("pipeline")
        if re.search(r"from pipeline\.params import .*\b(load|read_raw)\b", file.read_text(encoding="utf-8"))
    ]
    # differences/params.yaml is a file of its own, of which dvc.yaml declares the entry that a difference reads.
    assert readers == ["check.py", "differences/settings.py", "recipes.py"]
