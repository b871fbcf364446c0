"""The policy file of a configuration, read and compiled."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Config
from gateway.policy.load import compile_policy
from gateway.policy.policy import Policy
from protocols import load


def load_policy(config: Config, path: Path | None = None) -> Policy:
    """Compile the file that ``config`` names, or ``path``, against the groups
    and targets of ``config`` and the protocols that its targets speak. Raises
    OSError and PolicyErrors (with file, line and key)."""
    source = path or config.policy
    kinds = [load(name) for name in sorted({t.protocol for t in config.targets.values()})]
    return compile_policy(
        source.read_text(encoding="utf-8"),
        source=str(source),
        actions={kind.family: (kind.actions, kind.facts) for kind in kinds},
        groups=config.groups,
        targets=frozenset(config.targets),
    )
