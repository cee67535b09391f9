"""File names made of sample ids, which may hold anything: slashes, spaces, any script, hundreds of characters."""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote

LONGEST = 180  # characters of a quoted id; file systems allow 255 bytes, suffixes need some


def quote_id(name: str) -> str:
    """A file name of ASCII letters, digits and ``_-.%``, the same for the same `name` everywhere, never a path.

    Other characters are percent-encoded as in URLs. A name that gets too long is cut and ends in ``~`` and a digest:
    it cannot be read back, so the file must hold the id too.
    """
    quoted = quote(name, safe="").replace("~", "%7E")
    if quoted.startswith("."):  # "..", and hidden files, which are temporary here
        quoted = "%2E" + quoted[1:]
    if len(quoted) > LONGEST:
        quoted = f"{quoted[:100]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return quoted


def unquote_id(quoted: str) -> str | None:
    """The inverse of `quote_id`; None where the name was too long to be kept."""
    return None if "~" in quoted else unquote(quoted)
