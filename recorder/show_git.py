"""Says in sentences what a git session did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from recorder.git_facts import GitFacts, Update
from recorder.render import one_line

_HEX: Final = re.compile(r"[0-9a-f]{7,64}")
_QUOTED: Final = re.compile(r"'([^']*)'")
_LISTED: Final = 20
_HOLD, _BLOCK = 2, 3
_VERBS: Final = {
    "create": ("created", "create"),
    "ff": ("pushed", "push"),
    "force": ("force-pushed", "force-push"),
    "delete": ("deleted", "delete"),
    "move": ("moved", "move"),
    "": ("pushed", "push"),
}


def sentences(facts: GitFacts, who: str, run: str) -> Iterator[str]:
    """Lines for people, each safe for a terminal. ``who`` is the principal's subject."""
    name = one_line(who or "somebody unproven", 100) + (
        f" (run {one_line(run, 100)})" if run else ""
    )
    if facts.updates_count:
        yield from _push(facts, name)
    elif facts.service == "receive-pack":
        yield f"{name} {_asked(facts, 'opened a push to', 'push to')} and updated nothing."
    elif facts.service == "upload-archive":
        yield _reading(facts, name, "took an archive of", facts.limits)
    elif facts.wants_count:
        more = f" and {facts.wants_count - _LISTED} more" if facts.wants_count > _LISTED else ""
        what = ", ".join(one_line(want, 100) for want in facts.wants[:_LISTED]) + more
        yield _reading(facts, name, "fetched from", facts.limits, what)
    elif facts.service:
        count = f": {_count(facts.refs, 'ref')}" if facts.refs else ""
        yield f"{name} {_asked(facts, 'listed the refs of', 'list the refs of')}{count}."
    elif facts.command_line:
        yield f"{name} asked for a command that does not open here: {_cut(facts.command_line)}."
    elif facts.refused_count:
        yield f"{name} opened no service."
    if facts.refused_count:
        shown = "; ".join(_cut(item) for item in facts.refused[:_LISTED])
        rest = facts.refused_count - min(len(facts.refused), _LISTED)
        yield f"Turned away: {shown}" + (f"; and {rest:,} more." if rest else ".")
    if facts.broken:
        yield f"Not all of it could be read: {_cut(facts.broken)}."


def as_dict(facts: GitFacts) -> dict[str, Any]:
    """For JSON."""
    return asdict(facts)


def _cut(text: str) -> str:
    return one_line(text, 300)


def _repository(facts: GitFacts) -> str:
    named = _QUOTED.search(facts.command_line)
    asked = named[1].strip("/").removesuffix(".git") if named is not None else ""
    return one_line(facts.repository or asked, 260) or "an unknown repository"


def _allowed(facts: GitFacts) -> bool:
    """Nothing says that it was stopped."""
    if facts.verdict == _BLOCK or facts.refusal:
        return False
    if facts.verdict == _HOLD:
        return facts.approval is not None and facts.approval.state == "consumed"
    return True


def _asked(facts: GitFacts, did: str, tried: str) -> str:
    if _allowed(facts):
        return f"{did} {_repository(facts)}"
    return f"tried to {tried} {_repository(facts)} ({_judged(facts)})"


def _reading(facts: GitFacts, name: str, did: str, limits: list[str], what: str = "") -> str:
    verb = (
        did
        if _allowed(facts)
        else "tried to " + did.replace("fetched", "fetch").replace("took", "take")
    )
    told = f"{name} {verb} {_repository(facts)}"
    if what:
        told += f": {what}"
    if limits:
        told += f" ({', '.join(_cut(limit) for limit in limits[:_LISTED])})"
    told += f": {facts.pack_out:,} bytes"
    judged = _judged(facts)
    if judged:
        told += f"; {judged}"
    elif facts.errors:
        told += f"; it ended with: {_cut(facts.errors[-1])}"
    return told + "."


def _push(facts: GitFacts, name: str) -> Iterator[str]:
    judged = _judged(facts)
    if facts.updates_count == 1:
        update = facts.updates[0]
        change = f"{name} {_change(facts, update, True)}{_options(facts)}"
        parts = [change, judged, _outcome(facts, update)]
        yield "; ".join(part for part in parts if part) + "."
        return
    verb = "pushed" if _allowed(facts) else f"{_tried(facts)} push"
    told = f"{name} {verb} {facts.updates_count:,} updates to {_repository(facts)}{_options(facts)}"
    yield f"{told}; {judged}:" if judged else f"{told}:"
    for update in facts.updates[:_LISTED]:
        outcome = _outcome(facts, update)
        yield f"  {_change(facts, update, False)}" + (f"; {outcome}" if outcome else "")
    if facts.updates_count > _LISTED:
        yield f"  … {facts.updates_count - _LISTED:,} more"


def _options(facts: GitFacts) -> str:
    if not facts.options:
        return ""
    shown = ", ".join(one_line(option, 100) for option in facts.options[:_LISTED])
    return f" (push options: {shown})"


def _change(facts: GitFacts, update: Update, with_repository: bool) -> str:
    kind = _kind(update)
    done = _accepted(facts, update)
    verb = _VERBS[kind][0] if done else f"{_tried(facts)} {_VERBS[kind][1]}"
    told = f"{verb} {one_line(update.ref, 200) or 'a ref'}"
    if with_repository:
        repository = one_line(update.repository, 260) or _repository(facts)
        told += f" {'in' if kind == 'create' else 'of'} {repository}"
    if kind == "create":
        told += f" at {_short(update.new)}"
    elif kind == "delete":
        told += f", which was at {_short(update.old)}"
    else:
        told += f" from {_short(update.old)} to {_short(update.new)}"
    if not update.update and not _zero(update.old) and not _zero(update.new):
        told += " (whether forced is not known)"
    counts = []
    if update.commits or (update.commits == 0 and kind in ("ff", "force")):
        counts.append(f"{_count(update.commits, 'commit')} added")
    elif update.commits is None and kind != "delete" and update.update:
        counts.append("an unknown number of commits added")
    if update.lost:
        commits = "" if counts else ("commit " if update.lost == 1 else "commits ")
        counts.append(f"{update.lost:,} {commits}lost")
    elif update.lost is None and kind in ("force", "delete") and update.update:
        counts.append("an unknown number lost")
    return told + (f": {', '.join(counts)}" if counts else "")


def _tried(facts: GitFacts) -> str:
    return "wants to" if _waits(facts) else "tried to"


def _waits(facts: GitFacts) -> bool:
    """It is held, and somebody may still answer."""
    undecided = facts.approval is None and not facts.refusal
    return facts.open and facts.verdict == _HOLD and undecided


def _kind(update: Update) -> str:
    if update.update == "force" and update.forced is False:
        return "move"  # a tag: git takes every change of one for forced
    if update.update in _VERBS:
        if update.update:
            return update.update
        if _zero(update.old):
            return "create"
        if _zero(update.new):
            return "delete"
    return ""


def _accepted(facts: GitFacts, update: Update) -> bool:
    if update.report:
        return update.report == "ok"
    return _allowed(facts)


def _outcome(facts: GitFacts, update: Update) -> str:
    if update.report == "ok":
        return "the upstream accepted it" if not update.ours else "the client was told ok"
    if update.report == "ng":
        if not _allowed(facts):
            return ""  # that it was refused is said already
        teller = "the gateway refused it" if update.ours else "the upstream rejected it"
        return f"{teller}: {_cut(update.why)}" if update.why else teller
    if not _allowed(facts):
        return ""
    if facts.unpack and facts.unpack != "ok":
        return f"the upstream could not unpack it: {_cut(facts.unpack)}"
    if facts.errors:
        return f"it ended with: {_cut(facts.errors[-1])}"
    return "" if facts.open else "no report of the upstream is on record"


def _judged(facts: GitFacts) -> str:
    """``held by rule x, approved by dana (AP-3)``; "" where nothing was said."""
    rules = ", ".join(one_line(rule, 100) for rule in facts.rules[:_LISTED])
    if facts.verdict == _BLOCK:
        told = f"blocked by rule {rules}" if rules else "blocked"
        reason = facts.reason or facts.refusal
        return f"{told}: {_cut(reason)}" if reason else told
    if facts.verdict == _HOLD:
        return f"held by rule {rules}, {_approved(facts)}" if rules else f"held, {_approved(facts)}"
    return f"refused: {_cut(facts.refusal)}" if facts.refusal else ""


def _approved(facts: GitFacts) -> str:
    held = facts.approval
    if held is None:
        if _waits(facts):
            return "waits for approval"
        return f"refused: {_cut(facts.refusal)}" if facts.refusal else "nobody answered"
    yes = ", ".join(one_line(person, 100) for person in held.yes[:_LISTED])
    no = ", ".join(one_line(person, 100) for person in held.no[:_LISTED])
    number = f" ({one_line(held.id, 40)})" if held.id else ""
    if held.state == "denied" and no:
        reasons = "; ".join(_cut(reason) for reason in held.reasons if reason)
        return f"denied by {no}{number}" + (f": {reasons}" if reasons else "")
    if held.state in ("approved", "consumed"):
        return f"approved by {yes}{number}" if yes else f"approved{number}"
    told = {"expired": "which expired unanswered", "withdrawn": "and withdrawn"}.get(held.state)
    why = f": {_cut(facts.refusal)}" if facts.refusal else ""
    return f"{told or one_line(held.state, 40)}{number}{why}"


def _zero(oid: str) -> bool:
    return bool(oid) and not oid.strip("0")


def _short(oid: str) -> str:
    return oid[:7] if _HEX.fullmatch(oid) else one_line(oid, 12) or "?"


def _count(number: int | None, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")
