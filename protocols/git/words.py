"""The words that git commands are told in: actions, facts, and names of repositories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocols.contract import Effect, EffectKind, Fact, FactKind
from protocols.git.names import NameRefused, canonical

ACTIONS: Final = frozenset({"git.list", "git.fetch", "git.archive", "git.push", "git.unparsed"})
"""``list``: seeing a repository's refs, asked before any other. ``fetch``, ``archive``:
reading its objects. ``push``: one part per ref update."""

SERVICES: Final = ("fetch", "push", "archive")
UPDATES: Final = ("create", "ff", "force", "delete")

FACTS: Final[Mapping[str, FactKind]] = {
    "repo": FactKind.TEXT,
    "service": FactKind.TEXT,
    "ref": FactKind.TEXT,
    "update": FactKind.TEXT,
    "forced": FactKind.FLAG,
    "old": FactKind.TEXT,
    "new": FactKind.TEXT,
    "commits": FactKind.NUMBER,
    "lost": FactKind.NUMBER,
    "paths": FactKind.NAMES,
    "authors": FactKind.NAMES,
    "committers": FactKind.NAMES,
    "pack_bytes": FactKind.NUMBER,
    "objects": FactKind.NUMBER,
    "largest_file": FactKind.NUMBER,
    "secrets": FactKind.NAMES,
    "secret_paths": FactKind.NAMES,
    "symlinks": FactKind.NAMES,
    "submodules": FactKind.NAMES,
    "push_options": FactKind.NAMES,
    "atomic": FactKind.FLAG,
    "shallow": FactKind.FLAG,
    "wants": FactKind.NAMES,
    "depth": FactKind.NUMBER,
    "filter": FactKind.TEXT,
    "version": FactKind.NUMBER,
}
"""Facts of a part; all are always there, and what an action has no use for is neutral.

``repo``: canonical (``org/repo``).  ``service``: what was asked for, also in ``git.list``.
``update``: what is done to ``ref``; every change of an existing tag is ``force``, as git
sees it.  ``forced``: by ancestry alone, what the ref had is not in what it has now (a delete is).
``old``, ``new``: object ids, zeros where there is none.  ``commits``: that the update adds;
``lost``: that the old tip led to and the new one doesn't.  ``paths``: that the added
commits change, or that differ between the tips.  Of the push as a whole: ``authors`` and
``committers`` of its commits, ``pack_bytes``, ``objects``, the bytes of the
``largest_file``, the kinds of ``secrets`` in new files and the ``secret_paths`` that they
are in, ``symlinks`` and ``submodules`` (paths), ``push_options``, ``atomic``, ``shallow``
(pushed from a shallow clone).  Of a fetch: ``wants`` (refs, and object ids where no ref is
known), ``depth`` (``ENDLESS``: all of it), ``filter`` ("": none), ``version`` of the protocol."""

ENDLESS: Final = 0x7FFFFFFF
"""The ``depth`` of a fetch that goes as deep as there is history, which is also how git
itself says it. A bound on depth must not match what has none."""

_NOTHING: Final[Mapping[FactKind, Fact]] = {
    FactKind.TEXT: "",
    FactKind.NUMBER: 0,
    FactKind.FLAG: False,
    FactKind.NAMES: (),
}
NEUTRAL: Final[Mapping[str, Fact]] = {name: _NOTHING[kind] for name, kind in FACTS.items()}
"""Every fact with the value that says "nothing of that". A fact that is left out is
unknown to rules, and then each restricting rule matches: so begin with these."""

UNKNOWN: Final[Mapping[str, Fact]] = dict.fromkeys(FACTS)
"""Every fact unknown: what ``git.unparsed`` has."""


def is_canonical(name: str) -> bool:
    """True for the one name that a repository has here: ``org/repo``, without a slash at
    either end, ``.git``, ``.`` or ``..``, empty or dashed components. Errs towards False."""
    try:
        return canonical(name.encode("utf-8", "surrogatepass")) == name
    except NameRefused:
        return False


def reads(repo: str) -> tuple[Effect, ...]:
    """The effects of ``git.list``, ``git.fetch`` and ``git.archive``."""
    return (Effect(EffectKind.READ, repo, "repository"),)


def changes(update: str | None, ref: str) -> tuple[Effect, ...]:
    """The effects of one update of ``ref``. One that is unknown may destroy."""
    kinds = _EFFECTS.get(update or "", (EffectKind.WRITE, EffectKind.DESTROY))
    return tuple(Effect(kind, ref, "ref") for kind in kinds)


_EFFECTS: Final[Mapping[str, tuple[EffectKind, ...]]] = {
    "create": (EffectKind.WRITE,),
    "ff": (EffectKind.WRITE,),
    "force": (EffectKind.WRITE, EffectKind.DESTROY),
    "delete": (EffectKind.DESTROY,),
}
