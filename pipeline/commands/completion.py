"""Prints what lets a shell complete commands and options: `pipeline completion bash >> ~/.bashrc`."""

from __future__ import annotations

from pipeline.command_line import whole_parser
from pipeline.params import ParamsError, nearest


def main(name: str | None) -> None:
    """Prints the script for bash, zsh or tcsh, by shtab. Raises ParamsError for another shell."""
    import shtab

    if name not in shtab.SUPPORTED_SHELLS:
        raise ParamsError(f"shell: found {name}; {nearest(str(name), shtab.SUPPORTED_SHELLS)}")
    print(shtab.complete(whole_parser(), shell=name))
