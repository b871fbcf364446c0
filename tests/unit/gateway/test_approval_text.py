"""The card: whole or not approvable, and inert whatever the requester wrote."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.approval_rows import Approval, ApprovalDecision, ApprovalRequest, ApprovalState
from gateway.approval_text import CARD_LINES, inert, refusal, render
from gateway.policy.verdicts import ApprovalNeed
from protocols.contract import Parameter


def approval(text="update t set a = 1", parameters=(), **more):
    fields = {
        "session": "01S", "run": "run-7", "subject": "agent-1", "issuer": "github",
        "groups": ("agents",), "target": "prod-db", "protocol": "postgres", "digest": "d" * 64,
        "needs": (ApprovalNeed("writes", ("dba",), 2),), "rules": ("writes",),
        "reason": "writes wait", "policy": "p" * 64,
    }  # fmt: skip
    request = ApprovalRequest(text=text, parameters=parameters, **{**fields, **more})
    said = ApprovalDecision(1.0, "bob", "corp", frozenset({"dba"}), True, "fine\x1b[2J")
    return Approval("AP-1", request, ApprovalState.PENDING, 0.0, 60.0, "I", None, "", (said,))


def test_everything_is_on_the_card():
    card = render(
        approval(
            parameters=(Parameter(b"x"), Parameter(None), Parameter(b"\0\xff", "binary", "bytea"))
        )
    )
    assert card.whole
    for part in (
        "AP-1", "agent-1 (github)", "agents", "run-7", "01S", "prod-db (postgres)", "writes wait",
        "p" * 64, "d" * 64, "2 of dba", "approved  by bob (corp)", "  | update t set a = 1",
        '$1 text = 1 bytes "x"', "$2 text = NULL", "$3 bytea = 2 bytes, hex 00ff",
        "1970-01-01 00:01:00 UTC",
    ):  # fmt: skip
        assert part in card.text, part
    assert "\x1b" not in card.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a⟨U+001B⟩[31mb"),
        ("a\rb", "a⟨U+000D⟩b"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\u2066b", "a⟨U+2066⟩b"),
        ("a\u200bb\ufeff", "a⟨U+200B⟩b⟨U+FEFF⟩"),
        ("a\u00a0b", "a⟨U+00A0⟩b"),
        ("a\u2028b", "a⟨U+2028⟩b"),
        ("a\u0301", "a⟨U+0301⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\u3164", "⟨U+3164⟩"),
        ("\udcff", "⟨byte FF⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("⟨U+001B⟩", "⟨U+27E8⟩U+001B⟨U+27E9⟩"),
        ("\t", "⟨U+0009⟩"),
        ("<b>*ž 漢 €*</b>", "<b>*ž 漢 €*</b>"),
    ],
)
def test_inert(text, shown):
    assert inert(text) == shown


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_inert_is_printable_and_tells_texts_apart(one, two):
    shown = inert(one)
    assert all(c == " " or unicodedata.category(c)[0] in "LNPS" for c in shown)
    assert (shown == inert(two)) == (one == two)


def test_danger_behind_byte_500_is_shown():
    assert (
        "drop table users"
        in render(approval("select 1 --" + "x" * 5000 + "\n; drop table users")).text
    )


@pytest.mark.parametrize(
    "text", ["select 1\n" * CARD_LINES + "; drop table users", "x" * 40_000 + "; drop table users"]
)
def test_what_is_not_whole_cannot_be_approved(text):
    long = approval(text)
    card = render(long)
    assert not card.whole
    assert "can't be approved like this" in card.text
    assert "read all of it" in refusal(long, seen_whole=False)
    assert refusal(long, seen_whole=True) == ""
    assert refusal(approval(), seen_whole=False) == ""
    everything = render(long, whole=True)
    assert everything.whole
    assert "drop table users" in everything.text


def test_the_command_cannot_pose_as_the_card():
    card = render(approval("select 1\nNOT WHOLE\ndigest    fake", subject="x\ndigest    fake"))
    assert [line for line in card.text.split("\n") if line.startswith("digest")] == [
        "digest    " + "d" * 64
    ]
    assert card.whole


def test_letters_that_may_look_like_others_are_noted():
    assert "outside ASCII" in render(approval("drop table us\u0435rs")).text
    assert "outside ASCII" not in render(approval()).text
