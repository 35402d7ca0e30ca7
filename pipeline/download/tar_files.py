"""Tar archives, whose headers and dictionaries cannot fill the memory: a few packed kilobytes can be gigabytes."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

MOST_HEADER = 1 << 17  # bytes of a long name or of other properties of a file, which are read as a whole
MOST_DICTIONARY = 1 << 28  # bytes of memory that unpacking xz may take; `xz -9` asks for 65 MiB
CHUNK = 1 << 16
EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
XZ, GZIP, BZIP2 = b"\xfd7zXZ", b"\x1f\x8b", b"BZh"


class TooMuch(Exception):
    """An archive asks for too much; the message describes what."""


class Header(tarfile.TarInfo):
    """The header of a file; the library would read of it as many bytes as it declares."""

    def _proc_member(self, archive: Any) -> Any:
        if self.type in (*EXTENDED, *NAMES) and self.size > MOST_HEADER:
            raise TooMuch(f"has a header of {self.size:,} bytes")
        if self.type == tarfile.XGLTYPE and sum(map(len, chain(*archive.pax_headers.items()))) > MOST_HEADER:
            raise TooMuch("has very many headers for all files")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._proc_gnusparse_10()
        return super()._proc_member(archive)  # type: ignore[misc]

    def _proc_gnusparse_10(self, *arguments: Any) -> None:
        """Refuses a file with holes: the table of them would be read as a whole, and has no size."""
        raise TooMuch("holds a sparse file (tar --sparse)")


@contextmanager
def opened_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Opens an archive, packed or not, to be read from its beginning to its end."""
    with ExitStack() as stack:
        stream = stack.enter_context(path.open("rb"))
        head = stream.read(6)
        stream.seek(0)
        if head.startswith(XZ):
            packed: IO[bytes] = io.BufferedReader(Unpacked(stream), CHUNK)
            yield stack.enter_context(tarfile.open(fileobj=packed, mode="r|", tarinfo=Header))
        elif head.startswith(GZIP):
            yield stack.enter_context(tarfile.open(fileobj=stream, mode="r:gz", tarinfo=Header))
        elif head.startswith(BZIP2):
            yield stack.enter_context(tarfile.open(fileobj=stream, mode="r:bz2", tarinfo=Header))
        else:
            yield stack.enter_context(tarfile.open(fileobj=stream, mode="r:", tarinfo=Header))


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yields the entries one after another; the library would keep them all."""
    while (member := archive.next()) is not None:
        yield member
        archive.members.clear()  # type: ignore[attr-defined]


class Unpacked(io.RawIOBase):
    """The contents of a file packed by xz. `lzma.open` does not limit the memory, which every block may set again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.decompressor = self._fresh()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self._next(len(target))
        target[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        """Reads up to so many bytes; none at the end. Raises EOFError for a file that is cut short."""
        while True:
            packed = b""
            if self.decompressor.eof:
                packed = self.decompressor.unused_data or self.stream.read(CHUNK)
                if not packed.strip(b"\0"):  # nothing, or what fills up the last stream
                    return b""
                self.decompressor = self._fresh()
            elif self.decompressor.needs_input:
                packed = self.stream.read(CHUNK)
                if not packed:
                    raise EOFError("the file ends before the end of what was packed")
            data = self.decompressor.decompress(packed, size)
            if data:
                return data

    def _fresh(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_DICTIONARY)
