"""What a misspelt word may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean "…"?``, or the list of what is known when nothing is
    near and the list is short, or "": the tail of an error message."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{close[0]}"?'
    if 0 < len(names) <= 12:
        return "; known: " + ", ".join(names)
    return ""
