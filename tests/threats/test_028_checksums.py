"""Row 28: a pack that is not what it says is refused: a wrong trailer, a wrong checksum
inside, the same object twice. (A collision of SHA-1 is found by git's own detecting
hash, in index-pack; its sample is 300 KB of somebody else's and is not kept here.) Goes red
when the pack's trailer is not compared.
"""

from __future__ import annotations

import hashlib

import pytest
from git_kit import BLOB, ZERO, Attack, entry, history, pack, request


def broken() -> dict[str, bytes]:
    made = history()
    plain = [entry(kind, body) for kind, body in made.objects]
    good = pack(plain)
    flipped = bytearray(good)
    flipped[20] ^= 1
    retold = bytes(flipped[:-20])
    wrong_adler = bytearray(plain[0])
    wrong_adler[-1] ^= 1
    return {
        "a trailer of zeros": pack(plain, trailer=bytes(20)),
        "a trailer of another pack": pack(plain, trailer=hashlib.sha1(b"other").digest()),
        "a flipped bit": bytes(flipped),
        "a flipped bit, and a trailer that fits": retold + hashlib.sha1(retold).digest(),
        "zlib's own checksum": pack([bytes(wrong_adler), *plain[1:]]),
        "an object that is missing": pack(plain[1:]),
        "trailing bytes": good + b"more",
    }


@pytest.mark.parametrize("kind", list(broken()))
def test_it_is_refused(attack: Attack, kind: str) -> None:
    name, _ = attack.seeded(1)
    unharmed = attack.untouched(name)
    tip = history().tip
    said = attack.push(name, request((ZERO, tip, "refs/heads/new"), pack=broken()[kind]))
    if kind == "trailing bytes" and b"ok refs/heads/new" in said.out:
        assert attack.route.refs(name)["refs/heads/new"] == tip  # the rest was never sent on
        attack.route.sound(name)
        return
    assert said.code or b"ng " in said.out, said
    unharmed()


def test_the_same_object_twice(attack: Attack) -> None:
    """Twice the same bytes do no harm, and twice others with one name can't be
    had without a collision: either way the repository stays sound."""
    name, _ = attack.seeded(1)
    made = history()
    body = made.pack((BLOB, made.objects[0][1]))
    attack.push(name, request((ZERO, made.tip, "refs/heads/new"), pack=body))
    attack.route.sound(name)
