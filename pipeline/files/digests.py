"""Digests of files, of folders and of everything that went into a result."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """Computes one digest of the names and bytes of all files below a folder, however they were packed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return content_key(**{path.relative_to(folder).as_posix(): file_digest(path) for path in files})


def content_key(**parts: Any) -> str:
    """Computes the SHA-256 over everything that went into a piece of work, as sorted JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
