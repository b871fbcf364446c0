"""Who is asking, proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Principal:
    """A proven identity.

    ``issuer`` is the configured issuer's name (``github``), or ``local`` for
    a principal with a password of this gateway.  ``kind`` is ``person``,
    ``ci`` or ``agent``, as the issuer's configuration says.  ``run`` joins the
    sessions of one CI run or agent task; "" when there is none.  ``claims``
    are the issuer-attested claims that rules may match (scalars as text).
    ``expires`` is the wall-clock second (Unix) after which the proof lapses,
    0.0 for never.
    """

    subject: str
    issuer: str
    kind: str = "person"
    groups: frozenset[str] = frozenset()
    run: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    expires: float = 0.0
