"""Prepared data on disk: one safetensors file a split and card.json, the description of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pipeline.files.atomic import replaced_folder
from pipeline.files.digests import content_key, file_digest

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

SPLITS = ("train", "validation", "test")
EXAMPLES, REQUESTS = "examples.safetensors", "requests.parquet"  # next to the tables

Table: TypeAlias = "dict[str, Tensor]"
Batch: TypeAlias = "dict[str, Tensor]"
Card = Mapping[str, Any]


@dataclass(frozen=True)
class Prepared:
    """Tables of all splits and their card, in memory."""

    tables: dict[str, dict[str, np.ndarray]]  # split -> name -> array
    card: dict[str, Any]  # plain JSON
    requests: pd.DataFrame  # the test examples as a user would send them to a served model, in any version of it
    # split -> uint64 of the content of every example (N,), of the recordings that it was joined of (N, S), or of every
    # row in time (T,)
    digests: dict[str, np.ndarray]


def write(prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Writes tables and card, all or nothing, and returns the card with the digests in it.

    `digests` are the SHA-256 of the files. `data` covers them and the meanings in the card, such as
    the names of the classes, but not the warnings.
    """
    from safetensors.numpy import save

    with replaced_folder(folder) as fresh:
        for split in SPLITS:
            arrays = {name: np.ascontiguousarray(array) for name, array in prepared.tables[split].items()}
            # Not save_file: it hides a full disk behind its own error and makes files that only their owner can read.
            _table_file(fresh, split).write_bytes(save(arrays))
        contents = {split: np.ascontiguousarray(prepared.digests[split], dtype=np.uint64) for split in SPLITS}
        (fresh / EXAMPLES).write_bytes(save(contents))
        prepared.requests.to_parquet(fresh / REQUESTS, index=False)
        digests = {split: file_digest(_table_file(fresh, split)) for split in SPLITS}
        digests["examples"] = file_digest(fresh / EXAMPLES)
        card = {**prepared.card, "digests": digests}
        card["data"] = content_key(**{name: value for name, value in card.items() if name != "warnings"})
        text = json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (fresh / "card.json").write_text(text + "\n", encoding="utf-8")
    return card


def read_table(folder: Path, split: str) -> Table:
    """Returns tensors of one split, mapped into memory and read from disk when they are used."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = _table_file(folder, split)
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ValueError(_missing(path)) from None
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); remove {folder} and run `dvc repro` again") from None


def read_card(folder: Path) -> dict[str, Any]:
    """Reads the card of prepared data."""
    path = folder / "card.json"
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(_missing(path)) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}); remove {folder} and run `dvc repro` again") from None
    return card


def schema(tables: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """Describes type and shape of every array of a split, without the first dimension, which differs by split."""
    return {
        name: {"dtype": str(array.dtype), "shape": list(array.shape[1:])} for name, array in tables["train"].items()
    }


def _table_file(folder: Path, split: str) -> Path:
    return folder / f"{split}.safetensors"


def _missing(path: Path) -> str:
    return f"{path} is missing; run `dvc repro` (or `dvc pull`) first, which makes it"
