"""The text of a push: what people approve and the record shows.

Whatever a client chose (names, subjects, options) stands on one line: what would
break it is quoted as git does (core.quotePath), with C's escapes in double quotes.
Lists are capped and say what they leave out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from protocols.git.pushparts import TAGS, PushWhole, word
from protocols.git.survey import CommitSeen, PathChange, Survey, UpdateSeen

COMMITS: Final = 50
"""Commits of one update that are shown, added and lost each."""
PATHS: Final = 100
UPDATES: Final = 200
OTHERS: Final = 50
"""Secrets, symbolic links, submodules, options: of each."""
LONGEST: Final = 300
"""Characters of one name or subject."""
MOST: Final = 200_000
"""Characters about the updates in all."""

# Controls, line ends of Unicode, marks that turn the direction of text, bytes that
# were no UTF-8; and what would make a quoted name ambiguous.
_UNFIT: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    r"\ud800-\udfff\"\\]"
)
_NAMED: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\t": r"\t",
    "\n": r"\n",
    "\v": r"\v",
    "\f": r"\f",
    "\r": r"\r",
    '"': r"\"",
    "\\": r"\\",
}
_MODES: Final = {
    "100755": "executable",
    "100664": "mode 100664",
    "120000": "a symbolic link",
    "160000": "a submodule",
}
_VERBS: Final = {"create": "create", "ff": "update", "force": "force", "delete": "delete"}


def quoted(name: str) -> str:
    """``name`` as it is, or in double quotes with C's escapes where it needs them."""
    if len(name) > LONGEST:
        name = name[:LONGEST] + f"... ({len(name)} characters)"
    if _UNFIT.search(name) is None and name == name.strip():
        return name
    return f'"{_UNFIT.sub(_escape, name)}"'


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    if letter in _NAMED:
        return _NAMED[letter]
    raw = letter.encode("utf-8", "surrogateescape" if "\udc80" <= letter <= "\udcff" else "replace")
    return "".join(f"\\{byte:03o}" for byte in raw)


def counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def push_text(whole: PushWhole, seen: Sequence[UpdateSeen], survey: Survey) -> str:
    """All of it; the first line is a sentence."""
    return "\n".join(_lines(whole, seen, survey))


def headline(whole: PushWhole, seen: Sequence[UpdateSeen]) -> str:
    """``push to org/repo: force refs/heads/main 1234567..89abcde (2 commits added, 3 lost)``"""
    said = [_sentence(one) for one in seen]
    if len(said) == 1:
        return f"push to {whole.repository}: {said[0]}"
    sorts = [word(one) or "unknown" for one in seen]
    told = [
        f"{sorts.count(sort)} {sort}"
        for sort in ("force", "unknown", "delete", "create", "ff")
        if sort in sorts
    ]
    return f"push to {whole.repository}: {len(said)} updates ({', '.join(told)})"


def _sentence(one: UpdateSeen) -> str:
    sort, update = word(one), one.update
    ref = quoted(update.ref)
    if sort == "create":
        return f"create {ref} {update.new[:7]} ({_plus(one)})"
    if sort == "delete":
        return f"delete {ref} {update.old[:7]} ({_minus(one)})"
    span = f"{update.old[:7]}..{update.new[:7]}"
    if sort is None:
        return f"update {ref} {span} (whether commits are lost is unknown)"
    tail = f"{_plus(one)}, {_minus(one)}" if sort == "force" or one.lost_count else _plus(one)
    return f"{_VERBS[sort]} {ref} {span} ({tail})"


def _plus(one: UpdateSeen) -> str:
    if one.added_count is None:
        return "commits added: unknown"
    return f"{counted(one.added_count, 'commit')} added"


def _minus(one: UpdateSeen) -> str:
    return "lost commits: unknown" if one.lost_count is None else f"{one.lost_count} lost"


def _lines(whole: PushWhole, seen: Sequence[UpdateSeen], survey: Survey) -> Iterator[str]:
    yield headline(whole, seen)
    hidden = [f"{quoted(s.update.ref)}: {quoted(s.why or 'unknown')}" for s in seen if not s.whole]
    if survey.missed:
        hidden.insert(0, quoted(survey.missed))
    if hidden:
        yield f"NOT ALL IS SHOWN: {'; '.join(hidden[:OTHERS])}{_more(len(hidden), OTHERS)}"
    room, left = MOST, 0
    for one in islice(seen, UPDATES):
        for line in ("", *_update(one)):
            room -= len(line)
            if room > 0:
                yield line
            else:
                left += 1
    if left:
        yield f"... and {counted(left, 'line')} more about these updates, not shown"
    if len(seen) > UPDATES:
        yield ""
        yield f"... and {len(seen) - UPDATES} updates more, not shown"
    yield ""
    if whole.pack:
        sizes = f"{counted(whole.objects, 'object')}, {counted(whole.size, 'byte')}"
        yield f"pack: {sizes}, sha256 {whole.pack}"
    else:
        yield "pack: none"
    if whole.atomic:
        yield "atomic: all refs or none"
    if whole.shallow:
        yield "pushed from a shallow clone"
    yield from _list("push options", map(quoted, whole.options))
    yield from _list("SECRETS", (f"{quoted(s.kind)} in {quoted(s.path)}" for s in survey.secrets))
    yield from _list("symbolic links", map(quoted, survey.symlinks))
    yield from _list("submodules", map(quoted, survey.submodules))


def _update(one: UpdateSeen) -> Iterator[str]:
    update = one.update
    yield f"{quoted(update.ref)}: {_meaning(one)}"
    yield f"  old {update.old}"
    yield f"  new {update.new}"
    yield from _commits("LOST, if nothing else leads to it", one.lost, one.lost_count)
    yield from _commits("added", one.added, one.added_count)
    if one.paths:
        plus = sum(path.plus or 0 for path in one.paths)
        minus = sum(path.minus or 0 for path in one.paths)
        at_least = "" if one.whole else "at least "
        yield f"  changed: {at_least}{counted(len(one.paths), 'file')}, +{plus} -{minus}"
        for path in islice(one.paths, PATHS):
            yield f"    {_path(path)}"
        if len(one.paths) > PATHS:
            yield f"    ... and {counted(len(one.paths) - PATHS, 'file')} more, not shown"
    if not one.whole:
        yield f"  not all of it could be seen: {quoted(one.why or 'unknown')}"


def _meaning(one: UpdateSeen) -> str:
    sort = word(one)
    if sort == "create":
        return "created"
    if sort == "delete":
        return "DELETED"
    if sort == "ff":
        return "fast-forward: the old tip stays in its history"
    if one.forced:
        return "FORCED: the old tip is not in the new history"
    if one.forced is None:
        return "CHANGED, whether by fast-forward is UNKNOWN"
    moved = "a tag that exists is MOVED" if one.update.ref.startswith(TAGS) else "moved"
    return f"{moved} (the old tip stays in the history)"


def _commits(title: str, shown: Sequence[CommitSeen], count: int | None) -> Iterator[str]:
    if not shown and count == 0:
        return
    number = "an unknown number of commits" if count is None else counted(count, "commit")
    yield f"  {title}: {number}"
    for commit in islice(shown, COMMITS):
        yield f"    {_commit(commit)}"
    left = (count if count is not None else len(shown)) - min(len(shown), COMMITS)
    if left > 0:
        yield f"    ... and {counted(left, 'commit')} more, not shown"


def _commit(commit: CommitSeen) -> str:
    by = f"{quoted(commit.author)}"
    if commit.committer != commit.author:
        by += f", committed by {quoted(commit.committer)}"
    return f"{commit.oid[:12]} {_date(commit.time)} {by}: {quoted(commit.subject)}"


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"time {seconds}"


def _path(path: PathChange) -> str:
    said = [f"{path.how} {quoted(path.path)}"]
    if path.binary:
        said.append("binary" if path.size is None else f"binary, {counted(path.size, 'byte')}")
    elif path.plus is not None and path.minus is not None:
        said.append(f"+{path.plus} -{path.minus}")
    elif path.size is not None:
        said.append(counted(path.size, "byte"))
    if path.mode in _MODES:
        said.append(_MODES[path.mode])
    elif path.how == "T":
        said.append(f"now of mode {path.mode}")
    return " | ".join(said)


def _list(title: str, words: Iterable[str]) -> Iterator[str]:
    listed = list(words)
    if listed:
        yield f"{title}: {', '.join(listed[:OTHERS])}{_more(len(listed), OTHERS)}"


def _more(count: int, cap: int) -> str:
    return f" ... and {count - cap} more, not shown" if count > cap else ""
