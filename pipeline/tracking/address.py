"""Where MLflow is: which address, where files go, and how to name it without showing a password."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.credentials import scrubbed
from pipeline.params import ParamsError, Tracking

ALLOWED = "sqlite:///mlflow.db, http(s)://…, or a database such as postgresql://…"


@dataclass(frozen=True)
class Address:
    """An MLflow tracking address. `uri` may hold a password: print `shown` instead."""

    uri: str
    shown: str
    artifacts: str | None  # where new MLflow experiments keep their files; None: the server decides
    root: Path  # the repository whose runs these are

    @property
    def remote(self) -> bool:
        return self.uri.startswith(("http://", "https://"))

    def scrub(self, text: object) -> str:
        """A message without the credentials of this address."""
        cleaned = str(text).replace(self.uri, self.shown)
        for secret in _secrets(self.uri):
            cleaned = cleaned.replace(secret, "***")
        cleaned = re.sub(r"((?:user|role|account) )([\"'])[^\"']*\2", r"\1***", cleaned)  # as databases name it
        return scrubbed(cleaned)


def address_of(tracking: Tracking, here: Path | None = None) -> Address:
    """The address for a run that is started in `here` (the working directory).

    MLFLOW_TRACKING_URI wins over params.yaml; without both, mlflow.db in the repository. Raises ParamsError for an
    address that MLflow 3 does not take.
    """
    root = repository(here or Path.cwd())
    origin = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "tracking.uri"
    chosen = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri or "sqlite:///mlflow.db"
    uri = _absolute(chosen, root, origin)
    return Address(uri, without_credentials(uri), _artifacts(tracking.artifacts, uri, root), root)


def repository(here: Path) -> Path:
    """The repository around a working directory.

    `dvc exp run --temp` and the experiment queue work in a copy under .dvc/tmp/exps, which they delete: what is
    tracked from there belongs to the repository outside.
    """
    here = here.resolve()
    for folder in (here, *here.parents):
        if folder.name == "exps" and folder.parts[-3:-1] == (".dvc", "tmp"):
            return folder.parents[2]
    return here


def without_credentials(uri: str) -> str:
    """The address without user, password and query."""
    if "://" not in uri or uri.startswith("sqlite:"):
        return uri
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _secrets(uri: str) -> list[str]:
    parts = urlsplit(uri)
    secrets = [parts.password or "", unquote(parts.password or ""), *re.findall(r"=([^&]+)", parts.query)]
    secrets += [os.environ.get(name, "") for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")]
    return [secret for secret in secrets if len(secret) >= 4]


def _absolute(uri: str, root: Path, origin: str) -> str:
    """SQLite files are named from the root of the file system: MLflow would look in the directory of the moment."""
    if uri.startswith("sqlite:"):
        file = uri.removeprefix("sqlite:").removeprefix("///")
        return f"sqlite:///{(root / file).as_posix()}"
    if "://" in uri and not uri.startswith("file:"):
        return uri
    raise ParamsError(f"{origin}: found {uri}; allowed: {ALLOWED}. MLflow 3 keeps no runs in plain files any more")


def _artifacts(wanted: str | None, uri: str, root: Path) -> str | None:
    if wanted is None:
        return (root / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
    return wanted.rstrip("/") if "://" in wanted else (root / wanted).resolve().as_uri()
