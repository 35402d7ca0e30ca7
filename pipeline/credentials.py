"""Credentials in addresses and in the environment: recognised, and taken out of whatever is written or printed."""

from __future__ import annotations

import netrc
import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"
SHORTEST = 6  # characters of a value that is looked for; shorter ones would be found everywhere
# What a credential is called in the query of an address: token, X-Amz-Signature, AWSAccessKeyId, sig, api_key, …
NAME = re.compile(
    r"pass(?:w|phrase|$|[-_.])|pwd|token(?!iz)|secret|signature|credential|jwt|bearer|authorization|api[-_]?key|"
    r"access[-_]?key|key[-_]pair|(?:^|[-_.])(?:sig|key|auth|sas|pw)(?:$|[-_.])",
    re.IGNORECASE,
)
VARIABLE = re.compile(r"PASSWORD|PASSWD|TOKEN(?!IZ)|SECRET|CREDENTIAL|API_?KEY|ACCESS_KEY")
# Values that say by their form what they are: of GitHub, GitLab, Hugging Face, Slack, npm, PyPI, Amazon, and any JWT.
FORM = re.compile(
    r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|xox[abprs]-|npm_|pypi-|dckr_pat_|sk-)[\w-]{16,}|\bA[KS]IA[0-9A-Z]{16}\b|"
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
USER = re.compile(r"(://)(?:[^/?#@\s'\"]+|[^/?#@\s'\":]*:(?!\d+[/?#])[^@\s'\"]+)@")  # some forget to write / as %2F
QUERY = re.compile(r"([?&#;])([\w.~%-]+)=([^&\s\"'#;]+)")
ADDRESS = re.compile(r"([A-Za-z][\w+.-]*)://([^/?#\s'\"]*)([^\s'\"]*)")


def credential_in(address: str) -> str | None:
    """What in an address looks like a credential, without its value; None where nothing does."""
    found = ADDRESS.search(address)
    if not found:
        return None
    scheme, place, rest = found.groups()
    user, sign, _ = place.rpartition("@")
    _, colon, password = user.partition(":")
    if password or (not sign and "@" in rest and re.search(r":(?!\d*$)", place)):
        return "a password"
    if sign and (colon or scheme.lower() in ("http", "https", "file", "package")):
        return "a user, or a token in its place"  # a database or storage may well say which user or container it means
    for _, key, value in QUERY.findall(address):
        if NAME.search(unquote(key)) and value.strip("*"):
            return f"a credential in its part {unquote(key)[:40]}=…"
    return "a token" if FORM.search(unquote(address)) else None


def scrubbed(text: object) -> str:
    """A text without users and passwords of addresses, what looks like a credential, and those that are known."""
    cleaned = USER.sub(r"\1", str(text))
    cleaned = QUERY.sub(lambda m: f"{m[1]}{m[2]}={HIDDEN if NAME.search(unquote(m[2])) else m[3]}", cleaned)
    cleaned = FORM.sub(HIDDEN, cleaned)
    for secret in sorted(known(), key=len, reverse=True):
        cleaned = cleaned.replace(secret, HIDDEN)
    return cleaned


def known(*texts: str) -> set[str]:
    """Values of credentials: in the environment, in ~/.netrc, and in addresses of the environment and of `texts`."""
    found = {value for name, value in os.environ.items() if VARIABLE.search(name) and not value.startswith("/")}
    for name, value in os.environ.items():
        if name.startswith("PIPELINE_QUERY_"):  # as the end of an address
            found |= {value, *_values(f"x://x?{value.lstrip('?&')}")}
    for text in (*texts, *(value for value in os.environ.values() if "://" in value)):
        found |= set(_values(text))
    found |= set(_of_netrc())
    return {secret for secret in found if len(secret) >= SHORTEST and secret != HIDDEN}


def _values(text: str) -> Iterator[str]:
    """The credentials in the addresses of a text, as they are written and as they are meant."""
    for scheme, place, rest in ADDRESS.findall(text):
        user, sign, _ = place.rpartition("@")
        name, _, password = user.partition(":")
        values = [password] if password else [name] if sign and scheme.lower() in ("http", "https") else []
        values += [value for _, key, value in QUERY.findall(rest) if NAME.search(unquote(key))]
        for value in values:
            yield from (value, unquote(value))


def _of_netrc() -> Iterator[str]:
    try:
        entries = netrc.netrc(os.environ.get("NETRC") or None).hosts.values()
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError, RuntimeError):  # the last one without a home
        return
    yield from (str(password) for _, _, password in entries if password)
