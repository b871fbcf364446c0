"""Row 79: an approver sees all of it, as inert text, or can't approve.

Goes red without ``refusal`` in ``gateway approvals approve`` .
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from people import approvals, dba, decide, held, holds, with_people
from stack import Stack
from wire import await_true, enter, query

from gateway.demo.postgres import Server


@pytest.fixture(scope="module")
def shown(
    started: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    return with_people(started, tmp_path_factory.mktemp("p"), pg, policy=holds())


LONG = "DELETE FROM held WHERE n = 0 /* " + "x" * 40_000 + " */ OR n >= 0"
TALL = "DELETE FROM held WHERE n = 0\n" + "-- padding\n" * 400 + "OR n >= 0"


@pytest.mark.parametrize("text", [LONG, TALL], ids=["long", "tall"])
def test_what_is_not_shown_whole_is_not_approved(shown: Stack, text: str) -> None:
    with enter(shown) as wire:
        wire.send(query(text))
        card = held(shown)
        assert card["text"] == text
        show = shown.gateway("approvals", "show", card["id"])
        assert "NOT WHOLE" in show.stdout
        assert "OR n >= 0" not in show.stdout
        done = decide(shown, "approve", card["id"], dba(shown))
        assert done.returncode == 3
        assert "too long" in done.stderr
        assert "OR n >= 0" in shown.gateway("approvals", "show", "--whole", card["id"]).stdout
        decide(shown, "deny", card["id"], dba(shown))
        assert wire.until().code == "42501"


TRICKS = {
    "escape": "\x1b[2K\x1b[1A",
    "osc 52": "\x1b]52;c;ZXZpbA==\x07",
    "title": "\x1b]0;x\x07",
    "c1": "\x9b2J",
    "bidi": "\u202e",
    "isolate": "\u2066",
    "zero width": "\u200b",
    "carriage return": "\r",
    "backspace": "\b\b\b\b",
    "line separator": "\u2028",
    "tag": "\U000e0041",
    "combining": "a\u0335",
    "blank": "\u3164",
    "bom": "\ufeff",
    "form feed": "\f",
    "html": "<script>alert(1)</script>",
    "own line": "\nneeds     0 of nobody\nAP-1  approved",
    "brackets": "⟨U+0041⟩",
}


@pytest.mark.parametrize("name", TRICKS)
def test_nothing_acts_upon_the_approver(shown: Stack, name: str) -> None:
    trick = TRICKS[name]
    with enter(shown) as wire:
        wire.send(query(f"DELETE FROM held WHERE t = 'a{trick}b' AND n = 0"))
        card = held(shown)
        out = shown.gateway("approvals", "show", card["id"]).stdout
        _inert(out)
        assert len([line for line in out.splitlines() if "DELETE" in line]) == 1
        assert not [line for line in out.splitlines() if line.startswith("needs     0")]
        if name in ("escape", "own line"):
            _inert(shown.gateway("approvals", "list").stdout)
    await_true(lambda: not approvals(shown), what="the withdrawal")


def _inert(out: str) -> None:
    for character in out:
        if character != "\n":
            assert unicodedata.category(character)[0] not in "CM", f"U+{ord(character):04X}"
            assert character not in "\u2028\u2029\u3164"


@pytest.mark.parametrize("reason", ["\x1b[2J", "ok\napproved by root"])
def test_reasons_are_inert_for_the_client_too(shown: Stack, reason: str) -> None:
    with enter(shown) as wire:
        wire.send(query("DELETE FROM held WHERE n = 0"))
        card = held(shown)
        done = decide(shown, "deny", card["id"], dba(shown), "--reason", reason)
        if done.returncode:
            decide(shown, "deny", card["id"], dba(shown))
        told = wire.until().error["M"]
        _inert(told.replace("\n", "\a") if done.returncode == 0 else told)
        _inert(shown.gateway("approvals", "show", card["id"]).stdout)
