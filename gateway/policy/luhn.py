"""Payment card numbers: issuer prefixes, lengths and the Luhn check digit.

ISO/IEC 7812-1 gives the check digit (annex B), the networks their ranges.  The ranges err
towards wide: a number that no network issues yet but could is a card number.
"""

from __future__ import annotations

from typing import Final

# (first prefix, last prefix, lengths); prefixes of a row have one length.
_RANGES: Final = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),  # Mastercard
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "659", (16, 17, 18, 19)),
    ("300", "305", (14, 16, 17, 18, 19)),  # Diners Club
    ("3095", "3095", (14, 16, 17, 18, 19)),
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "39", (14, 16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("81", "81", (16, 17, 18, 19)),
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("60", "60", (16,)),  # RuPay
    ("50", "50", (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("56", "58", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("63", "63", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("67", "67", (12, 13, 14, 15, 16, 17, 18, 19)),
)


def _lengths() -> list[tuple[int, ...]]:
    table: list[tuple[int, ...]] = [()] * 10_000
    for first, last, lengths in _RANGES:
        low = int(first.ljust(4, "0"))
        high = int(last.ljust(4, "9")) + 1
        # Few lengths stand beside each other in a range: each kind is joined once.
        joined = {
            old: tuple(sorted({*old, *lengths}, reverse=True)) for old in set(table[low:high])
        }
        table[low:high] = [joined[old] for old in table[low:high]]
    return table


_LENGTHS: Final = _lengths()
_EVEN: Final = bytes.maketrans(b"0123456789", bytes((0, 1, 2, 3, 4, 5, 6, 7, 8, 9)))
_ODD: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))


def card_lengths(digits: bytes) -> tuple[int, ...]:
    """The lengths that cards with these first digits have, longest first.
    ``digits`` are ASCII digits, at least four."""
    return _LENGTHS[int(digits[:4])]


def luhn(digits: bytes) -> bool:
    """True when the last of the ASCII ``digits`` is their check digit."""
    total = sum(digits[-1::-2].translate(_EVEN)) + sum(digits[-2::-2].translate(_ODD))
    return total % 10 == 0
