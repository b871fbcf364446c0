"""Confirmations: is what stands around a trigger really a card, an address...

Each takes ``(data, start, end, memo)``: the trigger's place, and a dict that
lives as long as one scan.  It returns the (start, end) to mask, or None.  Each
looks at a bounded stretch around the trigger.  A match never crosses the
separator or a newline.  Where a guess is left, it errs towards masking.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.policy import iban, luhn

Place: TypeAlias = "tuple[int, int] | None"
Memo: TypeAlias = "dict[str, int]"
Confirm: TypeAlias = Callable[[bytes, int, int, Memo], Place]


@dataclass(frozen=True, slots=True)
class Trigger:
    """``pattern`` has one length only, ``length``, or 0 where the
    confirmation finds the start by itself and is given ``start == end``.
    ``always``: confirmed even where triggers are dense, since the
    confirmation's cost over a whole scan is linear."""

    pattern: bytes
    length: int
    confirm: Confirm
    reach: int
    always: bool = False


# -- e-mail addresses (RFC 5322 addr-spec, less comments and rare signs)

LOCAL_MAX: Final = 128
DOMAIN_MAX: Final = 255


def _others() -> bytes:
    # Without / ? = { | } ` which in practice stand between an address and
    # what precedes it (URLs, templates).
    table = bytearray(b" " * 256)
    for byte in (*_WORD, *b"._%+-'&\\~!#$*^", *range(0x80, 0x100)):
        table[byte] = 0x61
    return bytes(table)


_WORD: Final = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_LOCAL: Final = _others()
"""Maps the characters of a local part to a, all others to a space."""
_DOMAIN: Final = re.compile(
    rb"[A-Za-z0-9.\-\x80-\xff]{1,%d}\.[A-Za-z\x80-\xff][A-Za-z0-9\-\x80-\xff]{0,62}"
    rb"[A-Za-z0-9\x80-\xff]" % DOMAIN_MAX
)
_DOMAIN_OPEN: Final = re.compile(rb"[A-Za-z0-9.\-\x80-\xff]*")
EMAIL_REACH: Final = LOCAL_MAX + 2 + 5 + DOMAIN_MAX + 65


def _email(sign: int) -> Confirm:
    """``sign`` is the length of the at sign as written (``@``, ``%40``)."""

    def confirm(data: bytes, start: int, end: int, memo: Memo) -> Place:
        at = start + 1
        domain = _DOMAIN.match(data, at + sign)
        if domain is not None:
            stop = domain.end()
        elif len(data) - at > EMAIL_REACH:
            return None
        else:
            run = _DOMAIN_OPEN.match(data, at + sign)
            assert run is not None
            stop = run.end()
            if stop < len(data):
                return None  # whole, and not a domain
        low = at - LOCAL_MAX if at > LOCAL_MAX else 0
        begin = low + data[low:at].translate(_LOCAL).rfind(b" ") + 1
        if begin < at:
            # A quote of SQL's is not part of the address.
            return (begin + 1 if data[begin] == 0x27 else begin), stop
        if data[start] == 0x22:  # "quoted local part"@
            begin = data.rfind(b'"', low, start)
            between = data[begin:at]
            if begin >= 0 and b"\n" not in between and b"\0" not in between:
                return begin, stop
        return None

    return confirm


def _email_trigger(sign: bytes, length: int) -> Trigger:
    # At least three bytes of domain: no more than one trigger per five bytes.
    pattern = rb"[^\x00-\x20@]" + sign + rb"[A-Za-z0-9\x80-\xff][A-Za-z0-9.\-\x80-\xff]{2}"
    return Trigger(pattern, length + 4, _email(length), EMAIL_REACH)


# -- card numbers

_DIGITS_BACK: Final = re.compile(rb"(?:[0-9][ -]?){11}[0-9]")
_COMPACT: Final = re.compile(rb"[0-9]{0,8}")
_CARD: Final = re.compile(rb"[0-9](?:[ -]?[0-9]){11,18}")
_CARD_START: Final = (
    rb"(?:^|[^0-9])(?:4[0-9]|5[0-8]|6[0-57]|3[04-9]|2[2-7]|81)[0-9]{2}(?:[ -]?[0-9]){8}"
)
_DIGIT: Final = frozenset(b"0123456789")


def _card(data: bytes, start: int, end: int, memo: Memo) -> Place:
    begin = end - 12
    if data[begin:end].isdigit():
        run = _COMPACT.match(data, end)
        assert run is not None
        stop = run.end()
        follows = data[stop : stop + 2]
        if len(follows) < 2 or follows[0] not in b" -" or follows[1] not in _DIGIT:
            # Digits without separators: all of them, or they are no card.
            lengths = luhn.card_lengths(data[begin : begin + 4])
            if stop - begin in lengths and luhn.luhn(data[begin:stop]):
                return begin, stop
            return None
    else:
        back = _DIGITS_BACK.match(data[max(0, end - 23) : end][::-1])
        if back is None:
            return None
        begin = end - back.end()
    lengths = luhn.card_lengths(data[begin : begin + 4])
    written_run = _CARD.match(data, begin)
    if written_run is None or not lengths:
        return None
    written = written_run[0]
    digits = written.translate(None, b" -")
    for length in lengths:
        if length > len(digits) or not luhn.luhn(digits[:length]):
            continue
        whole = length == len(digits)
        stop = begin + (len(written) if whole else _after_digits(written, length))
        if stop < len(data) and data[stop] in _DIGIT:
            continue  # more digits are glued to it
        return begin, stop
    return None


def _after_digits(written: bytes, count: int) -> int:
    """The offset behind the ``count``-th digit of ``written``."""
    if written.isdigit():
        return count
    for at, byte in enumerate(written):
        if byte in _DIGIT:
            count -= 1
            if not count:
                return at + 1
    return len(written)


# -- US social security numbers (SSA: no 000, 666, 9xx area, no zero parts)

_SSN: Final = re.compile(
    rb"(?!000|666|9)[0-9]{3}([- ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9])", re.DOTALL
)


def _ssn(data: bytes, start: int, end: int, memo: Memo) -> Place:
    return (end - 11, end) if _SSN.match(data, end - 11) else None


# -- IBAN

_IBAN: Final = re.compile(rb"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}")


def _iban(length: int) -> Confirm:
    def confirm(data: bytes, start: int, end: int, memo: Memo) -> Place:
        begin = end - length
        run = _IBAN.match(data, begin)
        if run is None:
            return None
        written = run[0]
        account = written.translate(None, b" ").upper()
        size = iban.LENGTHS.get(account[:2], 0)
        if not size or size > len(account) or not iban.checks(account[:size]):
            return None
        stop = begin + size
        if b" " in written:
            seen = 0
            for at, byte in enumerate(written):
                seen += byte != 0x20
                if seen == size:
                    stop = begin + at + 1
                    break
        if stop < len(data) and data[stop] in _WORD:
            return None
        return begin, stop

    return confirm


_COUNTRIES: Final = b"|".join(
    b"[%c%c][%c%c]" % (c[0], c[0] | 32, c[1], c[1] | 32) for c in iban.LENGTHS
)
_IBAN_START: Final = rb"(?:^|[^A-Za-z0-9])(?:" + _COUNTRIES + rb")[0-9]{2}"

# -- phone numbers: E.164 with its plus sign, and North American with separators.
# Bare digits are not taken for a phone number: too many numbers would be.

_PHONE: Final = re.compile(rb"\+[1-9](?:[ ().-]{0,2}[0-9]){7,14}(?![0-9])")
_NANP: Final = re.compile(rb"\(?[2-9][0-9]{2}(?:\) ?|[ .-])[2-9][0-9]{2}[ .-][0-9]{4}(?![0-9])")


def _phone(data: bytes, start: int, end: int, memo: Memo) -> Place:
    found = _PHONE.match(data, start)
    return found.span() if found else None


def _nanp(length: int) -> Confirm:
    def confirm(data: bytes, start: int, end: int, memo: Memo) -> Place:
        begin = end - length
        found = _NANP.match(data, begin)
        if found is None:
            return None
        if begin and data[begin - 1] == 0x28:
            begin -= 1
        if begin >= 2 and data[begin - 2 : begin] in (b"1-", b"1 ", b"1."):
            begin -= 2
        return begin, found.end()

    return confirm


KINDS: Final[dict[str, tuple[Trigger, ...]]] = {
    "email": (
        _email_trigger(rb"@", 1),
        _email_trigger(rb"%40", 3),
        _email_trigger(rb"&#64;", 5),
    ),
    "card": (Trigger(_CARD_START, 0, _card, 37),),
    "ssn": (Trigger(rb"(?:^|[^0-9])[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}", 0, _ssn, 11),),
    "iban": (
        Trigger(_IBAN_START + rb"[A-Za-z0-9]{4}", 0, _iban(8), 67),
        Trigger(_IBAN_START + rb" [A-Za-z0-9]{4}", 0, _iban(9), 67),
    ),
    "phone": (
        Trigger(rb"\+[1-9][0-9 ().-]{7}", 9, _phone, 44),
        Trigger(rb"(?:^|[^0-9])[2-9][0-9]{2}[ .-][2-9][0-9]{2}[ .-][0-9]{4}", 0, _nanp(12), 16),
        Trigger(rb"\([2-9][0-9]{2}\)[2-9][0-9]{2}[ .-][0-9]{4}", 0, _nanp(13), 16),
        Trigger(rb"\([2-9][0-9]{2}\) [2-9][0-9]{2}[ .-][0-9]{4}", 0, _nanp(14), 16),
    ),
}
"""What the numbers and addresses are triggered by."""
