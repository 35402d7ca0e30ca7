"""`python -m pipeline COMMAND [NAME]`: checks params.yaml and hands over to the command."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import importlib
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipeline.command_line import COMMANDS, Command, entered_for, one, overview
from pipeline.training.launch import is_first_process
from pipeline.training.signals import Preempted, preempt_on_sigterm


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 2 for a mistake of the user."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0].startswith("-"):
        overview().parse_args(words)
        return 2
    name = words[0]
    if name not in COMMANDS:
        from pipeline.problems import nearest

        print(f"unknown command {name!r}; {nearest(name, COMMANDS)}", file=sys.stderr)
        return 2
    entered = entered_for(name, words[1:])
    if isinstance(entered, str):
        print(entered, file=sys.stderr)
        return 2
    options = {key: value for key, value in entered.items() if value is not None and value != []}
    subject = options.pop("name", None)
    _set_up_output()
    preempt_on_sigterm()
    try:
        return _run(name, subject, **options)
    except ValueError as error:
        return _complain(name, error)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise
        return _complain(
            name, ValueError(f"{error.strerror}: {error.filename or Path.cwd()}; nothing earlier was changed")
        )
    except ModuleNotFoundError as error:
        return _missing(name, error)
    except Preempted:
        again = "make differences" if name == "difference" else "dvc repro"
        print(f"{name}: ended by SIGTERM; the next `{again}` continues from here", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        return 130


def _set_up_output() -> None:
    """Makes messages safe: text of users and servers in them may neither steer a terminal nor show a password."""
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


def _run(name: str, subject: str | None, **options: Any) -> int:
    """Runs a command and returns its exit code; one that returns none has succeeded."""
    from pipeline.guard.guard import name_from_dvc, watch

    command = COMMANDS[name]
    watch(name)
    subject = subject or name_from_dvc(name)
    if command.pool and is_first_process():
        from pipeline.training.pool import start_server

        start_server()
    module = f"pipeline.{command.room}.{name}"
    if command.params == "nothing":
        importlib.import_module(module).main(*(() if command.subject is None else (subject,)), **options)
        return 0
    from pipeline.check import usable
    from pipeline.data.threads import pass_on
    from pipeline.guard.guard import guarded

    params = usable(name, subject, names=command.params == "all")  # before the module is imported, which takes time
    if subject is None and command.required and command.subject is not None:
        return _nameless(name, command, params)
    pass_on(params.threads)
    with guarded(name, subject, params):
        return importlib.import_module(module).main(subject, params, **options) or 0


def _nameless(name: str, command: Command, params: Any) -> int:
    """Prints a sentence that lists the names the command takes, and returns the exit code."""
    from pipeline.differences import DIFFERENCES

    subject = str(command.subject)
    known = [str(entry) for entry in (DIFFERENCES if subject == "difference" else getattr(params, f"{subject}s", ()))]
    listed = f": {', '.join(known[:-1])} or {known[-1]}" if len(known) > 1 else f": {''.join(known)}" if known else ""
    print(f"{name} needs {one(subject)}{listed}", file=sys.stderr)
    return 2


def _complain(name: str, error: ValueError) -> int:
    from pipeline.params import ParamsError  # a ValueError of a library is a fault of ours: show where it comes from

    if type(error) is not ValueError and not isinstance(error, ParamsError):
        raise error
    from pipeline.credentials import scrubbed
    from pipeline.escaping import printable

    print(printable(scrubbed(f"{name}: {error}")), file=sys.stderr)
    return 2


def _missing(name: str, error: ModuleNotFoundError) -> int:
    """Reports an environment that is not ours. Raises `error` in ours: it may lack a driver of a database."""
    if importlib.util.find_spec("pytorch_lightning"):
        raise error
    words = f"{sys.executable} has no package {error.name}; activate the environment that `make setup` installs"
    print(f"{name}: {words}: . .venv/bin/activate", file=sys.stderr)
    return 2


def leave(code: int) -> NoReturn:
    """Ends the process at once: Python would take torch and mlflow apart first, which takes more than a second."""
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
            stream.flush()
    os._exit(code)


def script() -> NoReturn:
    """Runs the console script `pipeline`."""
    gc.set_threshold(100_000)  # imports make millions of objects and no garbage, but look for it all along
    leave(main())


if __name__ == "__main__":
    script()
