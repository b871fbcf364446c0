"""Gateways to break. Whatever happened, their recordings must verify at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "threats")]

from audit import audit  # noqa: E402
from mock_upstream import NO_PASSWORD, MockUpstream  # noqa: E402
from stack import Stack  # noqa: E402


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Starts gateways for one test. At its end they are stopped; every session
    must have an END and verify, and none may have met an internal error."""
    made: list[tuple[Stack, bool]] = []

    def start(server: Any, *, audited: bool = True, **more: Any) -> Stack:
        stack = Stack(tmp_path_factory.mktemp("faults"), server, **more)
        made.append((stack, audited))
        return stack.start()

    yield start
    try:
        for stack, audited in made:
            if audited:
                audit(stack)
    finally:
        for stack, _ in made:
            stack.stop()


@pytest.fixture
def mock() -> Iterator[MockUpstream]:
    """A server that does what a script says."""
    upstream = MockUpstream()
    yield upstream
    upstream.close()
    assert not upstream.trouble, upstream.trouble


@pytest.fixture
def before_mock(serve: Callable[..., Stack], mock: MockUpstream) -> Stack:
    """A gateway that allows everything, before ``mock``."""
    return serve(mock, target=NO_PASSWORD)
