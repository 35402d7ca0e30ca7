"""Archives, unpacked so that nothing can leave the folder or fill the disk."""

from __future__ import annotations

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.download.tar_files import TooMuch, members, opened_tar
from pipeline.download.transfer import chunks_of

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SMALLEST_LIMIT = 1 << 30  # bytes that any archive may unpack to
RATIO = 100  # beyond that, an archive may unpack to so many times its own size
MOST_FILES = 5_000_000  # files and folders in one archive: small ones fill the table of files before they fill the disk

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, UnicodeDecodeError)
NO_FAULT_OF_THE_DISK = (None, errno.EINVAL)  # numbers of OSErrors that readers of archives raise for damage
IN_UTF8 = 0x800  # flag of a name in a zip

Entry = tuple[str, Callable[[], IO[bytes]] | None]  # name and how to open it; None: a folder


def unpack(
    archive: Path, name: str, folder: Path, only: str | None = None, patterns: Sequence[str] | None = None
) -> int:
    """Unpacks an archive into `folder` and returns the number of files. Its kind follows from the file name `name`.

    With `only`, the folder of this name and what is below it are taken, wherever it is in the archive, without
    hidden files; of them those whose names fit one of the `patterns`. Raises ValueError for another kind of file,
    damage, a name that leads out of the folder, occurs twice or is none, a link among what is taken, more than RATIO
    times the size of the archive (or SMALLEST_LIMIT, if that is more), over MOST_FILES, and none at all.
    """
    if not name.lower().endswith(SUFFIXES):
        raise ValueError(f"{name}: not an archive that can be unpacked; allowed: {', '.join(SUFFIXES)}")
    left = max(SMALLEST_LIMIT, RATIO * archive.stat().st_size)
    count = 0
    entries = (_zip_entries if name.lower().endswith(".zip") else _tar_entries)(archive, name)
    try:
        for number, (entry, opened) in enumerate(entries, 1):
            if number > MOST_FILES:
                raise ValueError(f"{name}: holds more than {MOST_FILES:,} files and folders; unpack it by hand")
            if opened is None:
                continue
            path = _inside(entry, name)
            place = path if only is None else _below(path, only)
            if place is None or not any(fnmatchcase(place.name, pattern) for pattern in patterns or ["*"]):
                continue
            with opened() as source, _created(folder / place, entry, name).open("xb") as sink:
                for chunk in chunks_of(source):
                    left -= len(chunk)
                    if left < 0:
                        raise ValueError(f"{name}: unpacks to more than {RATIO} times its size; unpack it by hand")
                    sink.write(chunk)
            count += 1
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{name}: a name in this archive is a file and a folder at once") from None
    except (*DAMAGED, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno not in NO_FAULT_OF_THE_DISK:
            raise
        raise ValueError(f"{name}: the archive is damaged or protected ({error}); it cannot be unpacked") from None
    if not count:
        fitting = f" with names like {', '.join(patterns)}" if patterns else ""
        where = "" if only is None else f" in a folder {only}; look into it, then change `folder`"
        raise ValueError(f"{name}: has no files{fitting}{where}")
    return count


def _below(path: PurePosixPath, only: str) -> PurePosixPath | None:
    """Returns the path from the folder `only` on; None for what lies outside of it or is hidden."""
    if only not in path.parts[:-1]:
        return None
    parts = path.parts[path.parts.index(only) :]
    return None if any(part.startswith(".") for part in parts) else PurePosixPath(*parts)


def _created(target: Path, entry: str, name: str) -> Path:
    """Returns the path of a file that is not there yet, in a folder that is."""
    try:
        if target.exists():
            raise ValueError(f"{name}: {entry!r} occurs twice, in this archive or in the download")
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ValueError(f"{name}: the name {entry[:60]!r}… is longer than this system allows") from None
    return target


def _inside(entry: str, name: str) -> PurePosixPath:
    """Returns the path of an entry below the folder. Raises ValueError if it leads out of it, or to the folder."""
    path = PurePosixPath(entry.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.as_posix().partition("/")[0]:
        raise ValueError(f"{name}: {entry!r} leads out of the folder; nothing was unpacked from this archive")
    if not path.parts or "\0" in entry:
        raise ValueError(f"{name}: {entry!r} is no name of a file")
    try:
        entry.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: {entry!r} is no name in UTF-8; pack the archive anew") from None
    return path


def _zip_entries(archive: Path, name: str) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as source:
        for info in source.infolist():
            entry = _name(info)
            if stat.S_ISLNK(info.external_attr >> 16):
                yield entry, partial(_refuse_link, name, entry)
            else:
                yield entry, None if info.is_dir() else partial(_opened, source, info, name)


def _tar_entries(archive: Path, name: str) -> Iterator[Entry]:
    try:
        with opened_tar(archive) as source:
            for member in members(source):
                if not (member.isfile() or member.isdir()):
                    yield member.name, partial(_refuse_link, name, member.name)
                else:
                    stream = source.extractfile(member)  # None for a folder
                    yield member.name, None if stream is None else lambda stream=stream: stream  # type: ignore[misc]
    except TooMuch as error:
        raise ValueError(f"{name}: {error}, which would fill the memory; pack the archive anew, plainly") from None


def _opened(source: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> IO[bytes]:
    """Raises ValueError for other kinds of packing: the library unpacks each piece of them whole, to any size."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name}: {_name(info)!r} is not packed by deflate; pack the archive anew, such as by `zip`")
    return source.open(info)


def _name(info: zipfile.ZipInfo) -> str:
    """Decodes a name: many programs write UTF-8 without its flag, and the library takes it for the letters of DOS."""
    if info.flag_bits & IN_UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def _refuse_link(name: str, entry: str) -> IO[bytes]:
    """Raises ValueError, when a link would be opened: one that lies outside of what is taken does no harm."""
    raise ValueError(f"{name}: {entry!r} is a link or a device, which is not unpacked; make an archive of plain files")
