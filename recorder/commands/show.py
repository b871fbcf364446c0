"""recorder show: the facts about one session."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from recorder import show_git, verify
from recorder.away import away_of
from recorder.catalog import describe
from recorder.commands.judging import Judging
from recorder.commands.opening import add_id, add_json, recording_of
from recorder.errors import FormatError
from recorder.evidence.anchors import Trust
from recorder.git_facts import gather
from recorder.git_story import PROTOCOL
from recorder.parted import files_of
from recorder.reader import Recording, decoded
from recorder.records import CommandEntry
from recorder.render import Printer, amount, one_line
from recorder.timeline import command_line, first_line

_MOST = 50
_STYLES = {3: "red", 2: "yellow", 1: "yellow"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "show",
        help="the facts about one session",
        description="Shows who, where and when, how it ended, its commands with their verdicts "
        f"(the first {_MOST}; all: recorder events), and whether the recording verifies, also by "
        "the ledger where there is one. Of a "
        "git-ssh session: in sentences what was pushed or fetched, and what came of it.",
    )
    add_id(parser)
    add_json(parser)
    parser.set_defaults(do=run, pages=True)


def run(args: argparse.Namespace) -> int:
    """Show it; the exit code is that of verify."""
    out = Printer()
    recording = recording_of(args)
    line = describe(recording)
    judging = Judging(args.dir, Trust())
    verdict, fault = judging.of(recording), judging.fault
    if fault is not None:
        verdict = replace(verdict, scope=f"{verdict.scope}; {fault.message}: {fault.status}")
    header = recording.header
    more: dict[str, object] = {
        key: header[key]
        for key in ("gateway", "listener", "policy", "durability", "originals")
        if key in header
    }
    auditors = [
        str(item.get("auditor")) for item in header.get("keys", []) if isinstance(item, dict)
    ]
    git = gather(recording) if line.protocol == PROTOCOL else None
    if args.json:
        more["away"] = _away(line.path) or None
        if git is not None:
            more["git"] = show_git.as_dict(git)
        told = {"status": verdict.status, "message": verdict.message, "offset": verdict.offset,
                "part": verdict.part}  # fmt: skip
        out.json(
            "session-facts",
            {
                **line.as_dict(),
                **more,
                "auditors": auditors,
                "verify": {**told, "scope": verdict.scope},
            },
        )
        return verify.EXIT[(fault or verdict).status]
    counts = f"{line.allowed} allowed, {line.masked} masked"
    counts += f", {line.held} held, {line.blocked} blocked"
    facts = [
        ("session", line.session),
        ("started", line.started),
        ("status", f"{line.status}: {line.reason}" if line.reason else line.status),
        ("principal", line.principal),
        ("issuer", line.issuer),
        ("kind", line.kind),
        ("groups", ", ".join(line.groups)),
        ("run", line.run),
        ("tags", " ".join(f"{k}={v}" for k, v in sorted(line.tags.items()))),
        ("target", line.target),
        ("protocol", line.protocol),
        ("database" if git is None else "repository", line.database),
        ("peer", line.peer),
        *((key, str(value)) for key, value in more.items()),
        ("auditors", ", ".join(auditors)),
        ("bytes", amount(line.bytes) if line.bytes else ""),
        ("commands", counts),
        ("verify", f"{verdict.status}: {verdict.message}"),
        ("scope", verdict.scope),
        ("file", line.path),
        ("away", _away(line.path)),
    ]  # fmt: skip
    for key, value in facts:
        if value:
            out.line(f"{out.paint(key.ljust(11), 'dim')}{one_line(value)}")
    if git is not None:
        out.line()
        for text in show_git.sentences(git, line.principal, line.run):
            out.line(text)
    _commands(out, recording, git is not None)
    return verify.EXIT[(fault or verdict).status]


def _away(path: str) -> str:
    """Which of the session's files are in a store only; "" for none."""
    try:
        notes = [(p, away_of(p)) for p in files_of(Path(path)) if not p.exists()]
    except OSError as error:
        return str(error)
    gone = [(p.name, note) for p, note in notes if note is not None]
    if not gone:
        return ""
    name, note = gone[0]
    more = f" and {len(gone) - 1} more of its files" if len(gone) > 1 else ""
    return f"{name}{more}: freed {note.freed}, kept in {note.store} as {note.key}"


def _commands(out: Printer, recording: Recording, first: bool) -> None:
    count = 0
    try:
        for record in decoded(recording):
            for entry in record.entries:
                if not isinstance(entry, CommandEntry):
                    continue
                count += 1
                if count == 1:
                    out.line()
                if count <= _MOST:
                    shown = command_line(first_line(entry) if first else entry)
                    text = f"{record.at / 1e9:10.3f}  {shown}"
                    style = _STYLES.get(entry.verdict)
                    out.line(out.paint(text, style) if style else text)
    except FormatError as error:
        out.line(f"({one_line(str(error))})")
    if count > _MOST:
        out.line(f"… {count - _MOST} more: recorder events {recording.header['session']}")
