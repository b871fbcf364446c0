"""The messages of the kernel's FUSE protocol that a disk of the tests needs.

Layouts and numbers: include/uapi/linux/fuse.h, protocol 7.31. Numbers are of the
machine's own byte order.
"""

from __future__ import annotations

import struct

LOOKUP, FORGET, GETATTR, SETATTR = 1, 2, 3, 4
MKDIR, UNLINK, RMDIR, RENAME, LINK = 9, 10, 11, 12, 13
OPEN, READ, WRITE, STATFS, RELEASE = 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, READDIR = 20, 25, 26, 27, 28
RELEASEDIR, FSYNCDIR, ACCESS, CREATE, INTERRUPT = 29, 30, 34, 35, 36
DESTROY, BATCH_FORGET, FALLOCATE, RENAME2 = 38, 42, 43, 45
SILENT = {FORGET, BATCH_FORGET, INTERRUPT}

WRITE_MAX = 1 << 20
MAX_PAGES = 1 << 22  # INIT: the reply says how many pages a request may have
BIG_WRITES = 1 << 5
SIZE, MODE = 1 << 3, 1 << 0  # SETATTR: which fields are meant
NOREPLACE = 1

IN = struct.Struct("=IIQQIIII")  # length, opcode, unique, node, uid, gid, pid
OUT = struct.Struct("=IiQ")  # length, error, unique
INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
READ_IN = struct.Struct("=QQI20x")  # file, offset, size; WRITE begins like it
FSYNC_IN = struct.Struct("=QII")
FALLOCATE_IN = struct.Struct("=QQQII")
SETATTR_IN = struct.Struct("=IIQQ")  # what is meant, file, size
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
_ENTRY = struct.Struct("=QQQQII")
_ATTR_HEAD = struct.Struct("=QII")
OPEN_OUT = struct.Struct("=QII")
WRITE_OUT = struct.Struct("=II")
_STATFS = struct.Struct("=QQQQQIIII24x")
_DIRENT = struct.Struct("=QQII")
_FOREVER = 1 << 30  # nobody but this kernel changes anything


def init_reply(readahead: int) -> bytes:
    flags = BIG_WRITES | MAX_PAGES
    return _INIT_OUT.pack(7, 31, readahead, flags, 64, 48, WRITE_MAX, 1, WRITE_MAX >> 12, 0, 0)


def attributes(number: int, size: int, mode: int, links: int, when: int) -> bytes:
    """``when``: nanoseconds of the last change."""
    seconds, rest = divmod(when, 1_000_000_000)
    times = (seconds,) * 3 + (rest,) * 3
    return _ATTR.pack(number, size, -(-size // 512), *times, mode, links, 0, 0, 0, 4096, 0)


def attribute_reply(raw: bytes) -> bytes:
    return _ATTR_HEAD.pack(_FOREVER, 0, 0) + raw


def entry_reply(number: int, raw: bytes) -> bytes:
    return _ENTRY.pack(number, 0, _FOREVER, _FOREVER, 0, 0) + raw


def space_reply(blocks: int, free: int) -> bytes:
    return _STATFS.pack(blocks, free, free, 1 << 20, 1 << 20, 4096, 255, 4096, 0)


def directory_entry(number: int, following: int, name: bytes, mode: int) -> bytes:
    raw = _DIRENT.pack(number, following, len(name), mode >> 12) + name
    return raw + bytes(-len(raw) % 8)


def names(raw: bytes, count: int) -> list[bytes]:
    """``count`` names, each ended by a zero byte."""
    return raw.split(b"\0")[:count]
