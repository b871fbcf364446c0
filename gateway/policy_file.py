"""The policy file of a configuration, read and compiled."""

from __future__ import annotations

from gateway.config import Config
from gateway.policy.load import Policy, compile_policy
from protocols import load


def load_policy(config: Config) -> Policy:
    """Compile the file that ``config`` names, against the groups and targets
    of ``config`` and the protocols that its targets speak. Raises OSError and
    PolicyErrors (with file, line and key)."""
    kinds = [load(name) for name in sorted({t.protocol for t in config.targets.values()})]
    return compile_policy(
        config.policy.read_text(encoding="utf-8"),
        source=str(config.policy),
        actions={kind.family: (kind.actions, kind.facts) for kind in kinds},
        groups=config.groups,
        targets=frozenset(config.targets),
    )
