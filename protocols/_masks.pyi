from collections.abc import Callable

SOURCES: str
TYPE: object
"""A capsule of the type of all masks here, for loops in C."""

_Apply = Callable[[bytes], bytes | None]

def keep_last(reference: _Apply, n: int, /) -> _Apply: ...
def partial_email(reference: _Apply, /) -> _Apply: ...
def translated(table: bytes, gone: bytes, /) -> _Apply: ...
