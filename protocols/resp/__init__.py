"""RESP2 and RESP3, the protocol of Redis and its kin (redis.io, "Redis serialization protocol")."""

from __future__ import annotations

from protocols.contract import ProtocolKind
from protocols.resp.conversation import RespConversation
from protocols.resp.text import parts
from protocols.resp.verbs import ACTIONS, FACTS

KIND = ProtocolKind(
    name="resp",
    family="resp",
    actions=ACTIONS,
    facts=FACTS,
    settings={},
    can_hold=True,
    can_mask=False,
    start=RespConversation,
    parts=parts,
    port=6379,
)
