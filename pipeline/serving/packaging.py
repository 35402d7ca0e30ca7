"""A trained model as a folder that MLflow can serve: weights, description, code, requirements, signature, example."""

from __future__ import annotations

import ast
import importlib.metadata
import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.files.code import ROOT, import_closure
from pipeline.serving.description import edit_description
from pipeline.serving.namespace import write_package
from pipeline.serving.rehearse import Rehearsal, package_of

SERVABLE = Path(__file__).with_name("servable.py")


def copy_code(task: str, family: str, target: Path, root: Path = ROOT) -> list[Path]:
    """Copies the modules that answer requests of this task and family, and nothing else. Returns the files.

    They become a package with a name of its own: see namespace.py.
    """
    from pipeline.models import FAMILIES
    from pipeline.tasks import TASKS

    rooms = [_file_of("tasks", TASKS[task]), _file_of("models", FAMILIES[family])]
    starts = ["pipeline/tasks/network.py", "pipeline/data/tables.py", *rooms]
    names = import_closure(*starts, root=root, whole_tasks=True)
    return write_package({name: (root / name).read_text(encoding="utf-8") for name in names}, target)


def requirements(code: Iterable[Path], modules: Iterable[str]) -> list[str]:
    """Pins of the packages that the code names and that were loaded when the model answered, and of mlflow."""
    named = {name for file in code for name in _imported(file.read_text(encoding="utf-8"))} & set(modules)
    distributions = [_distribution(name) for name in sorted(named | {"mlflow", "numpy", "pandas"})]
    # A local part such as +cpu names a build that no public index has.
    return sorted(
        f"{entry.name.lower()}=={entry.version.partition('+')[0]}" for entry in distributions if entry is not None
    )


def package(model: Path, code: Path, trial: Rehearsal, examples: Path, target: Path, metadata: dict[str, str]) -> None:
    """Writes the servable folder `target` for the folder `model` of the stage train.

    `examples`, the digests of what it was trained on, travel along: a later challenger is compared on others. So do
    the probes: with them the model is tried before an alias moves to it.
    """
    from mlflow import pyfunc
    from mlflow.models import infer_signature

    assert trial.example is not None and trial.answer is not None and trial.probes is not None
    for name in ("mlflow.types.type_hints", "mlflow.models.model", "mlflow.pyfunc"):
        logging.getLogger(name).setLevel(logging.ERROR)  # remarks about type hints and validation that say nothing here
    pinned = requirements(code.rglob("*.py"), trial.modules)
    pyfunc.save_model(
        str(target),
        python_model=str(SERVABLE),
        artifacts={
            "model": str(model / "model.json"),
            "weights": str(model / "model.safetensors"),
            "examples": str(examples),
            "probes": str(trial.probes),
        },
        code_paths=[str(code / package_of(code))],
        pip_requirements=pinned,
        signature=infer_signature(trial.example, trial.answer),
        input_example=trial.example,
        metadata=metadata,
    )
    strip_paths(target)


def strip_paths(folder: Path) -> None:
    """MLmodel names the files from which it was made by their absolute paths; the copies beside it are what counts."""
    edit_description(folder, _with_relative_paths)


def _with_relative_paths(description: Any) -> Any:
    flavor = description["flavors"]["python_function"]
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    return description


def _file_of(room: str, entry: str) -> str:
    return f"pipeline/{room}/{entry.partition(':')[0].replace('.', '/')}.py"


@lru_cache(maxsize=1024)
def _imported(text: str) -> frozenset[str]:
    """Top-level names that a source imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {re.split(r"\.", alias.name)[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return frozenset(names)


def _distribution(module: str) -> importlib.metadata.Distribution | None:
    """The installed package that a module belongs to, such as pillow for PIL.

    `packages_distributions()` of the standard library looks at every installed file, which takes seconds.
    """
    try:
        return importlib.metadata.distribution(module)
    except importlib.metadata.PackageNotFoundError:
        pass
    for entry in importlib.metadata.distributions():
        files = entry.read_text("RECORD") or ""
        if f"\n{module}/__init__.py," in files or files.startswith(f"{module}/"):
            return entry
    return None
