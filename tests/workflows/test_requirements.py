"""The pins are complete, carry hashes, fit what pyproject.toml allows and are what is installed; nothing is idle."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENTRIES = [
    entry for entry in (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    if not entry.startswith("#")
]  # fmt: skip
TORCH = "torch==2.13.0"  # in .ci/environment, without a hash: the builds for CPU and for CUDA are different files
NEEDED_BY_USERS = {  # a dependency that no code imports, and what needs it
    "pyarrow": "pandas, which reads and writes Parquet files by it",
    "scikit-image": "the recipe style_transfer, whose photographs lie in it",
}
NEEDED_BY = {
    "import-linter": "make lint",
    "mypy": "make lint",
    "pandas-stubs": "mypy",
    "pre-commit": "CONTRIBUTING",
    "psycopg": "SQLAlchemy, for addresses that begin with postgresql+psycopg",
    "pytest-timeout": "pytest",
    "ruff": "make lint",
    "scipy-stubs": "mypy",
    "types-psutil": "mypy",
    "types-pyyaml": "mypy",
    "types-tqdm": "mypy",
    "zizmor": "make lint",
}


def project() -> dict[str, Any]:
    document: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return document


def dependencies(*, dev: bool | None = None) -> Iterator[Requirement]:
    """Yields what pyproject.toml declares: all, those of `dev` alone, or those of users with all of their extras."""
    own = project()
    extras = own["optional-dependencies"]
    users = own["dependencies"] + [text for name, texts in extras.items() if name != "dev" for text in texts]
    for text in (users if dev is not True else []) + (extras["dev"] if dev is not False else []):
        requirement = Requirement(text)
        if requirement.name != own["name"]:  # an extra that holds others
            yield requirement


def pins() -> dict[str, str]:
    pairs = (re.split(r"==|\s", entry)[:2] for entry in [*ENTRIES, TORCH])
    return {canonicalize_name(name): number for name, number in pairs}


def test_every_pin_has_a_hash_and_none_ties_the_file_to_one_kind_of_machine() -> None:
    pattern = r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+( ; [^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+"
    assert [entry for entry in ENTRIES if not re.fullmatch(pattern, entry.strip())] == []
    builds = [entry for entry in ENTRIES if re.match(r"(torch|triton|cuda-.*|nvidia-.*)==", entry)]
    assert builds == [], "PyTorch for CPU and for CUDA needs other packages"
    assert f"\npip {TORCH}\n" in (ROOT / ".ci" / "environment").read_text(encoding="utf-8")


def test_every_dependency_is_pinned_within_its_range() -> None:
    for requirement in dependencies():
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement


def test_what_is_pinned_is_installed() -> None:
    marked = [Requirement(entry.split("--hash")[0].strip()) for entry in ENTRIES]
    here = [requirement for requirement in marked if requirement.marker is None or requirement.marker.evaluate()]
    wrong = {str(entry): version(entry.name) for entry in here if not entry.specifier.contains(version(entry.name))}
    assert wrong == {}, "run `make setup`"


@pytest.mark.parametrize(("dev", "folders"), [(False, ("pipeline",)), (True, ("tests", "benchmarks"))])
def test_every_dependency_is_imported_or_has_a_reason(dev: bool, folders: tuple[str, ...]) -> None:
    distributions = packages_distributions()
    modules = {module for folder in folders for module in imported(ROOT / folder)}
    used = {canonicalize_name(name) for module in modules for name in distributions.get(module, [])}
    idle = {canonicalize_name(requirement.name) for requirement in dependencies(dev=dev)} - used
    assert idle == {canonicalize_name(name) for name in (NEEDED_BY if dev else NEEDED_BY_USERS)}


def imported(folder: Path) -> Iterator[str]:
    """Yields the first names of all modules that the files of a folder import."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield node.module.split(".")[0]


@pytest.mark.parametrize("name", ["pytorch-lightning"])
def test_releases_that_were_compromised_are_never_installed(name: str) -> None:
    (requirement,) = (entry for entry in dependencies() if entry.name == name)
    assert not any(requirement.specifier.contains(bad) for bad in ("2.6.2", "2.6.3"))
