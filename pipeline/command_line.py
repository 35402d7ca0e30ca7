"""The command line in one table: the stages that DVC runs, and the other commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

SCRIPT = "pipeline"  # in addition to `python -m pipeline`
Option = Mapping[str, Any]  # keyword arguments of argparse's add_argument


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        about: one line on what it does.
        subject: what NAME is of, such as "experiment"; None where it takes no name.
        required: whether it needs the name.
        room: the package of its module: "stages" are run by DVC, "commands" by people.
        params: how much of params.yaml has to be right: "all" of what concerns the name, its "types" alone where an
            earlier stage has checked every name in it, or "nothing" where the command mends the file.
        pool: whether it works in several processes, whose server can load its code while params.yaml is checked.
        options: what else it takes, by its flag, or by "files" for the words behind the name.
    """

    about: str
    subject: str | None = None
    required: bool = True
    room: Literal["stages", "commands"] = "commands"
    params: Literal["all", "types", "nothing"] = "types"
    pool: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)


TO: Option = {"metavar": "N", "help": "the version that becomes champion"}

COMMANDS: dict[str, Command] = {
    "check": Command(
        "say what is wrong with params.yaml; with NAME, look at the data of that experiment", "experiment",
        required=False, params="nothing",
    ),
    "list": Command("show recipes, tasks, formats, families and architectures", params="nothing"),
    "add": Command("merge a recipe into params.yaml", "recipe", params="nothing"),
    "remove": Command("take a recipe out of params.yaml again", "recipe", params="nothing"),
    "fetch": Command("download raw data", "download", room="stages", params="all"),
    "prepare": Command("turn raw data into tables and a data card", "experiment", room="stages", params="all"),
    "tune": Command("search the parameters of a candidate", "candidate", room="stages", params="all", pool=True),
    "train": Command(
        "train a candidate with its best parameters", "candidate", room="stages", params="all", pool=True
    ),
    "evaluate": Command(
        "compare the candidates of an experiment with each other and with the baselines", "experiment", room="stages",
        params="all",
    ),
    "register": Command(
        "bring MLflow up to date with the files and let the gate decide", "experiment", required=False, room="stages"
    ),
    "report": Command("write reports/index.html and reports/summary.md", room="stages"),
    "difference": Command("measure one of the ten differences between the families", "difference", room="stages"),
    "differences": Command("print the verdicts on the ten differences and write docs/differences.md from them"),
    "advise": Command("say what the measured differences of the families mean for an experiment", "experiment"),
    "leaderboard": Command("print the results", "experiment", required=False),
    "results": Command(
        "take measured figures over into docs/results and the table of docs/results.md", "experiment", required=False
    ),
    "predict": Command(
        "ask the champion of an experiment about files, and print a table or write pictures", "experiment",
        options={
            "files": {"metavar": "FILE", "nargs": "*", "help": "what the model is asked about"},
            "--text": {"metavar": "TEXT", "action": "append", "help": "a sentence in the place of a file"},
            "--alias": {"metavar": "ALIAS", "help": "another version than the champion, such as challenger"},
            "--version": {"metavar": "N", "help": "the version of this number"},
            "--format": {"metavar": "FORMAT", "help": "of the answers: table, csv, json"},
            "--output": {"metavar": "FOLDER", "help": "a new folder for the answers, with plots where it has some"},
        },
    ),
    "history": Command(
        "show who became champion of an experiment, when, from which version, and why", "experiment"
    ),
    "rollback": Command(
        "make an earlier version champion again: the one before, or the one that --to names", "experiment",
        options={"--to": TO},
    ),
    "promote": Command(
        "make a version champion past the gate: the one that --to names, or the model that was trained last",
        "experiment",
        options={
            "--to": TO,
            "--because": {"metavar": "WHY", "help": "the reason, which the history keeps"},
        },
    ),
    "reproduce": Command(
        "rebuild a version such as digits@3 from its commit and compare the weights; without NAME, list all versions",
        "version", required=False,
    ),
    "audit": Command("list every difference between the files, dvc.lock and MLflow", "experiment", required=False),
    "ui": Command("show runs and models in the MLflow UI, on a port such as 5001", "port", required=False),
    "completion": Command("print a completion script for a shell: bash, zsh or tcsh", "shell", params="nothing"),
    "retrain": Command("run one step of the retraining workflow", "step"),
}  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """Raises in the place of printing its usage, so that a mistake is one sentence like all others."""

    def error(self, message: str) -> NoReturn:
        raise argparse.ArgumentError(None, message)


def overview() -> argparse.ArgumentParser:
    """Returns a parser that shows all commands; `whole_parser` has their options, too."""
    parser = argparse.ArgumentParser(
        prog=_program(),
        usage=f"{_program()} COMMAND [NAME] [options]",
        description="Trains, compares and registers models of an experiment; params.yaml has all of its values.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n"
        + "\n".join(f"  {name:12} {command.about}" for name, command in COMMANDS.items())
        + f"\n\n`{_program()} COMMAND --help` shows what a command takes.",
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def parser_of(name: str, parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Returns a parser of the arguments of one command."""
    command = COMMANDS[name]
    about = f"{command.about[0].upper()}{command.about[1:]}."
    made = parser or _Parser(prog=f"{_program()} {name}", description=about)
    if command.subject is not None:
        needed = "" if command.required else "; without it, of all" if command.subject == "experiment" else ""
        made.add_argument("name", metavar="NAME", nargs="?", help=f"of {one(command.subject)}{needed}")
    for option, words in command.options.items():
        made.add_argument(option, **words)
    return made


def entered_for(name: str, words: Sequence[str]) -> dict[str, Any] | str:
    """Returns the values of a command's arguments by their names, or a sentence on what is wrong with the words."""
    command = COMMANDS[name]
    try:
        entered, rest = parser_of(name).parse_known_intermixed_args(words)  # an option may be between the files
    except argparse.ArgumentError as error:
        return f"{name}: {error}; `{_program()} {name} --help` shows what it takes"
    if not rest:
        return vars(entered)
    option = next((word.partition("=")[0] for word in rest if word.startswith("-")), None)
    if option is None:
        return f"{name} takes {'one name' if command.subject else 'no name'}; got also {rest[-1]!r}"
    takers = [other for other, command in COMMANDS.items() if option in command.options]
    if takers:
        return f"{name} takes no {option}; {' and '.join(takers)} {'do' if len(takers) > 1 else 'does'}"
    from pipeline.problems import nearest  # its libraries take longer to load than the rest of a `--help`

    return f"{name} takes no {option}; {nearest(option, [*command.options, '--help'])}"


def whole_parser() -> argparse.ArgumentParser:
    """Returns a parser with all commands as sub-parsers, from which completion scripts are made."""
    parser = argparse.ArgumentParser(prog=SCRIPT)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        parser_of(name, commands.add_parser(name, help=command.about))
    return parser


def _program() -> str:
    return SCRIPT if Path(sys.argv[0]).name == SCRIPT else f"python -m {SCRIPT}"


def _version() -> str:
    from importlib.metadata import version

    return version("model-pipeline")


def one(subject: str) -> str:
    return f"{'an' if subject[0] in 'aeiou' else 'a'} {subject}"
