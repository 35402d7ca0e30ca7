"""Annotations of the Pascal VOC layout (Everingham et al. 2010): an XML file a picture, and lists of names."""

from __future__ import annotations

import contextlib
import difflib
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.parsers import expat

from pipeline.formats.boxes import Annotation
from pipeline.formats.csv import raw_file
from pipeline.formats.image import SUFFIXES, check_name, composed, is_hidden

SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(root: Path, image_set: str | None) -> list[Annotation]:
    """Reads the pictures of ImageSets/Main/<image_set>.txt in its order; without a list all, sorted by their names.

    Coordinates are taken as edges in pixels. Objects that are marked as difficult are objects like all others. Raises
    ValueError for a name without picture or annotation, and for annotations that cannot be read.
    """
    pictures = _by_name(path for path in _files(root / "JPEGImages") if path.suffix.lower() in SUFFIXES)
    annotations = _by_name(path for path in _files(root / "Annotations") if path.suffix.lower() == ".xml")
    if image_set is None:
        names, source = sorted(pictures.keys() | annotations.keys()), root.as_posix()
    else:
        listing = raw_file(root, f"ImageSets/Main/{image_set}.txt")
        names, source = _names(listing, pictures), listing.as_posix()
    entries = []
    for name in names:
        if name not in annotations:
            raise ValueError(
                f"{source}: picture {name} has no annotation; {_expected(root, 'Annotations', name, 'xml')}"
            )
        if name not in pictures:
            raise ValueError(
                f"{source}: annotation {name} has no picture; {_expected(root, 'JPEGImages', name, 'jpg')}"
            )
        entries.append(_annotation(annotations[name], pictures[name]))
    if not entries:
        raise ValueError(f"{source}: names no pictures; check data.parts in params.yaml")
    return entries


def _by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Maps names without suffix to their files. Raises ValueError for two of one name."""
    by_stem: dict[str, Path] = {}
    for path in files:
        name = composed(path.stem)
        if name in by_stem:
            raise ValueError(f"{path}: {by_stem[name].name} has the same name; keep one of them")
        by_stem[name] = path
    return by_stem


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        there = [entry.name for entry in folder.parent.iterdir() if entry.is_dir()] if folder.parent.is_dir() else []
        hint = f"{folder.parent} has {', '.join(sorted(there)[:8]) or 'no folders'}"
        raise ValueError(f"{folder}: no such folder; pascal_voc needs Annotations and JPEGImages, and {hint}")
    for path in sorted(folder.iterdir()):
        if path.is_file() and not is_hidden(path.name):
            check_name(path)
            yield path


def _names(listing: Path, pictures: Mapping[str, Path]) -> list[str]:
    """Reads the names of a list, one a line. Raises ValueError for the list of a class, and for a repeated name."""
    try:
        text = listing.read_text(encoding="utf-8-sig")  # some editors of Windows put a mark before the first name
    except UnicodeDecodeError as error:
        raise ValueError(f"{listing}: not readable as UTF-8 ({error}); save the list in UTF-8") from None
    names: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        name = composed(line.strip())
        if not name:
            continue
        if name not in pictures and len(name.split()) > 1 and name.split()[0] in pictures:
            raise ValueError(
                f"{listing}, line {number}: found {name!r}; allowed: the name of a picture alone, as in the lists of "
                "whole splits (lists of a single class, with 1 and -1, are not read)"
            )
        if name in names:
            raise ValueError(f"{listing}, line {number}: {name} stands already in line {names[name]}; keep one")
        names[name] = number
    return list(names)


def _expected(root: Path, folder: str, name: str, suffix: str) -> str:
    there = sorted(path.stem for path in _files(root / folder))
    near = difflib.get_close_matches(name, there, n=1)
    return f"add {folder}/{name}.{suffix} or remove the name" + (f" (there is {near[0]})" if near else "")


def _annotation(file: Path, picture: Path) -> Annotation:
    content = file.read_bytes()
    _check_entities(content, file)
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the others: an encoding that it does not know
        raise ValueError(f"{file}: not readable as XML ({error}); replace the file or remove it") from None
    if root.tag != "annotation":
        raise ValueError(f"{file}: found <{root.tag}>; allowed: <annotation>, with an <object> for every box")
    boxes, labels = [], []
    for number, entry in enumerate(root.iter("object"), start=1):
        place = f"{file}, object {number}"
        label = (entry.findtext("name") or "").strip()
        if not label:
            raise ValueError(f"{place}: has no <name>; say which class the object is of")
        labels.append(label)
        left, top, right, bottom = (_number(entry, f"bndbox/{side}", place) for side in SIDES)
        boxes.append((left, top, right, bottom))
    return Annotation(picture, _size(root, file), boxes, labels)


class _Defined(Exception):
    """An entity is defined."""


def _check_entities(content: bytes, file: Path) -> None:
    """Raises ValueError for entities, in any encoding: a few lines of them unfold to gigabytes.

    Anything else that is wrong is left to the reader proper.
    """

    def refuse(*definition: object) -> None:
        raise _Defined

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    try:
        with contextlib.suppress(expat.ExpatError, ValueError, LookupError):
            parser.Parse(content, True)
    except _Defined:
        raise ValueError(f"{file}: defines entities, which no annotation needs; write the file without them") from None


def _size(root: Element, file: Path) -> tuple[int, int] | None:
    """Returns height and width; None where the file has none, or zero as some programs write it."""
    if root.find("size") is None:
        return None
    height, width = (int(_number(root, f"size/{side}", str(file))) for side in ("height", "width"))
    return (height, width) if height and width else None


def _number(entry: Element, path: str, place: str) -> float:
    text = (entry.findtext(path) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{place}: found {text!r} for {path}; allowed: a number of pixels")
    return value
