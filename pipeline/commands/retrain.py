"""The retraining workflow, step by step: restore, run, publish, propose. CI calls them in this order; so can a person.

restore  fetches what earlier runs computed from the DVC remote
run      brings the pipeline up to date, if wanted with other parameters or for one experiment alone
keep     stores what was computed in the DVC remote; for runs that failed half-way
publish  stores it, too, and pushes dvc.lock, metrics and parameters to the branch retrain/<base>
propose  opens a pull request from that branch, or updates the open one, with reports/summary.md as its text

RETRAIN_EXPERIMENT names one experiment; RETRAIN_OVERRIDES changes parameters, such as `-S seed=1 -S trainer.devices=2`.
What may be changed is listed in ALLOWED: whoever starts a workflow must not be able to run commands with its secrets
(`launcher`), to send them to another server (`tracking`, `study`, `downloads`) or to lower what the gate asks for.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.params import Params, ParamsError, nearest

BRANCHES = "retrain/"  # the workflow does not start on these: a retraining never starts the next one
SUBJECT = "Retrain the models"
SUMMARY = Path("reports/summary.md")
PLAIN = re.compile(r"[\w .,:/+=@%'{}\[\]-]+")  # of a value: nothing that a shell, or the parser of DVC, acts on
ALLOWED = (  # keys that RETRAIN_OVERRIDES may set; * is one name that params.yaml has already
    "seed", "threads", "workers", "checkpoint_steps",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.precision",
    "evaluation.resamples", "evaluation.confidence",
    "experiments.*.settings.*", "experiments.*.split.*", "experiments.*.training.*", "candidates.*.parameters.*",
)  # fmt: skip
NO_REMOTE = "No DVC remote is configured (`dvc remote add --default NAME URL`)"


def main(name: str | None, params: Params) -> None:
    """Runs one step. Raises ValueError with the reason where it cannot be done."""
    steps: dict[str, Callable[[Params], None]] = {
        "restore": restore,
        "run": run,
        "keep": keep,
        "publish": publish,
        "propose": propose,
    }
    if name not in steps:
        raise ParamsError(f"found step {name!r}; {nearest(str(name), steps)}")
    steps[name](params)


def restore(params: Params) -> None:
    """Fetches outputs and run cache from the DVC remote; what was never stored is computed again."""
    if not has_remote():
        print(f"restore: {NO_REMOTE}; everything will be computed here")
        return
    dvc("pull", "--run-cache", "--allow-missing")
    print("restore: what the DVC remote has is here")


def run(params: Params) -> None:
    """Runs `dvc repro`; with overrides after `dvc exp run`, which writes them to params.yaml."""
    experiment = os.environ.get("RETRAIN_EXPERIMENT")
    if experiment and experiment not in params.experiments:
        raise ParamsError(f"RETRAIN_EXPERIMENT: found {experiment!r}; {nearest(experiment, params.experiments)}")
    # Outputs that the run cache promises may still lie in the remote only.
    words = ["--pull"] if has_remote() else []
    words += [f"evaluate@{experiment}"] if experiment else []
    changes = overrides(os.environ.get("RETRAIN_OVERRIDES", ""), params.model_dump())
    if changes:
        dvc("exp", "run", *(word for change in changes for word in ("--set-param", change)), *words)
    if not (changes and experiment):
        dvc("repro", *words)  # also after an experiment, which is tracked and not registered: all else is done
    if experiment:  # stages of the other experiments were left alone; these two look at all that is there
        pipeline("register")
        pipeline("report")
    if SUMMARY.exists() and (page := os.environ.get("GITHUB_STEP_SUMMARY")):
        with open(page, "a", encoding="utf-8") as lines:
            lines.write(SUMMARY.read_text(encoding="utf-8"))
    print(f"run: the pipeline is up to date; {SUMMARY} tells what changed")


def overrides(text: str, document: Mapping[str, Any]) -> list[str]:
    """Returns the KEY=VALUE of `-S KEY=VALUE …`, for keys of ALLOWED that are in params.yaml (`document`) or below.

    Raises ParamsError for anything else. It could become an option of DVC, a file (`../other.yaml:key`), a new entry
    (`+downloads={…}`) or a command.
    """
    try:
        words = [word for word in shlex.split(text) if word not in ("-S", "--set-param")]
    except ValueError as error:
        raise ParamsError(f"RETRAIN_OVERRIDES: found {text!r}: {error}") from None
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or word.startswith("-"):
            raise ParamsError(f"RETRAIN_OVERRIDES: found {word!r}; allowed: KEY=VALUE, such as `-S seed=1`")
        if not _is_allowed(key.split("."), document):
            raise ParamsError(
                f"RETRAIN_OVERRIDES: found the key {key!r}; allowed: {', '.join(ALLOWED)}, where * is a name in "
                "params.yaml; change anything else in params.yaml itself and commit it"
            )
        if not PLAIN.fullmatch(value):
            signs = "letters, digits, blanks and . , : / + = @ % ' { } [ ] _ -"
            raise ParamsError(f"RETRAIN_OVERRIDES: found {word!r}; allowed in a value: {signs}")
    return words


def _is_allowed(names: list[str], document: Any) -> bool:
    """Whether a key, in its parts, begins with one of ALLOWED and leads to what is there."""
    for name in names:
        if not isinstance(document, Mapping) or name not in document:
            return False
        document = document[name]
    return any(
        len(pattern) <= len(names) and all(part in ("*", name) for part, name in zip(pattern, names, strict=False))
        for pattern in (allowed.split(".") for allowed in ALLOWED)
    )


def keep(params: Params) -> None:
    """Stores outputs and run cache in the DVC remote: a stage that has ended is not computed a second time."""
    if has_remote():
        dvc("push", "--run-cache")
        print("keep: outputs and run cache are in the DVC remote")
    else:
        print(f"keep: {NO_REMOTE}; the outputs stay on this machine")


def publish(params: Params) -> None:
    """Pushes the cache first, then the branch: a lock must never name outputs that nobody can fetch."""
    keep(params)
    paths = changed_paths()
    if not paths:
        print("publish: nothing changed since the last commit; no branch, no pull request")
        return
    base = current_branch().removeprefix(BRANCHES)
    branch, parent = BRANCHES + base, git("rev-parse", "HEAD")
    git("switch", "--quiet", "--force-create", branch)
    git("add", "--all", "--", *paths)
    git(*identity(), "commit", "--quiet", "--message", f"{SUBJECT}\n\nFrom {parent} of {base}.")
    there = published(branch)
    if there and git("rev-parse", f"{there}^{{tree}}", f"{there}^") == git("rev-parse", "HEAD^{tree}", "HEAD^"):
        print(f"publish: {branch} holds this result already")
        return
    git(*login(), "push", f"--force-with-lease={branch}:{there}", "origin", f"HEAD:refs/heads/{branch}")
    print(f"publish: {', '.join(paths)} are on the branch {branch}")


def propose(params: Params) -> None:
    """Opens or updates a pull request for the branch that `publish` made; none where it made none."""
    branch = current_branch()
    if not branch.startswith(BRANCHES):
        print("propose: nothing was published; no pull request")
        return
    if not shutil.which("gh"):
        raise ValueError(f"gh is not installed; open a pull request for {branch} with {SUMMARY} as its text")
    base, title = branch.removeprefix(BRANCHES), f"{SUBJECT} of {branch.removeprefix(BRANCHES)}"
    text = SUMMARY.with_name("pull-request.md")
    note = "" if has_remote() else f"\n{NO_REMOTE}: whoever merges this has to compute the outputs with `make repro`.\n"
    text.write_text(SUMMARY.read_text(encoding="utf-8") + note, encoding="utf-8")
    listed = called("gh", "pr", "list", "--head", branch, "--base", base, "--state", "open", "--json", "number")
    pull_requests = json.loads(listed)
    if pull_requests:
        called("gh", "pr", "edit", str(pull_requests[0]["number"]), "--title", title, "--body-file", str(text))
        print(f"propose: pull request {pull_requests[0]['number']} is up to date")
        return
    address = called("gh", "pr", "create", "--head", branch, "--base", base, "--title", title, "--body-file", str(text))
    print(f"propose: opened {address}")


def has_remote() -> bool:
    """Whether `dvc push` and `dvc pull` have a place to go to."""
    return bool(called(sys.executable, "-m", "dvc", "config", "core.remote"))


def changed_paths() -> list[str]:
    """Lists files of a result that Git keeps and that differ from the last commit."""
    status = git("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    paths = [entry[3:] for entry in status.split("\0") if entry]
    return sorted(path for path in paths if _belongs_to_result(Path(path)))


def _belongs_to_result(path: Path) -> bool:
    return (
        path.name in ("dvc.lock", "params.yaml", ".gitignore")  # DVC lists its outputs in .gitignore files
        or path.suffix == ".dvc"
        or path.parts[0] == "metrics"
    )


def published(branch: str) -> str:
    """Fetches and returns the commit at which origin has the branch; empty if it has none.

    Raises ValueError if somebody else worked on it: replacing the branch would throw that away.
    """
    reference = git(*login(), "ls-remote", "origin", f"refs/heads/{branch}").split()
    if not reference:
        return ""
    git(*login(), "fetch", "--quiet", "origin", reference[0])
    subject = git("log", "-1", "--format=%s", reference[0])
    if subject != SUBJECT:
        raise ValueError(f"{branch} has a commit {subject!r} that is not of a retraining; merge or delete it first")
    return reference[0]


def current_branch() -> str:
    """Returns the branch that is checked out. Raises ValueError without one."""
    branch = git("branch", "--show-current")
    if not branch:
        raise ValueError("no branch is checked out (HEAD is detached); `git switch` to the one to retrain")
    return branch


def identity() -> list[str]:
    """Returns Git's options for who commits: none for a configured person, else the account of GitHub's workflows."""
    known = subprocess.run(["git", "config", "user.email"], capture_output=True).returncode == 0
    robot = ("user.name=github-actions[bot]", "user.email=41898282+github-actions[bot]@users.noreply.github.com")
    return [] if known else [word for setting in robot for word in ("-c", setting)]


def login() -> list[str]:
    """Returns Git's options for CI, where the token of this step alone is used; it is not left in the configuration."""
    helpers = ("credential.helper=", "credential.helper=!gh auth git-credential")
    return [word for setting in helpers for word in ("-c", setting)] if os.environ.get("GH_TOKEN") else []


def git(*arguments: str) -> str:
    """Runs Git and returns its output. Raises ValueError with its message if it fails."""
    return called("git", *arguments)


def dvc(*arguments: str) -> None:
    """Runs DVC with its output shown as it comes; the stages find this Python first, whatever is in PATH."""
    shown([sys.executable, "-m", "dvc", *arguments], "dvc " + " ".join(arguments))


def pipeline(stage: str) -> None:
    """Runs a stage in a process of its own."""
    shown([sys.executable, "-m", "pipeline", stage], f"python -m pipeline {stage}")


def shown(command: list[str], name: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    code = subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode
    if code:
        raise ValueError(f"`{name}` failed with exit code {code}; its own messages stand above")


def called(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"`{' '.join(command)}` failed with exit code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout.rstrip("\n")
