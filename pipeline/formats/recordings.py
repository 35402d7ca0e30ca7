"""Folders of recordings: with a list of transcripts, or with what is said in the names of the files."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from pipeline.formats.audio import SUFFIXES, Sound, read_sound
from pipeline.formats.csv import check_inside, raw_file
from pipeline.formats.glance import glanced
from pipeline.formats.image import check_name, composed, visible_files
from pipeline.formats.records import Recordings
from pipeline.formats.text import sentences

FIELDS = {"text": ".+?", "speaker": ".+?", "number": "[0-9]+"}  # what a pattern may name, as short as it can be
LONGEST = {"text": ".+", "speaker": ".+", "number": "(?<![0-9])[0-9]+"}  # but a number is always whole
SAMPLE_RATES = (1_000, 192_000)


@dataclass(frozen=True)
class Entry:
    """One recording before it is read."""

    path: Path
    text: str
    speaker: str | None


def listed(folder: Path, directory: str, transcripts: str) -> tuple[list[Entry], tuple[str, ...]]:
    """Reads the recordings of a list whose lines are a file of `directory`, a tab and what is said in it.

    A third field may name the speaker. Recordings that are not in the list are left out, with a warning in the second
    result. Raises ValueError with the line of a file that is not there, is named twice or lies elsewhere.
    """
    root, path = _directory(folder, directory), folder / transcripts
    present: dict[str, Path] = {}
    for file in _recordings(root):
        name = composed(file.relative_to(root).as_posix())
        if name in present:
            raise ValueError(f"{file}: another file has the same name, its accents written in another way; keep one")
        present[name] = file
    entries: dict[str, Entry] = {}
    for line, row in enumerate(sentences(folder, transcripts), 1):
        name, *fields = (field.strip() for field in row.split("\t"))
        name = composed(name)
        place = f"{path}, line {line}"
        if len(fields) not in (1, 2) or not all((name, *fields)):
            raise ValueError(
                f"{place}: found {len(fields) + 1} fields; allowed: a file, a tab and what is said in it, and perhaps "
                "a tab and the speaker"
            )
        if name in entries:
            raise ValueError(f"{place}: {name} stands in an earlier line, too; keep one")
        if name not in present:
            raise ValueError(f"{place}: no recording {name!r} in {root}{_nearest(name, list(present))}")
        entries[name] = Entry(present[name], fields[0], fields[1] if len(fields) > 1 else None)
    ignored = len(present) - len(entries)
    message = f"{ignored} recordings in {root.as_posix()} have no transcript in {transcripts} and were ignored"
    return list(entries.values()), (message,) if ignored else ()


def named(
    folder: Path,
    directory: str,
    pattern: str,
    words: Mapping[str, str] | None,
    speakers: Sequence[str] | None,
    numbers: Sequence[int] | None,
) -> list[Entry]:
    """Lists the recordings of a folder whose names follow a pattern such as {text}_{speaker}_{number}, by name.

    `words` maps the texts in the names to their meanings. `speakers`, and `numbers` [first, end), pick some of them.
    Raises ValueError for a name of another form or that can be read in two ways, a text that `words` lacks, and a
    speaker that is not there.
    """
    root, form, longest = _directory(folder, directory), _form(pattern, FIELDS), _form(pattern, LONGEST)
    _check_numbers(numbers)
    for field, picked_by in (("speaker", speakers), ("number", numbers)):
        if picked_by is not None and field not in form.groupindex:
            raise ValueError(
                f"data.parts: found {field}s {picked_by!r}, but the pattern {pattern!r} has no {{{field}}}"
            )
    words = None if words is None else {composed(text): word for text, word in words.items()}
    entries, known = [], set()
    for path in _recordings(root):
        stem = composed(path.stem)
        match = form.fullmatch(stem)
        if match is None:
            raise ValueError(f"{path}: the name is not of the form {pattern!r}; rename the file or change the pattern")
        fields = match.groupdict()
        if words is None and (other := longest.fullmatch(stem)) and other.groupdict() != fields:
            raise ValueError(
                f"{path}: by the pattern {pattern!r} this is {_join(fields)} or {_join(other.groupdict())}; rename the "
                "file, or give data.options.words"
            )
        text, speaker = fields["text"], fields.get("speaker")
        if words is not None and text not in words:
            raise ValueError(f"{path}: data.options.words does not say what {text!r} stands for; add it")
        known.add(speaker)
        picked = numbers is None or numbers[0] <= int(fields.get("number", 0)) < numbers[1]
        if picked and (speakers is None or speaker in speakers):
            entries.append(Entry(path, text if words is None else words[text], speaker))
    absent = sorted(set(speakers or ()) - known)
    if absent:
        there = ", ".join(sorted(map(str, known)))
        raise ValueError(f"data.parts: no recording of the speaker {absent[0]!r} in {root}; there are {there}")
    if not entries:
        raise ValueError(f"{root}: found no recordings for this part; check data.parts in params.yaml")
    return entries


def read_entries(
    folder: Path, entries: Sequence[Entry], sample_rate: int, warnings: tuple[str, ...] = ()
) -> Recordings:
    """Reads the recordings, one channel each, at `sample_rate`; changes for that are counted in the warnings."""
    if type(sample_rate) is not int or not SAMPLE_RATES[0] <= sample_rate <= SAMPLE_RATES[1]:
        allowed = f"a whole number from {SAMPLE_RATES[0]} to {SAMPLE_RATES[1]}, such as 16000"
        raise ValueError(f"data.options.sample_rate: found {sample_rate!r}; allowed: {allowed}")
    entries = glanced(entries)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets other threads run; map keeps the order
        sounds = list(pool.map(partial(read_sound, sample_rate=sample_rate), (entry.path for entry in entries)))
    known = all(entry.speaker is not None for entry in entries)
    return Recordings(
        samples=[sound.samples for sound in sounds],
        texts=[entry.text for entry in entries],
        speakers=[str(entry.speaker) for entry in entries] if known else None,
        names=[entry.path.relative_to(folder).as_posix() for entry in entries],
        sample_rate=sample_rate,
        warnings=(*warnings, *_changed(sounds, sample_rate)),
        files=[entry.path for entry in entries],
    )


def _changed(sounds: Sequence[Sound], sample_rate: int) -> Iterator[str]:
    mixed = sum(sound.channels > 1 for sound in sounds)
    other_rates = sorted({sound.rate for sound in sounds} - {sample_rate})
    resampled = sum(sound.rate != sample_rate for sound in sounds)
    silent = sum(not sound.samples.any() for sound in sounds)
    if mixed:
        yield f"{mixed} of {len(sounds)} recordings had more than one channel, which were mixed"
    if resampled:
        rates = ", ".join(map(str, other_rates[:4])) + ("…" if len(other_rates) > 4 else "")
        yield f"{resampled} of {len(sounds)} recordings were resampled from {rates} to {sample_rate} samples a second"
    if silent:
        yield f"{silent} of {len(sounds)} recordings are silent throughout"


def _directory(folder: Path, directory: str) -> Path:
    root = folder / directory
    check_inside(folder, directory)
    if not root.is_dir():
        raw_file(folder, directory)  # raises with what to do about a missing folder
        raise ValueError(f"{root}: this is a file; allowed: a folder with recordings")
    return root


def _recordings(root: Path) -> list[Path]:
    """Lists recordings below a folder, sorted. Raises ValueError where there are none."""
    files = sorted(path for path in visible_files(root) if path.suffix.lower() in SUFFIXES and path.is_file())
    for path in files:
        check_name(path)
    if not files:
        raise ValueError(f"{root}: found no recordings; allowed: files that end with {', '.join(sorted(SUFFIXES))}")
    return files


def _join(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{field} {value}" for field, value in fields.items())


def _form(pattern: str, expressions: Mapping[str, str]) -> re.Pattern[str]:
    """Builds the regular expression of a pattern. Raises ValueError for a field that is unknown, missing or twice."""
    literals = re.split(r"\{(\w*)\}", str(pattern))
    fields = literals[1::2]
    if set(fields) - set(FIELDS) or len(set(fields)) != len(fields) or "text" not in fields:
        raise ValueError(
            f"data.options.pattern: found {pattern!r}; allowed: {{text}}, and {{speaker}} and {{number}} where the "
            "names have them, such as '{text}_{speaker}_{number}'"
        )
    parts = [
        f"(?P<{part}>{expressions[part]})" if place % 2 else re.escape(part) for place, part in enumerate(literals)
    ]
    return re.compile("".join(parts))


def _check_numbers(numbers: Sequence[int] | None) -> None:
    whole = numbers is None or (len(numbers) == 2 and all(type(number) is int for number in numbers))
    if not whole or (numbers is not None and not 0 <= numbers[0] < numbers[1]):
        raise ValueError(f"data.parts: found numbers {numbers!r}; allowed: [first, end] with 0 <= first < end")


def _nearest(name: str, there: list[str]) -> str:
    match = difflib.get_close_matches(str(PurePosixPath(name)), there, n=1)
    return f"; did you mean {match[0]}?" if match else f"; it has {', '.join(there[:4])}{'…' if len(there) > 4 else ''}"
