"""`python -m pipeline STAGE [NAME]`: checks params.yaml and hands over to the stage."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import importlib
import importlib.util
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from pipeline.training.launch import is_first_process
from pipeline.training.signals import Preempted, preempt_on_sigterm

STAGES = {
    "check": "say what is wrong with params.yaml; with NAME, look at the data of that experiment",
    "list": "recipes, tasks, formats, families and architectures",
    "add": "merge a recipe into params.yaml",
    "remove": "take a recipe out of params.yaml again",
    "fetch": "download raw data",
    "prepare": "turn raw data into tables and a data card",
    "tune": "search the parameters of a candidate",
    "train": "train a candidate with its best parameters",
    "evaluate": "compare the candidates of an experiment with each other and with the baselines",
    "register": "bring MLflow up to date with the files and let the gate decide",
    "difference": "measure one of the ten differences between the families",
    "differences": "print the verdicts on the ten differences and write docs/differences.md from them",
    "report": "write reports/index.html and reports/summary.md",
    "advise": "say what the measured differences of the families mean for an experiment",
    "leaderboard": "print the results",
    "results": "take measured figures over into docs/results and the table of the README",
    "predict": "ask the champion of an experiment about files, and print a table or write pictures",
    "history": "who became champion of an experiment, when, from which version, and why",
    "rollback": "make an earlier version champion again: the one before, or the one that --to names",
    "promote": "make a version champion past the gate: the one that --to names, or the model that was trained last",
    "reproduce": "rebuild a version such as digits@3 from its commit and compare the weights",
    "audit": "list every difference between the files, dvc.lock and MLflow",
    "ui": "show runs and models in the MLflow UI, on port NAME",
    "retrain": "the steps of the retraining workflow",
}
UNCHECKED = {"check", "list", "add", "remove"}  # they work on a params.yaml that may still be wrong
PARALLEL = {"tune", "train"}  # work in a pool, whose server loads its code while params.yaml is checked
# They run after others that have checked every name of params.yaml.
QUICK = {
    "difference",
    "differences",
    "register",
    "report",
    "advise",
    "leaderboard",
    "results",
    "predict",
    "history",
    "rollback",
    "promote",
    "reproduce",
    "audit",
    "ui",
    "retrain",
}
# What only one stage takes, as argparse wants it; `files` are the words behind the name.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "rollback": {"--to": {"metavar": "N", "help": "the version that becomes champion"}},
    "promote": {
        "--to": {"metavar": "N", "help": "the version that becomes champion"},
        "--because": {"metavar": "WHY", "help": "the reason, which the history keeps"},
    },
    "predict": {
        "files": {"metavar": "FILE", "nargs": "*", "help": "what the model is asked about"},
        "--text": {"metavar": "TEXT", "action": "append", "help": "a sentence in the place of a file"},
        "--alias": {"metavar": "ALIAS", "help": "another version than the champion, such as challenger"},
        "--version": {"metavar": "N", "help": "the version of this number"},
        "--format": {"metavar": "FORMAT", "help": "of the answers: table, csv, json"},
        "--output": {"metavar": "FOLDER", "help": "a new folder for the answers, with pictures where the task draws"},
    },
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="stages:\n" + "\n".join(f"  {name:12} {text}" for name, text in STAGES.items()),
    )
    parser.add_argument("stage", metavar="STAGE")
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="of a download, an experiment, a candidate or a version"
    )
    for option in dict.fromkeys(option for entries in OPTIONS.values() for option in entries):
        words = next(entries[option] for entries in OPTIONS.values() if option in entries)
        parser.add_argument(option, **{**words, "help": f"{', '.join(_owners(option))}: {words['help']}"})
    given = parser.parse_intermixed_args(arguments)  # an option may stand between the files
    options = {name: value for name, value in vars(given).items() if value is not None and value != []}
    del options["stage"]
    name = options.pop("name", None)
    wrong = _wrong_use(given.stage, options)
    if wrong:
        print(wrong, file=sys.stderr)
        return 2
    _set_up_output()
    preempt_on_sigterm()
    try:
        return _run(given.stage, name, **options)
    except ValueError as error:
        return _complain(given.stage, error)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise
        return _complain(
            given.stage, ValueError(f"{error.strerror}: {error.filename or Path.cwd()}; nothing earlier was changed")
        )
    except ModuleNotFoundError as error:
        return _missing(given.stage, error)
    except Preempted:
        print(
            f"{given.stage}: asked to end by SIGTERM; the next `dvc repro` goes on where this one stood",
            file=sys.stderr,
        )
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        return 130


def _set_up_output() -> None:
    """Messages hold text of users and of servers: none of it may steer a terminal, or show a password."""
    from pipeline.credentials import scrubbed
    from pipeline.escaping import Terminal, printable

    class Message(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(scrubbed(super().format(record)))

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Message("%(message)s"))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if sys.stdout.isatty():  # what goes to a file or another program stays as it is
        sys.stdout = Terminal(sys.stdout)


def _wrong_use(stage: str, options: dict[str, Any]) -> str:
    """What to say about a stage that is none, or one that does not take an option; empty where all is well."""
    if stage not in STAGES:
        from pipeline.problems import nearest

        return f"stage: found {stage}; {nearest(stage, STAGES)}"
    for option in [option for entries in OPTIONS.values() for option in entries]:
        found, owners = options.get(option.lstrip("-")), _owners(option)
        if found is not None and stage not in owners:
            words = [found] if isinstance(found, str) else found
            shown = " ".join([option, *words] if option.startswith("-") else words)
            return f"{stage}: found {shown}; only {' and '.join(owners)} {'take' if len(owners) > 1 else 'takes'} it"
    return ""


def _owners(option: str) -> list[str]:
    """The stages that take an option."""
    return [stage for stage, entries in OPTIONS.items() if option in entries]


def _run(stage: str, name: str | None, **options: Any) -> int:
    """The exit code: a stage that says nothing has done its work."""
    from pipeline.guard import name_from_dvc, watch

    watch(stage)
    name = name or name_from_dvc(stage)
    if stage in PARALLEL and is_first_process():
        from pipeline.training.pool import start_server

        start_server()
    if stage in UNCHECKED:
        importlib.import_module(f"pipeline.stages.{stage}").main(name)
        return 0
    from pipeline.check import usable
    from pipeline.data.threads import pass_on
    from pipeline.guard import guarded

    params = usable(stage, name, names=stage not in QUICK)  # before the stage is imported, which can take seconds
    pass_on(params.threads)
    with guarded(stage, name, params):
        return importlib.import_module(f"pipeline.stages.{stage}").main(name, params, **options) or 0


def _complain(stage: str, error: ValueError) -> int:
    from pipeline.params import ParamsError  # a ValueError of a library is a fault of ours: show where it comes from

    if type(error) is not ValueError and not isinstance(error, ParamsError):
        raise error
    from pipeline.credentials import scrubbed
    from pipeline.escaping import printable

    print(printable(scrubbed(f"{stage}: {error}")), file=sys.stderr)
    return 2


def _missing(stage: str, error: ModuleNotFoundError) -> int:
    """An environment with Lightning is ours: what it lacks, such as a driver of a database, is another matter."""
    if importlib.util.find_spec("pytorch_lightning"):
        raise error
    words = f"{sys.executable} has no package {error.name}; activate the environment that `make setup` installs"
    print(f"{stage}: {words}: . .venv/bin/activate", file=sys.stderr)
    return 2


def leave(code: int) -> NoReturn:
    """Ends the process at once: Python would take torch and mlflow apart first, which takes more than a second."""
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
