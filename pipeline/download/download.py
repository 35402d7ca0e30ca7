"""Downloads: from the net, from a mirror, from a file or out of an installed package; checked, and resumed."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import logging
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.download.transfer import chunks_of, shown, transferred
from pipeline.files.atomic import disk_full
from pipeline.files.digests import content_key, file_digest, folder_digest

logger = logging.getLogger(__name__)

SUMS = "SHA256SUMS"  # of a mirror: the checksums of its own copies


def fetch_file(url: str, sha256: str | None, work: Path, copy: Path | None = None) -> Path:
    """Brings one file to `work/<sha256>.part` and returns this path once the checksum is right.

    url: http(s)://…, file:///absolute/path or package://<installed package>/<path in it>. A `copy`, as `mirrored_file`
    finds it, is read instead of any of them. The `.part` lies outside the outputs, which DVC deletes before a
    stage reruns, so that an interrupted transfer resumes where it stopped. Without a checksum of the file each run
    starts again, and `check_contents` has to follow. Raises ValueError for a source that is missing, cannot be reached
    or has another checksum; in the last case the `.part` is removed.
    """
    work.mkdir(parents=True, exist_ok=True)
    part = work / f"{sha256 or content_key(url=url)}.part"
    if sha256 is None:
        part.unlink(missing_ok=True)  # what is left of another packing would not fit
    left = part.is_file()
    if left and file_digest(part) == sha256:  # an earlier run got this far
        return part
    remote = copy is None and urlsplit(url).scheme in ("http", "https")
    local = None if remote else copy or local_source(url)
    try:
        digest = transferred(url, part) if local is None else _copied(local, part)
        if digest != sha256 and left and remote:
            logger.warning("%s: what an earlier transfer left does not fit; starting over", shown(url))
            part.unlink()
            digest = transferred(url, part)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(work) from error
        raise
    if sha256 is not None and digest != sha256:
        part.unlink()
        raise ValueError(
            f"{local or shown(url)}: found SHA-256 {digest}; params.yaml asks for {sha256}. The download was removed. "
            "Either the transfer was disturbed (try again) or the source has changed (look at it, then change sha256)"
        )
    return part


def mirrored_file(mirror: Path | None, name: str, file: str, sha256: str | None) -> Path | None:
    """Finds the copy of a file of the download `name` in the mirror; None where there is none.

    A copy of an archive that has no lasting checksum may be packed again, or a part: what is known of it is stored in
    SHA256SUMS of the mirror. Raises ValueError for a mirror that is not a folder, and for a copy that is not as listed.
    """
    if mirror is None:
        return None
    if not mirror.is_dir():
        raise ValueError(f"PIPELINE_DATA_MIRROR: found {mirror}, which is no folder; allowed: one of <name>/<file>")
    copy = mirror / name / file
    if not copy.is_file():
        return None
    if sha256 is not None:  # by which it is checked like a file from anywhere
        return copy
    listed = _listed(mirror / SUMS).get(f"{name}/{file}")
    if listed is None:
        logger.info("%s/%s: from the mirror, whose %s does not list it", name, file, SUMS)
        return copy
    digest = file_digest(copy)
    if digest != listed:
        raise ValueError(f"{copy}: found SHA-256 {digest}; {SUMS} of the mirror has {listed}. Copy it anew")
    logger.info("%s/%s: from the mirror, packed anew there or a part; checked by its %s", name, file, SUMS)
    return copy


def _listed(sums: Path) -> dict[str, str]:
    """Reads the output of `sha256sum`: a line has a digest, a blank, a blank or an asterisk, and a name."""
    try:
        lines = sums.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{sums}: not readable as text in UTF-8 ({error}); write it anew with sha256sum") from None
    entries = (line.split(maxsplit=1) for line in lines)
    return {entry[1].lstrip("*").removeprefix("./"): entry[0].lower() for entry in entries if len(entry) == 2}


def check_contents(folder: Path, contents: str, file: str) -> None:
    """Raises ValueError if what was unpacked of an archive into the folder is not what params.yaml asks for.

    The digest is the same for every packing of the same files: for one that a server makes for each request, and for a
    repacked copy in a mirror.
    """
    digest = folder_digest(folder)
    if digest != contents:
        raise ValueError(
            f"{file}: the files of its folder {folder.name} have the digest {digest}; params.yaml asks for {contents}. "
            "Either the archive is damaged (try again) or the source has changed (look at it, then change contents)"
        )


def local_source(url: str) -> Path:
    """Finds the file behind a file:// or package:// address. Raises ValueError if there is none."""
    parts = urlsplit(url)
    if parts.scheme == "package":
        path = _inside(_package_folder(parts.netloc, url), unquote(parts.path).lstrip("/"), url)
    elif parts.scheme == "file" and parts.netloc in ("", "localhost"):
        path = Path(unquote(parts.path))
    else:
        allowed = "http(s)://…, file:///absolute/path, package://<installed package>/<path in it>"
        raise ValueError(f"{shown(url)}: not an address of a file; allowed: {allowed}")
    if not path.is_file():
        raise ValueError(f"{shown(url)}: no such file ({path}); check the address in params.yaml")
    return path


def _package_folder(package: str, url: str) -> Path:
    """Finds the folder of an installed package without importing it, which could take seconds."""
    try:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"{shown(url)}: no package {package!r} is installed here; `pip install -e '.[all]'` "
            "brings those of recipes, any other has to be installed by you"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _inside(package: Path, name: str, url: str) -> Path:
    """Finds a file of an installed package. Raises ValueError for what leads out of its folder, also by a link."""
    folder, path = package.resolve(), package / name
    if "\0" in name or not path.resolve().is_relative_to(folder):
        raise ValueError(
            f"{shown(url)}: leads out of the package, by `..` or by a link; name a file inside of it, or another file "
            "by file:///absolute/path"
        )
    return path


def _copied(source: Path, part: Path) -> str:
    """Copies a local file and returns its SHA-256."""
    digest = hashlib.sha256()
    with source.open("rb") as stream, part.open("wb") as target:
        for chunk in chunks_of(stream):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()
