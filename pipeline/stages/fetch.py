"""Downloads the files of one data set, checks them and puts them into data/raw."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pipeline.download.download import check_contents, fetch_file, mirrored_file
from pipeline.download.unpack import unpack
from pipeline.files.atomic import remove, replaced_folder
from pipeline.params import Params, ParamsError, nearest

WORK = Path(".work/downloads")


def main(name: str | None, params: Params) -> None:
    """Writes data/raw/<name> once all its files have arrived with the right checksums."""
    if name not in params.downloads:
        raise ParamsError(f"download: found {name}; {nearest(str(name), params.downloads)}")
    files = params.downloads[name]
    mirror_address = os.environ.get("PIPELINE_DATA_MIRROR")
    mirror = Path(mirror_address).expanduser() if mirror_address else None
    copies = {file: mirrored_file(mirror, name, file, source.sha256) for file, source in files.items()}
    parts = {file: fetch_file(source.url, source.sha256, WORK, copies[file]) for file, source in files.items()}
    folder = Path("data/raw") / name
    count = 0
    with replaced_folder(folder) as fresh:
        for file, part in parts.items():
            source = files[file]
            if source.unpack:
                count += unpack(part, file, fresh, source.folder, source.only)
                if source.contents and source.folder:
                    check_contents(fresh / source.folder, source.contents, file)
            else:
                _placed(part, fresh / file)
                count += 1
    for part in parts.values():
        remove(part)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    taken = sum(copy is not None for copy in copies.values())
    origin = f", {taken} of {len(copies)} downloads from {mirror}" if mirror else ""
    print(f"fetch: {count} file{'s' if count != 1 else ''}, {size / 1e6:.1f} MB → {folder}{origin}")


def _placed(part: Path, target: Path) -> None:
    """A second name for the same bytes, or a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise ValueError(f"{target.name}: an archive of this download has a file of this name") from None
    except OSError:
        shutil.copyfile(part, target)
