"""The laws of DESIGN.md, on every protocol of the table.

Tiling, and that nothing passes an unanswered question, are checked after every
call of every run, see ``stand.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand import CREDENTIAL, Stand, Way
from subject import Script, Subject, load

import protocols
from protocols.errors import LimitError
from protocols.wire import Side

SUBJECTS = {name: load(name) for name in protocols.NAMES}
SCRIPTS = [(name, script) for name, subject in SUBJECTS.items() for script in subject.scripts]
over_scripts = pytest.mark.parametrize(("protocol", "name"), SCRIPTS)
over_protocols = pytest.mark.parametrize("protocol", protocols.NAMES)
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def play(protocol: str, name: str, plan: Way | None = None) -> Stand:
    subject = SUBJECTS[protocol]
    return Stand(protocol, subject, plan or Way()).run(subject.scripts[name])


def script_of(protocol: str, name: str) -> tuple[Subject, Script]:
    return SUBJECTS[protocol], SUBJECTS[protocol].scripts[name]


@over_scripts
def test_a_script_is_not_empty(protocol: str, name: str) -> None:
    """The kit itself: each script gets past its login and is answered."""
    subject, script = script_of(protocol, name)
    stand = play(protocol, name)
    assert stand.error is None
    assert "Command" in stand.asked()
    assert bytes(stand.arrived[0]) == b"".join(script.turns)
    assert len(stand.arrived[1]) > stand.logged_in[3]
    subject.refusals(bytes(stand.sent[0]))


@over_scripts
@pytest.mark.parametrize("late", [False, True])
def test_bytewise(protocol: str, name: str, late: bool) -> None:
    base = play(protocol, name)
    assert play(protocol, name, Way(cut=1, late=late)).outcome() == base.outcome()


@over_scripts
def test_late_answers(protocol: str, name: str) -> None:
    assert play(protocol, name, Way(late=True)).outcome() == play(protocol, name).outcome()


@over_scripts
@given(seed=st.integers(), late=st.booleans(), masked=st.booleans())
@quick
def test_any_cut(protocol: str, name: str, seed: int, late: bool, masked: bool) -> None:
    base = play(protocol, name, Way(masked=masked))
    cut = play(protocol, name, Way(cut=Random(seed), late=late, masked=masked))
    assert cut.outcome() == base.outcome()


@over_scripts
@pytest.mark.parametrize("cut", [0, 1, 7])
def test_allow_is_the_identity(protocol: str, name: str, cut: int) -> None:
    """But for what the script says to the gateway itself."""
    _, script = script_of(protocol, name)
    stand = play(protocol, name, Way(refuse=False, cut=cut))
    client, upstream, from_client, from_upstream = stand.logged_in
    assert from_client
    same = stand.sent[1][upstream:] == stand.arrived[0][from_client:]
    assert same is script.identity
    if same:
        assert stand.sent[0][client:] == stand.arrived[1][from_upstream:]


@over_scripts
@pytest.mark.parametrize("cut", [0, 1, 7])
def test_a_plan_without_masks_shows_what_no_plan_shows(protocol: str, name: str, cut: int) -> None:
    """But for errors, whose text a masked session withholds. The server may
    be asked more (what columns there are), the client sees nothing of it."""
    _, script = script_of(protocol, name)
    bare = play(protocol, name, Way(refuse=False))
    plan = play(protocol, name, Way(refuse=False, masked=True, cut=cut))
    assert (plan.sent[0] == bare.sent[0]) is not script.errors
    if protocols.load(protocol).can_mask and name in SUBJECTS[protocol].results:
        assert "Result" in plan.asked()


@over_protocols
@pytest.mark.parametrize("late", [False, True])
def test_a_refusal_moves_nothing_and_is_one_reply(protocol: str, late: bool) -> None:
    subject = SUBJECTS[protocol]
    refused = 0
    for name in subject.scripts:
        stand = play(protocol, name, Way(late=late))
        assert subject.forbidden.encode() not in stand.sent[1]
        assert subject.refusals(bytes(stand.sent[0])) == stand.refused
        refused += stand.refused
    assert refused >= 3


@over_scripts
@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("late", [False, True])
def test_the_end_of_stream_at_every_offset(
    protocol: str, name: str, side: Side, late: bool
) -> None:
    whole = play(protocol, name)
    total = len(whole.arrived[side])
    for at in range(total):
        stand = play(protocol, name, Way(stop=(side, at), late=late))
        assert stand.error is None
        if not stand.conversation.closing:
            # What was asked for may still come: the end of both is the end.
            stand.call(lambda: stand.conversation.receive(side.other, b""))  # noqa: B023
        assert stand.conversation.closing, at
        assert stand.conversation.unforwarded == (0, 0)
        assert stand.conversation.moves() == []


@over_protocols
def test_limits_name_the_guilty_side(protocol: str) -> None:
    subject = SUBJECTS[protocol]
    name = next(iter(subject.scripts))
    assert {side for side, _ in subject.oversized} == set(Side)
    for side, raw in subject.oversized:
        script = subject.scripts[name]
        stand = Stand(protocol, subject)
        stand.run(Script(script.turns[: script.login + 1], script.login))
        assert stand.error is None
        stand.feed(side, raw)
        assert isinstance(stand.error, LimitError), (side, raw[:40])
        assert stand.error.side is side
        assert stand.conversation.moves() == []


@st.composite
def mutations(draw: st.DrawFn) -> tuple[Side, int, str, bytes]:
    side = draw(st.sampled_from(list(Side)))
    kind = draw(st.sampled_from(["flip", "insert", "delete", "truncate", "random"]))
    return side, draw(st.integers(0, 4000)), kind, draw(st.binary(min_size=1, max_size=30))


def mutated(raw: bytes, at: int, kind: str, noise: bytes) -> bytes:
    if kind == "flip":
        return raw[:at] + bytes([raw[at] ^ (noise[0] or 1)]) + raw[at + 1 :]
    if kind == "insert":
        return raw[:at] + noise + raw[at:]
    if kind == "delete":
        return raw[:at] + raw[at + len(noise) :]
    return raw[:at] if kind == "truncate" else raw[:at] + noise


@over_scripts
@given(change=mutations(), late=st.booleans(), masked=st.booleans(), seed=st.none() | st.integers())
@settings(quick, max_examples=120)
def test_only_wire_errors_under_mutation(
    protocol: str,
    name: str,
    change: tuple[Side, int, str, bytes],
    late: bool,
    masked: bool,
    seed: int | None,
) -> None:
    side, place, kind, noise = change
    total = len(play(protocol, name).arrived[side])
    place %= max(1, total)
    seen = 0

    def mutate(of: Side, raw: bytes) -> bytes:
        nonlocal seen
        if of is not side:
            return raw
        start, seen = seen, seen + len(raw)
        return mutated(raw, place - start, kind, noise) if start <= place < seen else raw

    cut = 0 if seed is None else Random(seed)
    stand = Stand(protocol, SUBJECTS[protocol], Way(cut, late, masked, mutate=mutate))
    stand.run(SUBJECTS[protocol].scripts[name])
    if stand.error is not None:
        # Where a client's words depend on the upstream's, a script that goes on as if
        # they had not been changed is at fault itself.
        excused = side is Side.UPSTREAM and SUBJECTS[protocol].waits
        assert stand.error.side is side or excused, stand.error
        assert stand.conversation.closing
        stand.conversation.receive(side, b"more")
        stand.arrived[side] += b"more"
        stand.drain()
    assert SUBJECTS[protocol].forbidden.encode() not in stand.sent[1]


@over_protocols
@given(noise=st.binary(min_size=1, max_size=200))
@settings(quick, max_examples=150)
def test_only_wire_errors_under_noise(protocol: str, noise: bytes) -> None:
    stand = Stand(protocol, SUBJECTS[protocol])
    stand.feed(Side.CLIENT, noise)
    assert stand.error is None or stand.error.side is Side.CLIENT


@over_scripts
@pytest.mark.parametrize("cut", [0, 1])
def test_deterministic(protocol: str, name: str, cut: int) -> None:
    one, two = (play(protocol, name, Way(cut)) for _ in range(2))
    assert one.spans == two.spans
    assert one.asked() == two.asked()


def _stops(protocol: str, name: str) -> Iterator[Way]:
    yield Way()
    yield Way(cut=1)
    yield Way(cut=1, late=True)
    for at in range(0, len(play(protocol, name).arrived[0]), 3):
        yield Way(stop=(Side.CLIENT, at))


@over_scripts
def test_secrets_stay_in_secret_spans(protocol: str, name: str) -> None:
    subject = SUBJECTS[protocol]
    for plan in _stops(protocol, name):
        stand = play(protocol, name, plan)
        exposed = stand.exposed()
        for canary in (*subject.canaries, CREDENTIAL):
            assert canary not in exposed
        if plan.stop is None:
            everything = b"".join(span.raw for span in stand.spans)
            assert any(canary in everything for canary in subject.canaries)


@over_scripts
def test_answers_that_nobody_waits_for(protocol: str, name: str) -> None:
    stand = play(protocol, name)
    if not stand.conversation.closing:
        from protocols.contract import Allow

        with pytest.raises(KeyError):
            stand.conversation.answer(999_999, Allow())
