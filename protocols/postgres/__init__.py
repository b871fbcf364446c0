"""PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2."""

from __future__ import annotations

from protocols.contract import Part, ProtocolKind
from protocols.postgres.conversation import PostgresConversation
from protocols.postgres.login import KEY_SIZE, doubts
from protocols.sql import ACTIONS, FACTS, analyse


def _parts(text: str) -> tuple[Part, ...]:
    return analyse(text).parts


KIND = ProtocolKind(
    name="postgres",
    family="sql",
    actions=ACTIONS,
    facts=FACTS,
    settings={"auth": list, "search_path": str},
    can_hold=True,
    can_mask=True,
    start=PostgresConversation,
    parts=_parts,
    alpn="postgresql",
    key_size=KEY_SIZE,
    port=5432,
    doubts=doubts,
    recurs=True,
)
