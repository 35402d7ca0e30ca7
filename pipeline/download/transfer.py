"""One file over http(s): retried, resumed with range requests, hashed while it streams."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import logging
import netrc
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

logger = logging.getLogger(__name__)

ATTEMPTS = 5  # in a row that bring no new byte
BACKOFF = 1.0  # seconds before the second attempt, doubled before each further one
TIMEOUT = 30.0  # seconds without an answer
CHUNK = 1 << 18  # bytes
INTERVAL = 10.0  # seconds between two lines about progress, where there is no terminal
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)  # while something is read
PASSING = (408, 425, 429)  # answers below 500 that a later attempt may change


def transferred(url: str, part: Path) -> str:
    """Downloads into `part`, from where it ends, and returns the SHA-256 of the whole file.

    Raises ValueError if the server refuses, or ATTEMPTS in a row brought nothing; `part` is kept then.
    """
    failures = 0
    while True:
        before = _size(part)
        try:
            return _attempt(url, part)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and before:  # nothing beyond what is here: the checksum shows whether it is the file
                return _digest_of(part).hexdigest()
            if error.code < 500 and error.code not in PASSING:
                message = f"the server answered {error.code} ({error.reason}); check the address and your access to it"
                raise ValueError(f"{shown(url)}: {message}") from None
            reason = f"the server answered {error.code}"
        except (http.client.InvalidURL, UnicodeEncodeError):
            raise ValueError(f"{shown(url)}: not a valid address; write blanks and other signs as %20 …") from None
        except urllib.error.URLError as error:
            reason = str(error.reason)
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = str(error) or type(error).__name__
        except OSError as error:
            if error.errno not in UNREACHABLE:
                raise
            reason = str(error)
        failures = 1 if _size(part) > before else failures + 1
        if failures >= ATTEMPTS:
            raise ValueError(
                f"{shown(url)}: no answer after {failures} attempts ({reason}). What has arrived is kept: run the "
                "stage again to go on. Without a connection, set PIPELINE_DATA_MIRROR to a folder of <download>/<file>"
            )
        wait = BACKOFF * 2 ** (failures - 1)
        logger.warning("%s: %s; trying again in %g s", shown(url), reason, wait)
        time.sleep(wait)


def shown(url: str) -> str:
    """Shortens an address for messages: without user, password and query, which may be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def chunks_of(stream: Any) -> Iterator[bytes]:
    """Yields the bytes of a file or an answer, piece by piece."""
    while chunk := stream.read(CHUNK):
        yield chunk


def _attempt(url: str, part: Path) -> str:
    """Sends one request. Raises ConnectionError if less arrives than the server announced."""
    done = _size(part)
    with urllib.request.urlopen(_request(url, done), timeout=TIMEOUT) as response:
        if done and not _continues(response, done):  # this server sends the whole file again
            part.unlink()
            done = 0
        announced = response.headers.get("Content-Length")
        total = done + int(announced) if announced and announced.isdecimal() else None
        digest = _digest_of(part)
        with part.open("ab") as target:
            for chunk in _reported(chunks_of(response), Path(urlsplit(url).path).name, done, total):
                digest.update(chunk)
                target.write(chunk)
    if total is not None and _size(part) < total:  # http.client ends silently where a connection breaks
        raise ConnectionError(f"the connection broke after {_size(part)} of {total} bytes")
    return digest.hexdigest()


def _request(url: str, start: int) -> urllib.request.Request:
    """Builds a request with credentials from outside of the address; a redirection to another host drops them."""
    parts = urlsplit(url)
    authorization, query = _credentials(parts.hostname or "")
    whole = "&".join(filter(None, (parts.query, query)))
    request = urllib.request.Request(
        urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=whole, fragment=""))
    )
    request.add_header("User-Agent", "model-pipeline")
    request.add_header("Accept-Encoding", "identity")  # the checksum is that of the file, not of a packed transfer
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    if start:
        request.add_header("Range", f"bytes={start}-")
    return request


def _credentials(host: str) -> tuple[str | None, str]:
    """Returns (the header Authorization, what is added to the query) for a host, from environment and ~/.netrc.

    Of `files.example.org` the variables are PIPELINE_TOKEN_FILES_EXAMPLE_ORG, a token, and
    PIPELINE_QUERY_FILES_EXAMPLE_ORG, the signed part of an address, such as `sv=…&sig=…`. ~/.netrc (or the file that
    NETRC names) has users and passwords, as for curl and Git. Raises ValueError where it cannot be read.
    """
    name = re.sub(r"[^A-Z0-9]", "_", host.upper())
    query = os.environ.get(f"PIPELINE_QUERY_{name}", "").lstrip("?&")
    token = os.environ.get(f"PIPELINE_TOKEN_{name}")
    if token:
        return f"Bearer {token}", query
    try:
        entry = netrc.netrc(os.environ.get("NETRC") or None).hosts.get(host)  # never the one for any other host
    except (FileNotFoundError, PermissionError, RuntimeError):  # the last one without a home
        entry = None
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError) as error:
        line = getattr(error, "lineno", None)
        where = f"look at its line {line}" if line else "look at its rights (chmod 600) and its form"
        logger.warning("~/.netrc (or the file that NETRC names) cannot be read and is not used; %s", where)
        entry = None
    if entry is None:
        return None, query
    user, _, password = entry
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode(), query


def _continues(response: Any, start: int) -> bool:
    """Whether the server sends what follows the first `start` bytes."""
    return response.status == 206 and str(response.headers.get("Content-Range")).startswith(f"bytes {start}-")


def _reported(chunks: Iterator[bytes], name: str, done: int, total: int | None) -> Iterator[bytes]:
    """Passes the chunks on, with a progress bar in a terminal and plain lines elsewhere."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    spoken = time.monotonic()
    with tqdm(desc=name, initial=done, total=total, unit="B", unit_scale=True, disable=not terminal) as bar:
        for chunk in chunks:
            yield chunk
            done += len(chunk)
            bar.update(len(chunk))
            if not terminal and time.monotonic() - spoken > INTERVAL:
                spoken = time.monotonic()
                logger.info("%s: %.1f MB%s", name, done / 1e6, f" of {total / 1e6:.1f} MB" if total else "")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _digest_of(part: Path) -> hashlib._Hash:
    """Starts a SHA-256 with what is already there."""
    digest = hashlib.sha256()
    if part.is_file():
        with part.open("rb") as stream:
            for chunk in chunks_of(stream):
                digest.update(chunk)
    return digest
