"""SASLprep (RFC 4013) of passwords, as PostgreSQL applies it."""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def prepared(password: bytes) -> bytes:
    """``password`` as SCRAM hashes it.

    What is not UTF-8, or what the profile prohibits, is used as it is, byte
    for byte: PostgreSQL does so on both ends, so anything else would lock out
    whoever has such a password.
    """
    if password.isascii():
        return password
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if not normal or any(test(c) for c in normal for test in _PROHIBITED) or not _one_way(normal):
        return password
    return normal.encode("utf-8")


def _one_way(text: str) -> bool:
    """RFC 3454, section 6: right-to-left text is so from end to end."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    return (
        stringprep.in_table_d1(text[0])
        and stringprep.in_table_d1(text[-1])
        and not any(map(stringprep.in_table_d2, text))
    )
