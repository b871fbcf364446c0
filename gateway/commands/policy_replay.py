"""``gateway policy replay``: what would another policy have said of recorded commands?

Each command on record is understood again by its protocol and judged, for the recorded
principal and target and at its recorded time, by the new policy. Nothing is sent anywhere.

What a live session knows and a recording does not say: token claims beyond subject, groups,
run and tags; what names meant on the server (views, functions, search paths); of git,
the paths and sizes of a push. Rules that ask for those read them as unknown. Where that
alone changes a verdict it shows as a difference under the very policy that was in force;
those are told apart as ``by what is not on record``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import protocols
from gateway.commands import CommandError
from gateway.policy.errors import PolicyErrors
from gateway.policy.judge import judge
from gateway.policy.load import compile_policy
from gateway.policy.policy import Policy
from gateway.policy.principal import Principal
from gateway.policy.verdicts import Verdict
from protocols.contract import Command, Parameter, Part, Phase
from recorder.catalog import Line, instant
from recorder.commands.filters import add_filters, chosen
from recorder.errors import FormatError, UnknownSessionError
from recorder.reader import Recording, decoded, open_recording
from recorder.records import CommandEntry, Event
from recorder.render import Printer, one_line

DIFFERS = 5
_STRICT = (Verdict.ALLOW, Verdict.MASK, Verdict.HOLD, Verdict.BLOCK)
_VALUES = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b|\b[0-9a-f]{7,64}\b")
_GROUPS = 100_000
"""That many at most are kept apart; further ones are told one by one."""
_BINARY = re.compile(r"([A-Za-z0-9_.]+):((?:[0-9a-f]{2})*)")
_GIT_UNKNOWN = ("paths", "authors", "committers", "pack_bytes", "objects", "largest_file",
                "secrets", "secret_paths", "symlinks", "submodules", "push_options")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """One command, then and now."""

    session: str
    at: int
    number: int
    text: str
    principal: str
    target: str
    old: Verdict
    old_rules: tuple[str, ...]
    new: Verdict
    new_rules: tuple[str, ...]
    reason: str
    masks: tuple[tuple[str, ...], tuple[str, ...]]
    same_policy: bool

    @property
    def changed(self) -> bool:
        """Another verdict, or other masks."""
        masks = self.masks[0] != self.masks[1] and self.new is not Verdict.BLOCK
        return self.old != self.new or masks

    def as_dict(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "at": self.at / 1e9,
            "command": self.number,
            "text": self.text,
            "principal": self.principal,
            "target": self.target,
            "old": {"verdict": str(self.old), "rules": self.old_rules, "masks": self.masks[0]},
            "new": {"verdict": str(self.new), "rules": self.new_rules, "masks": self.masks[1]},
            "reason": self.reason,
            "by_what_is_not_on_record": self.same_policy,
        }


@dataclass(slots=True)
class Group:
    """Commands that would fare alike; ``first`` is one of them."""

    first: Judged
    count: int = 0
    sessions: set[str] = field(default_factory=set)

    @property
    def order(self) -> tuple[int, int, str]:
        """What would be let through that was not comes first, then what is most."""
        opens = _STRICT.index(self.first.new) < _STRICT.index(self.first.old)
        return (0 if opens else 1, -self.count, self.first.text)


@dataclass(slots=True)
class Sums:
    sessions: int = 0
    commands: int = 0
    changed: int = 0
    unsure: int = 0
    unread: list[str] = field(default_factory=list)
    ways: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    groups: dict[tuple[object, ...], Group] = field(default_factory=dict)


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser], usual: Path) -> None:
    """Declare the action; ``usual`` is the state directory unless ``--dir`` says."""
    action = actions.add_parser(
        "replay",
        help="what would another policy have said of recorded commands?",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 nothing would have been different, 5 something would, 1 failed",
    )
    action.add_argument("file", type=Path, metavar="POLICY")
    action.add_argument("--session", dest="id", action="append", metavar="ID",
        help="this session (repeat; default: all that are chosen)")  # fmt: skip
    action.add_argument("--dir", type=Path, default=usual, metavar="DIR",
        help="the state directory (WIREWARDEN_STATE; else ./wirewarden-state)")  # fmt: skip
    add_filters(action)
    for option in action._actions:
        if option.dest == "run":  # what runs a command of ours goes by that name
            option.dest = "of_run"
    action.add_argument("--summary", action="store_true",
        help="tell of commands that differ in values only, and would fare alike, as one: first "
        "what would be let through that was not, then the most frequent")  # fmt: skip
    action.add_argument("--all", action="store_true", help="tell of commands judged alike too")
    action.add_argument("--json", action="store_true", help="one JSON object per line")
    action.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Judge them all."""
    try:
        policy = _load(arguments.file)
    except (PolicyErrors, OSError, UnicodeDecodeError) as error:
        raise CommandError(str(error)) from error
    out, sums = Printer(), Sums()
    if re.search(r"\bclaims\b", arguments.file.read_text("utf-8")):
        print("gateway: this policy asks for claims, which are not on record: they are unknown",
              file=sys.stderr)  # fmt: skip
    for name in arguments.id or [row.session for row in _chosen(arguments)]:
        try:
            recording = open_recording(arguments.dir, name)
        except UnknownSessionError as error:
            raise CommandError(str(error)) from error
        except (FormatError, OSError) as error:
            sums.unread.append(f"{name}: {error}")
            continue
        sums.sessions += 1
        try:
            for found in judged(recording, policy):
                _tell(out, arguments, found, sums)
        except FormatError as error:
            sums.unread.append(f"{name}: {error}")
        finally:
            recording.close()
    _tell_groups(out, arguments, sums)
    _sum_up(out, arguments, policy, sums)
    if sums.unread:
        return 1
    return DIFFERS if sums.changed else 0


def _chosen(arguments: argparse.Namespace) -> Iterator[Line]:
    return chosen(argparse.Namespace(**(vars(arguments) | {"run": arguments.of_run})))


def _load(path: Path) -> Policy:
    kinds = [protocols.load(name) for name in protocols.NAMES]
    return compile_policy(
        path.read_text(encoding="utf-8"),
        source=str(path),
        actions={kind.family: (kind.actions, kind.facts) for kind in kinds},
    )


def judged(recording: Recording, policy: Policy) -> Iterator[Judged]:
    """Every command of ``recording`` under ``policy``. FormatError where it breaks."""
    header = recording.header
    session, protocol = str(header["session"]), str(header.get("protocol", ""))
    if protocol not in protocols.NAMES:
        return
    understand = lru_cache(maxsize=1024)(protocols.load(protocol).parts)
    principal, target = Principal("", ""), str(header.get("target", ""))
    pushes: list[Event] = []
    begun = datetime.fromisoformat(instant(header["wall"]))
    for record in decoded(recording):
        for entry in record.entries:
            if isinstance(entry, Event):
                if entry.kind == "identity":
                    principal = _principal(entry)
                elif entry.kind == "destination":
                    target = str(entry.fields.get("target", target))
                elif entry.kind == "push":
                    pushes.append(entry)
            elif isinstance(entry, CommandEntry) and entry.text:
                if protocol == "git-ssh":
                    text, pushes = git_line(entry.text, pushes), []
                    parts = understand(text)
                else:
                    parts = understand(entry.text)
                when = begun + timedelta(microseconds=record.at // 1000)
                yield _judge(session, record.at, entry, parts, principal, target, policy, when)


def _judge(  # noqa: PLR0917
    session: str,
    at: int,
    entry: CommandEntry,
    parts: tuple[Part, ...],
    principal: Principal,
    target: str,
    policy: Policy,
    when: datetime,
) -> Judged:
    if entry.cut:
        parts = (Part(f"{parts[0].action.partition('.')[0] if parts else 'sql'}.unparsed", (), {},
                      False, "only its beginning is on record"),)  # fmt: skip
    phase = Phase(entry.phase) if entry.phase in Phase._value2member_map_ else Phase.RUN
    parameters = tuple(_parameter(text) for text in entry.parameters or ())
    command = Command(entry.number, phase, entry.text, parts, parameters)
    now = judge(command, principal, target, policy, when)
    return Judged(
        session, at, entry.number, entry.text, principal.subject, target,
        Verdict(entry.verdict), entry.rules, now.verdict, now.rules, now.reason,
        (entry.masks, now.masks), entry.policy == policy.version,
    )  # fmt: skip


def _principal(event: Event) -> Principal:
    f = event.fields
    tags, groups = f.get("tags"), f.get("groups")
    return Principal(
        subject=str(f.get("subject", "")),
        issuer=str(f.get("issuer", "")),
        kind=str(f.get("kind", "person")),
        groups=frozenset(map(str, groups)) if isinstance(groups, list) else frozenset(),
        run=str(f.get("run", "")),
        tags={str(k): str(v) for k, v in tags.items()} if isinstance(tags, dict) else {},
    )


def _parameter(text: str | None) -> Parameter:
    """A parameter from how it was shown: text, or ``type:hex``."""
    if text is None:
        return Parameter(None)
    found = _BINARY.fullmatch(text)
    if found:
        return Parameter(bytes.fromhex(found[2]), "binary", found[1])
    return Parameter(text.encode("utf-8", "surrogateescape"))


def git_line(text: str, pushes: list[Event]) -> str:
    """A recorded command of git in the words that ``KIND.parts`` reads: of a push, its
    events say more than its text does."""
    words = text.split()
    if words[:1] == ["push"] and pushes:
        repository = str(pushes[0].fields.get("repository", ""))
        unknown = " ".join(f"{name}=?" for name in _GIT_UNKNOWN)
        updates: list[str] = []
        for event in pushes:
            f = event.fields
            if "ref" not in f:
                return "push of more updates than are on record"
            facts = " ".join(
                f"{name}={_word(f.get(name))}"
                for name in ("old", "new", "forced", "commits", "lost")
            )
            ref = str(f["ref"]).replace("%", "%25").replace(" ", "%20").replace(";", "%3B")
            update = f.get("update") or "?"
            updates.append(f"{update} {ref} {facts}" + ("" if updates else f" {unknown}"))
        return f"push {repository} {'; '.join(updates)}"
    if words[:1] in (["list"], ["archive"]) and len(words) > 1:
        return f"{words[0]} {words[1].rstrip(':')}"
    if words[:1] == ["fetch"] and len(words) > 1:
        return f"fetch {words[1].rstrip(':')} wants=? depth=? filter=? version=?"
    return text


def _word(value: object) -> str:
    if value is None:
        return "?"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tell(out: Printer, arguments: argparse.Namespace, found: Judged, sums: Sums) -> None:
    sums.commands += 1
    if not found.changed:
        if not arguments.all:
            return
    elif found.same_policy:
        sums.unsure += 1
    else:
        sums.changed += 1
        sums.ways[f"{found.old} -> {found.new}"] += 1
        sums.rules.update(found.new_rules)
    if arguments.summary and _grouped(found, sums):
        return
    if arguments.json:
        out.json("policy-replay-item", found.as_dict())
        return
    way = str(found.new) if found.old == found.new else f"{found.old} → {found.new}"
    style = {Verdict.BLOCK: "red", Verdict.ALLOW: "green"}.get(found.new, "yellow")
    rules = f"({', '.join(found.old_rules)}) → ({', '.join(found.new_rules)})"
    sure = "  by what is not on record" if found.changed and found.same_policy else ""
    out.line(f"{found.session}  {found.at / 1e9:9.3f}  {out.paint(way, style)}  "
             f"{one_line(rules)}{sure}")  # fmt: skip
    out.line(f"    {one_line(found.principal)} on {one_line(found.target)}: "
             f"{one_line(found.text, 160)}")  # fmt: skip
    if found.masks[0] != found.masks[1] and found.new is not Verdict.BLOCK:
        out.line(f"    masks: {', '.join(found.masks[0]) or 'none'} → "
                 f"{', '.join(found.masks[1]) or 'none'}")  # fmt: skip
    if found.reason:
        out.line(f"    {one_line(found.reason, 200)}")


def _grouped(found: Judged, sums: Sums) -> bool:
    """Taken into a group. False when there are too many."""
    key = (_VALUES.sub("?", found.text), found.target, found.old, found.old_rules, found.new,
           found.new_rules, found.masks, found.same_policy)  # fmt: skip
    group = sums.groups.get(key)
    if group is None:
        if len(sums.groups) >= _GROUPS:
            return False
        group = sums.groups[key] = Group(found)
    group.count += 1
    group.sessions.add(found.session)
    return True


def _tell_groups(out: Printer, arguments: argparse.Namespace, sums: Sums) -> None:
    for group in sorted(sums.groups.values(), key=lambda group: group.order):
        first = group.first
        if arguments.json:
            told = first.as_dict()
            names = ("old", "new", "reason", "text", "target", "session",
                     "by_what_is_not_on_record")  # fmt: skip
            out.json("policy-replay-group", {
                "count": group.count, "sessions": len(group.sessions),
                **{name: told[name] for name in names},
            })  # fmt: skip
            continue
        way = str(first.new) if first.old == first.new else f"{first.old} → {first.new}"
        style = {Verdict.BLOCK: "red", Verdict.ALLOW: "green"}.get(first.new, "yellow")
        rules = f"({', '.join(first.old_rules)}) → ({', '.join(first.new_rules)})"
        sure = "  by what is not on record" if first.changed and first.same_policy else ""
        out.line(f"{group.count:>7} in {len(group.sessions)} sessions  {out.paint(way, style)}  "
                 f"{one_line(rules)}{sure}")  # fmt: skip
        out.line(f"        on {one_line(first.target)}: {one_line(first.text, 160)}")
        if first.reason:
            out.line(f"        {one_line(first.reason, 200)}")


def _sum_up(out: Printer, arguments: argparse.Namespace, policy: Policy, sums: Sums) -> None:
    for name in sums.unread:
        print(f"gateway: {one_line(name)}", file=sys.stderr)
    if arguments.json:
        out.json("policy-replay-summary", {
            "policy": policy.version, "sessions": sums.sessions, "commands": sums.commands,
            "changed": sums.changed, "by_what_is_not_on_record": sums.unsure,
            "ways": dict(sums.ways), "rules": dict(sums.rules), "unread": len(sums.unread),
        })  # fmt: skip
        return
    ways = ", ".join(f"{n} {way.replace('->', '→')}" for way, n in sums.ways.most_common())
    ways = f" ({ways})" if ways else ""
    out.line(f"{sums.sessions} sessions, {sums.commands} commands: "
             f"{sums.changed} would have another verdict or mask{ways}")  # fmt: skip
    if sums.unsure:
        out.line(f"{sums.unsure} more differ under the very policy that was in force: a live "
                 "session knew what the record does not say")  # fmt: skip
