"""Bank account numbers: lengths by country and the check of ISO 13616-1."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_REGISTRY: Final = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18
DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23
IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27
MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19
SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""

LENGTHS: Final[Mapping[bytes, int]] = MappingProxyType(
    {entry[:2].encode(): int(entry[2:]) for entry in _REGISTRY.split()}
)
"""Characters of an IBAN by its country code (SWIFT IBAN registry)."""


def checks(account: bytes) -> bool:
    """True when ``account`` (upper-case letters and digits, at most 34, no
    spaces) has the length of its country and passes the mod-97 check."""
    if LENGTHS.get(account[:2]) != len(account):
        return False
    moved = account[4:] + account[:4]
    number = "".join([str(byte - 55) if byte >= 65 else chr(byte) for byte in moved])
    return int(number) % 97 == 1
