"""A git command as a line of text, for ``gateway explain`` and policy tests.

::

    list org/repo
    fetch org/repo refs/heads/main depth=1 filter=blob:none
    archive org/repo
    push org/repo force refs/heads/main lost=3 paths=.github/workflows/ci.yml,README.md
    push org/repo ff refs/heads/a pack_bytes=2GiB; delete refs/heads/b
    push org/repo ? refs/heads/main paths=? complete=false

``fact=value`` says what an ordinary command doesn't: names stand between commas,
numbers may be sizes, ``?`` is unknown, and ``%20`` writes a sign that would part
words.  What concerns the whole push holds for all its updates, wherever it stands.
What isn't in this form is ``git.unparsed``: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final
from urllib.parse import unquote

from protocols.contract import Fact, FactKind, Part
from protocols.git.words import (
    ENDLESS,
    FACTS,
    NEUTRAL,
    UNKNOWN,
    UPDATES,
    changes,
    is_canonical,
    reads,
)

_FETCH: Final = frozenset({"wants", "depth", "filter", "version"})
_ONE: Final = frozenset({"forced", "old", "new", "commits", "lost", "paths"})
"""What an update has of its own; the other facts are the whole push's."""
_SAID: Final = frozenset({"repo", "service", "ref", "update"})
_ORDINARY: Final[dict[str, Fact]] = {"pack_bytes": 1000, "objects": 3, "largest_file": 100}
_VERBS: Final = ("fetch", "archive", "push")
_NONE: Final = "0" * 40
_SIZES: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_NUMBER: Final = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB)?")
_FLAGS: Final = {"true": True, "false": False}


class _Unclear(ValueError):
    """The line isn't of the form; the message says why."""


def parts(text: str) -> tuple[Part, ...]:
    """What the line ``text`` does: one part, or one per update of a push."""
    try:
        return _read(text)
    except _Unclear as why:
        return (Part("git.unparsed", (), UNKNOWN, False, str(why)),)


def _read(text: str) -> tuple[Part, ...]:
    verb, *words = text.partition(";")[0].split() or [""]
    if verb not in ("list", *_VERBS):
        raise _Unclear(f'"{verb}" is none of list, {", ".join(_VERBS)}')
    if not words or not is_canonical(words[0]):
        raise _Unclear("a repository such as org/repo comes behind the verb")
    repo, words = words[0], words[1:]
    if verb == "push":
        return _push(repo, [words, *(piece.split() for piece in text.split(";")[1:])])
    if ";" in text:
        raise _Unclear('only a push has several updates, with ";" between')
    facts: dict[str, Fact] = {"repo": repo, "service": "fetch" if verb == "list" else verb}
    facts["version"] = 2
    if verb == "fetch":
        facts["depth"] = ENDLESS
    plain, given, complete = _words(words, _FETCH if verb == "fetch" else frozenset())
    if plain and verb != "fetch":
        raise _Unclear(f'"{plain[0]}" has no place behind {verb} {repo}')
    if plain:
        facts["wants"] = tuple(map(_name, plain))
    return (Part(f"git.{verb}", reads(repo), {**NEUTRAL, **facts, **given}, *_whole(complete)),)


def _push(repo: str, pieces: Sequence[list[str]]) -> tuple[Part, ...]:
    whole: dict[str, Fact] = {"repo": repo, "service": "push", **_ORDINARY}
    known = frozenset(FACTS) - _SAID - _FETCH
    updates = []
    for words in pieces:
        plain, given, complete = _words(words, known)
        if len(plain) != 2:
            raise _Unclear("an update is a word and a ref: force refs/heads/main")
        if plain[0] not in (*UPDATES, "?"):
            raise _Unclear(f'"{plain[0]}" is none of {", ".join(UPDATES)}, ?')
        whole.update((name, value) for name, value in given.items() if name not in _ONE)
        own = {name: value for name, value in given.items() if name in _ONE}
        update = None if plain[0] == "?" else plain[0]
        updates.append((update, _name(plain[1]), own, complete))
    return tuple(
        Part(
            "git.push",
            changes(update, ref),
            {**NEUTRAL, **_usual(update), **whole, **own, "ref": ref, "update": update},
            *_whole(complete),
        )
        for update, ref, own, complete in updates
    )


def _usual(update: str | None) -> dict[str, Fact]:
    """What an update of this sort has where nothing else is said."""
    return {
        "old": _NONE if update == "create" else "1" * 40,
        "new": _NONE if update == "delete" else "2" * 40,
        "forced": None if update is None else update in ("force", "delete"),
        "commits": 0 if update == "delete" else 1,
        "lost": None if update is None else int(update in ("force", "delete")),
    }


def _whole(complete: bool) -> tuple[bool, str]:
    return complete, "" if complete else "the line says so"


def _words(words: list[str], known: frozenset[str]) -> tuple[list[str], dict[str, Fact], bool]:
    """Bare words, facts, and whether the part is complete."""
    plain: list[str] = []
    given: dict[str, Fact] = {}
    complete = True
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            plain.append(word)
        elif name in given:
            raise _Unclear(f'"{name}" is said twice')
        elif name == "complete" and value in _FLAGS:
            complete = _FLAGS[value]
        elif name in known:
            given[name] = _value(name, value)
        else:
            near = get_close_matches(name, known, 1)
            raise _Unclear(
                f'"{name}" is no fact that can be said here'
                + (f'; did you mean "{near[0]}"?' if near else "")
            )
    return plain, given, complete


def _value(name: str, text: str) -> Fact:
    kind = FACTS[name]
    if text == "?":
        return None
    if kind is FactKind.NAMES:
        return tuple(_name(part) for part in text.split(",") if part)
    if kind is FactKind.TEXT:
        return _name(text)
    if kind is FactKind.FLAG:
        if text not in _FLAGS:
            raise _Unclear(f'"{name}" is true or false')
        return _FLAGS[text]
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise _Unclear(f'"{name}" is a number or a size such as 64KiB')
    return int(found[1]) * _SIZES[found[2] or ""]


def _name(text: str) -> str:
    return unquote(text, errors="surrogateescape")
