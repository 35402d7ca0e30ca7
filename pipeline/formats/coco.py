"""Annotations of the COCO layout (Lin et al. 2014): one JSON file for all pictures of a part."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.formats.boxes import Annotation
from pipeline.formats.csv import check_inside, raw_file
from pipeline.formats.image import image_paths

FURTHEST = 1e9  # pixels that a box may be away from its picture


def read_coco(folder: Path, images: str, annotations: str) -> tuple[list[Annotation], list[str]]:
    """Reads pictures with their boxes in the order of the file, and warnings; leaves out crowds (`iscrowd`).

    Raises ValueError that names the entry for a picture that is not there and for entries that cannot be read.
    """
    path = raw_file(folder, annotations)
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path}: not readable as JSON ({error}); replace the file") from None
    pictures, boxes, categories = (_entries(document, key, path) for key in ("images", "annotations", "categories"))
    if not pictures:
        raise ValueError(f"{path}: `images` names no pictures; check data.parts in params.yaml")
    check_inside(folder, images)
    classes: dict[int, str] = {}
    for place, entry in categories:
        number, name = _value(entry, "id", int, place), _value(entry, "name", str, place)
        if classes.setdefault(number, name) != name:
            raise ValueError(f"{place}: {classes[number]} has the id {number}, too; give each category its own")
    by_id: dict[int, Annotation] = {}
    seen: set[str] = set()
    for place, entry in pictures:
        number, picture = _value(entry, "id", int, place), _picture(folder, images, entry, place)
        if number in by_id:
            raise ValueError(f"{place}: the id {number} occurs twice; give each picture its own")
        if os.path.normpath(picture) in seen:
            raise ValueError(f"{place}: its picture {picture} has an earlier entry, too; put all boxes under one id")
        seen.add(os.path.normpath(picture))
        size = None
        if entry.get("height") and entry.get("width"):
            size = _value(entry, "height", int, place), _value(entry, "width", int, place)
        by_id[number] = Annotation(picture, size, [], [])
    crowds = 0
    for place, entry in boxes:
        if _is_crowd(entry, place):
            crowds += 1
            continue
        picture_of = _known(by_id, entry, "image_id", place)
        picture_of.labels.append(_known(classes, entry, "category_id", place))
        picture_of.boxes.append(_box(entry, place))
    return list(by_id.values()), [*_left_out(folder / images, by_id), *_crowds(crowds)]


def _entries(document: Any, key: str, path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Lists (place for messages, entry) of a list of objects."""
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: has no list of objects `{key}`; allowed: COCO's images, annotations and categories")
    return [(f"{path}, {key}[{number}]", entry) for number, entry in enumerate(entries)]


def _value(entry: Mapping[str, Any], key: str, kind: type, place: str) -> Any:
    value = entry.get(key)
    sound = isinstance(value, kind) and not isinstance(value, bool)
    if not sound or (isinstance(value, str) and not (value.strip() and _encodable(value))):
        wanted = "a whole number" if kind is int else "text"
        raise ValueError(f"{place}: found {value!r} for {key}; allowed: {wanted}")
    return value


def _encodable(text: str) -> bool:
    """Whether a text holds whole signs: JSON can escape halves of them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _picture(folder: Path, images: str, entry: Mapping[str, Any], place: str) -> Path:
    name: str = _value(entry, "file_name", str, place)
    try:
        check_inside(folder / images, name)
        for form in (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))):
            if (folder / images / form).is_file():
                return folder / images / form
    except OSError:  # longer than any name can be
        pass
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    raise ValueError(f"{place}: its picture {folder / images / name} is not there; add it or remove the entry")


def _is_crowd(entry: Mapping[str, Any], place: str) -> bool:
    flag = entry.get("iscrowd")
    if flag not in (None, 0, 1):
        raise ValueError(f"{place}: found {flag!r} for iscrowd; allowed: 0, 1")
    return bool(flag)


def _known(table: Mapping[int, Any], entry: Mapping[str, Any], key: str, place: str) -> Any:
    number = _value(entry, key, int, place)
    if number not in table:
        kind = "images" if key == "image_id" else "categories"
        raise ValueError(f"{place}: found {key} {number}, which no entry of `{kind}` has; correct or remove it")
    return table[number]


def _box(entry: Mapping[str, Any], place: str) -> tuple[float, float, float, float]:
    """Converts COCO's left, top, width, height to left, top, right, bottom."""
    box = entry.get("bbox")
    sound = isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box)
    if not sound or not all(-FURTHEST < side < FURTHEST for side in box):  # type: ignore[union-attr]
        raise ValueError(f"{place}: found {box!r} for bbox; allowed: four numbers, left, top, width and height")
    left, top, width, height = box  # type: ignore[misc]
    return left, top, left + width, top + height


def _left_out(folder: Path, by_id: Mapping[int, Annotation]) -> list[str]:
    there, _ = image_paths(folder)
    strangers = sorted({path.as_posix() for path in there} - {entry.picture.as_posix() for entry in by_id.values()})
    if not strangers:
        return []
    pictures = "picture" if len(strangers) == 1 else "pictures"
    return [f"{len(strangers)} {pictures} in {folder.as_posix()} not named in `images` and ignored"]


def _crowds(count: int) -> list[str]:
    return [f"{count} box{'' if count == 1 else 'es'} around crowds (iscrowd) left out"] if count else []
