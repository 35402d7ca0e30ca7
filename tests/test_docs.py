"""The documentation names all that there is, and points nowhere that there is nothing."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from pipeline.command_line import COMMANDS
from pipeline.formats import FORMATS
from pipeline.models import FAMILIES, load_family
from pipeline.tasks import TASKS, task_type
from pipeline.tasks.baselines import GUESSES
from pipeline.tasks.network import keyword_names
from pipeline.training.optimisation import Optimisation

WIDTH = 120


def read(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def pages(root: Path) -> list[Path]:
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\b.*?(?=^## |\Z)", text, re.M | re.S)
    assert found, f"no section {title}"
    return found.group()


def test_the_readme_names_every_command_and_every_recipe(root: Path) -> None:
    text = read(root, "README.md")
    commands = section(text, "Two commands")
    hidden = {"retrain", "completion"}  # for CI, see docs/machines.md
    assert [name for name in COMMANDS if name not in hidden and not re.search(rf"`{name}\b", commands)] == []
    recipes = [path.stem for path in (root / "recipes").glob("*.yaml")]
    assert [name for name in recipes if f"`{name}`" not in text] == []
    assert [name for name in TASKS if name.replace("_", " ") not in text] == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_shown_with_all_that_it_needs(name: str, root: Path) -> None:
    text = read(root, "docs/data.md")
    assert f"| `{name}` |" in text
    parameters = inspect.signature(FORMATS[name]).parameters.values()
    options = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    assert [option for option in options if not re.search(rf"\b{option}\b", text)] == []


@pytest.mark.parametrize("name", TASKS)
def test_every_setting_and_parameter_of_a_task_is_explained(name: str, root: Path) -> None:
    text, task = section(read(root, "docs/parameters.md"), name), task_type(name)
    assert [key for key in (*task.SETTINGS, *keyword_names(task.network)) if f"`{key}`" not in text] == []


def test_every_parameter_of_families_and_training_is_explained(root: Path) -> None:
    text = read(root, "docs/parameters.md")
    families = section(text, "Families")
    for family in map(load_family, FAMILIES):
        names = [*keyword_names(family.__init__), *family.ARCHITECTURES, *family.PRESETS]
        assert [name for name in names if f"`{name}`" not in families] == []
    assert [name for name in Optimisation.__dataclass_fields__ if f"`{name}`" not in text] == []


def test_links_lead_somewhere(root: Path) -> None:
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            file, _, anchor = target.partition("#")
            aim = page.parent / file if file else page
            assert aim.exists(), f"{page.name}: {target}"
            titles = re.findall(r"^#+ (.+)$", aim.read_text(encoding="utf-8"), re.M) if anchor else []
            anchors = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
            assert not anchor or anchor in anchors, f"{page.name}: {target}"


def test_prose_keeps_to_the_width_of_the_code(root: Path) -> None:
    for page in pages(root):
        lines = page.read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if len(line) > WIDTH and not line.startswith("|")] == [], page.name


def test_every_guess_is_explained(root: Path) -> None:
    text = read(root, "docs/gate.md")
    assert [name for names in GUESSES.values() for name in names if f"`{name}`" not in text] == []
