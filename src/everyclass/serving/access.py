"""Who may ask: from this machine without a word, from elsewhere with a token.

Comes in: a host, a token, the headers of a request. Goes out: yes, or the reason why not. Never
prints or repeats a token.

Without a token the server is reached through the loopback interface alone, and a `Host` that does
not name it is refused: a page in a browser could otherwise, by a name of its own that leads to
127.0.0.1, read what the server says.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from everyclass.errors import InputError

TOKEN_VARIABLE = "EVERYCLASS_TOKEN"
LEAST_CHARACTERS = 16
_HOW = (
    f"Set the environment variable {TOKEN_VARIABLE}, or name a file that holds a token with "
    "--token-file."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may ask.

    Args:
        token: that must be given; None where the loopback interface is the guard.
    """

    token: bytes | None = field(default=None, repr=False)

    def refused(self, headers: Mapping[str, str]) -> str | None:
        """Why a request with these headers (names in lower case) is not answered; None if it is."""
        if self.token is None:
            if is_loopback(_host_of(headers.get("host", ""))):
                return None
            return "This server answers to localhost alone: it was started without a token."
        if hmac.compare_digest(_given(headers.get("authorization", "")), self.token):
            return None
        return "A token is needed: Authorization: Bearer TOKEN, or as the password of any user."


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine, and none else can reach it."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def access_for(host: str, token_file: Path | None) -> Access:
    """The guard of a server that listens on `host`.

    Args:
        token_file: a file that holds the token; the environment variable counts when left out.
    Raises:
        InputError: a host that others reach without a token; a token that is too short, or holds
            what cannot stand in a header; a file that cannot be read.
    """
    where, text = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE)
    if token_file is not None:
        where = str(token_file)
        try:
            text = token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InputError(
                f"The token file cannot be read ({why}).",
                where=where,
                remedy="Name a text file that holds one line: the token.",
            ) from None
    if text is None:
        if is_loopback(host):
            return Access()
        raise InputError(
            f"--host {host} lets other machines in, and no token was given.",
            remedy=f"{_HOW} Or leave --host away: the server is then reached from here alone.",
        )
    token = text.strip()
    if len(token) < LEAST_CHARACTERS or not all("!" <= one <= "~" for one in token):
        raise InputError(
            f"The token must have at least {LEAST_CHARACTERS} letters, digits or signs of ASCII "
            f"without blanks; this one has {len(token)} characters.",
            where=where,
            remedy="Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return Access(token=token.encode("ascii"))


def _host_of(header: str) -> str:
    """The host of a `Host` header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _given(header: str) -> bytes:
    """The token of an `Authorization` header; empty where there is none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""
