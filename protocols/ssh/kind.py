"""The row of git over SSH in the table of protocols."""

from __future__ import annotations

from protocols.contract import ProtocolKind
from protocols.git.facts import parts
from protocols.git.words import ACTIONS, FACTS
from protocols.ssh.conversation import SshConversation

KIND = ProtocolKind(
    name="git-ssh",
    family="git",
    actions=ACTIONS,
    facts=FACTS,
    settings={"root": str, "host_keys": tuple, "max_pack": int, "push_options": tuple},
    can_hold=True,
    can_mask=True,
    start=SshConversation,
    parts=parts,
    port=22,
    carrier="ssh",
    keepalive=4.0,
)
