"""Text beside the rows: errors, notices, notifications, reports.

It may quote the values that a mask hides, so while masked commands are in
flight it is replaced by what its SQLSTATE says. Errs to less text: a message
that quotes nothing is withheld too.
"""

from __future__ import annotations

from typing import Final

from protocols.contract import Screen
from protocols.postgres.frames import broken, frame, lied, read_fields, write_fields

CLASSES: Final = {
    b"00": "successful completion",
    b"01": "warning",
    b"02": "no data",
    b"03": "SQL statement not yet complete",
    b"08": "connection exception",
    b"09": "triggered action exception",
    b"0A": "feature not supported",
    b"0B": "invalid transaction initiation",
    b"0L": "invalid grantor",
    b"0P": "invalid role specification",
    b"20": "case not found",
    b"21": "cardinality violation",
    b"22": "data exception",
    b"23": "integrity constraint violation",
    b"24": "invalid cursor state",
    b"25": "invalid transaction state",
    b"26": "invalid SQL statement name",
    b"27": "triggered data change violation",
    b"28": "invalid authorization specification",
    b"2B": "dependent privilege descriptors still exist",
    b"2D": "invalid transaction termination",
    b"2F": "SQL routine exception",
    b"34": "invalid cursor name",
    b"38": "external routine exception",
    b"39": "external routine invocation exception",
    b"3B": "savepoint exception",
    b"3D": "invalid catalog name",
    b"3F": "invalid schema name",
    b"40": "transaction rollback",
    b"42": "syntax error or access rule violation",
    b"44": "WITH CHECK OPTION violation",
    b"53": "insufficient resources",
    b"54": "program limit exceeded",
    b"55": "object not in prerequisite state",
    b"57": "operator intervention",
    b"58": "system error",
    b"72": "snapshot failure",
    b"F0": "configuration file error",
    b"HV": "foreign data wrapper error",
    b"P0": "PL/pgSQL error",
    b"XX": "internal error",
}
"""The classes of SQLSTATE, PostgreSQL manual, appendix A."""

_TEXTS: Final = frozenset(b"DHWqp")
_NAMES: Final = frozenset(b"stcdn")
_RAISERS: Final = (b"exec_stmt_", b"PLy_", b"plperl_", b"pltcl_", b"do_util_")
"""Routines in which a function's own code words the error, names and all."""
_INSIDE: Final = frozenset(b"Wqp")
"""Fields of an error that happened inside of something else than the text."""
_ABOUT_TEXT: Final = frozenset((b"aclcheck_error",))
"""Routines whose errors name an object of the catalog, and no place."""

REPORTS: Final = frozenset((b"application_name", b"search_path"))
"""Settings that the server reports and a client can put any text into."""
_TRUTHS: Final = {b"client_encoding": b"UTF8", b"standard_conforming_strings": b"on"}
_MOST: Final = 1000

WITHHELD: Final = "(text withheld: it may quote masked values)"
MASKED: Final = b"[masked]"


def withheld(raw: bytes, *, keep_syntax: bool) -> bytes:
    """An ErrorResponse or NoticeResponse (a whole frame) without the texts
    that may quote values. ``keep_syntax``: the command is fully understood,
    so an error of class 42 that the server worded itself, and that points at a
    place in the text, names only what the client wrote; one without a place, or
    with a context, may be about a value (``current_setting(email)``,
    ``email::regtype``). Errors: ``WireError`` of the upstream on a malformed one."""
    fields = read_fields(raw, 5, len(raw))
    state = next(value for code, value in fields if code == 67)
    routine = next((value for code, value in fields if code == 82), b"")
    raised = not routine or routine.startswith(_RAISERS)
    codes = {code for code, _ in fields}
    about_text = codes.isdisjoint(_INSIDE) and (80 in codes or routine in _ABOUT_TEXT)
    if keep_syntax and state[:2] == b"42" and not raised and about_text:
        return raw
    known = CLASSES.get(state[:2])
    kept: list[tuple[int, bytes]] = []
    for code, value in fields:
        if code in _TEXTS or (raised and code in _NAMES):
            continue
        if code == 77:
            kept.append((code, f"{known or 'error'} {WITHHELD}".encode()))
        elif code == 67 and known is None:
            kept.append((code, b"XX000"))
        else:
            kept.append((code, value))
    return write_fields(raw[0], kept)


def notification(raw: bytes) -> bytes:
    """A NotificationResponse whose payload is masked, if it has one."""
    end = len(raw)
    stop = raw.find(b"\0", 9)
    if stop < 0 or raw.find(b"\0", stop + 1) != end - 1:
        raise lied("a NotificationResponse does not end where it says")
    if stop + 2 == end:
        return raw
    return frame(65, raw[5 : stop + 1] + MASKED + b"\0")


def checked_report(raw: bytes, parameters: dict[str, str]) -> tuple[bytes, bytes]:
    """The name and the value in a ParameterStatus (a whole frame), noted in
    ``parameters``. Errors: a ``WireError`` of the client when it tells of a
    setting under which its statements can't be judged."""
    stop = raw.find(b"\0", 5)
    if stop < 0 or raw.find(b"\0", stop + 1) != len(raw) - 1:
        raise lied("a ParameterStatus does not end where it says")
    name, value = raw[5:stop], raw[stop + 1 : -1]
    truth = _TRUTHS.get(name)
    if truth is not None and value != truth:
        raise broken(f"{name.decode()} was changed; statements can't be judged with another value")
    key = name.decode("utf-8", "backslashreplace")
    if key in parameters or len(parameters) < _MOST:
        parameters[key] = value.decode("utf-8", "backslashreplace")
    return name, value


def starred(raw: bytes, screen: Screen) -> bytes:
    """``raw``, whole frames one after another, with every hit of ``screen``
    overwritten by stars. Type bytes, lengths and counts stay, and so do the
    lengths of a DataRow's values, so each frame stays well-formed."""
    hits = screen.spans(raw)
    if not hits:
        return raw
    out = bytearray(raw)
    shield = _skeleton(raw)
    for start, end in hits:
        out[start:end] = b"*" * (end - start)
    for start, end in shield:
        out[start:end] = raw[start:end]
    return bytes(out)


def _skeleton(raw: bytes) -> list[tuple[int, int]]:
    """What of ``raw`` is structure: headers, counts, lengths of values, the
    letters and ends of an error's fields."""
    parts: list[tuple[int, int]] = []
    at = 0
    size = len(raw)
    while at + 5 <= size:
        kind = raw[at]
        end = at + 1 + int.from_bytes(raw[at + 1 : at + 5], "big")
        parts.append((at, at + 5))
        if kind == 68:
            parts.append((at + 5, at + 7))
            pos = at + 7
            while pos + 4 <= min(end, size):
                width = int.from_bytes(raw[pos : pos + 4], "big", signed=True)
                parts.append((pos, pos + 4))
                pos += 4 + max(width, 0)
        elif kind in b"EN":
            pos = at + 5
            while pos < min(end, size) and raw[pos]:
                stop = raw.find(b"\0", pos, min(end, size))
                stop = min(end, size) - 1 if stop < 0 else stop
                parts.extend(((pos, pos + 1), (stop, stop + 1)))
                pos = stop + 1
        at = max(end, at + 5)
    return parts
