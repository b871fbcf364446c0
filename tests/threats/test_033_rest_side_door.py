"""Row 33 can't arise: there is no side door to the same repositories. The gateway serves no
HTTP, so a REST or GraphQL call that would move a ref has nowhere to go, and the only
credential for the repositories is an SSH key that no HTTP API takes. When the gateway learns
HTTP this row needs a test of its own; until then this one notices that moment.
"""

from __future__ import annotations

import protocols


def test_nothing_here_speaks_http() -> None:
    assert not [name for name in protocols.NAMES if "http" in name or "rest" in name]
