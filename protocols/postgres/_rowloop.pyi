from collections.abc import Callable
from types import EllipsisType

SOURCES: str

def mask_rows(
    buffer: bytes,
    actions: tuple[bytes | EllipsisType | Callable[[bytes], bytes | None] | None, ...],
    /,
) -> tuple[bytes, tuple[int, ...]]: ...
def gather(buffer: bytes, looks: bytes, /) -> tuple[bytes, bytes]: ...
def run_end(buffer: bytes, at: int, kind: int, least: int, /) -> int: ...
def accept(type: object, /) -> None: ...
def mask_lines(
    block: bytes,
    actions: tuple[bytes | Callable[[bytes], bytes] | None, ...],
    delimiter: int,
    quote: int,
    escape: int,
    null: bytes,
    framed: bool,
    /,
) -> tuple[bytes, tuple[int, ...]]: ...
