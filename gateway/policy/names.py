"""Patterns on the dotted names of objects, which may be qualified or not.

``public.users`` in a rule and ``users`` in a statement may be the same table,
and the policy can't ask the server.  So there are two readings of a pattern:

*Wide*, for rules that restrict (block, hold, mask): any qualification that
could be meant matches.  ``public.users`` matches ``public.users`` and
``users``; ``users`` matches ``users`` and ``app.users``; ``*.email`` matches
``email``.  A name with a ``*`` (``users.*``: all columns) matches where it
could stand for something that the pattern means.  Errs towards matching, with
one exception: a pattern for a whole schema (``hr.*``) doesn't match ``users``,
unless the schema is ``public`` or ``*``, for else it would match every
unqualified name.  There the guess below decides, and errs towards not matching.

*Narrow*, for rules that permit (allow, and the permission of a mask): the
pattern as written; and, for facts about tables and columns, an unqualified
name where the pattern's schema is ``public`` or ``*``, and a name in
``public`` where the pattern has no schema.  That is a guess that the server
looks names up in ``public``: the gateway fixes the search path.  It never holds
for names that begin with ``pg_``, which the server looks up in ``pg_catalog``
first.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.policy.globs import Test, compile_globs, overlap, remembering


def wide(patterns: Sequence[str]) -> Test:
    """The wide reading of ``patterns``, any of which may match."""
    forms = {form for p in patterns for form in (p, p if p.startswith("*") else f"*.{p}")}
    depth = max((p.count(".") for p in patterns), default=0)
    # levels[d]: the last d + 1 segments of the patterns that have more of them.
    levels = [
        [tail for p in patterns if p.count(".") > level and (tail := _tail(p, level))]
        for level in range(depth)
    ]
    tests = [compile_globs(tails) for tails in levels]
    plain = compile_globs(forms)
    every = sorted(forms.union(*levels))

    def matches(name: str) -> bool:
        if plain(name):
            return True
        if "*" in name:
            return any(overlap(form, name) for form in every)
        dots = name.count(".")
        return dots < depth and tests[dots](name)

    return remembering(matches)


def _tail(pattern: str, level: int) -> str:
    """The last ``level`` + 1 segments; "" where they say nothing and the
    schema that does isn't one that unqualified names are looked up in."""
    segments = pattern.split(".")
    tail = ".".join(segments[-level - 1 :])
    return tail if segments[0] in ("public", "*") or tail.strip("*.") else ""


def narrow(patterns: Sequence[str], *, relation: bool) -> Test:
    """The narrow reading of ``patterns``, any of which may match."""
    plain = compile_globs(patterns)
    if not relation:
        return plain
    added = compile_globs({f"public.{p}" for p in patterns if not p.startswith("*")})
    stripped: dict[int, set[str]] = {}
    for p in patterns:
        schema, dot, rest = p.partition(".")
        if dot and schema in ("public", "*"):
            for dots in range(p.count(".")):
                stripped.setdefault(dots, set()).add(rest)
    bare = {dots: compile_globs(rests) for dots, rests in stripped.items()}

    def matches(name: str) -> bool:
        if plain(name) or added(name):
            return True
        test = bare.get(name.count("."))
        return test is not None and not name.startswith("pg_") and test(name)

    return remembering(matches)


def covers_wide(broad: str, thin: str) -> bool:
    """Does ``broad``, read wide, match all that ``thin`` does in any reading?
    Provable cases only: ``*``, or covered segment by segment."""
    if broad == "*":
        return True
    ours, theirs = broad.split("."), thin.split(".")
    if any(_tail(thin, n) and not _tail(broad, n) for n in range(len(ours) - 1)):
        return False
    return len(ours) == len(theirs) and all(
        compile_globs((a,))(b) if a else a == b for a, b in zip(ours, theirs, strict=True)
    )
