"""A file system in memory that writes down every change, in order, with the time.

Run as a process of its own: ``lossy_disk.py MOUNT LOG``. It speaks the kernel's FUSE
protocol by itself (no library; needs root and /dev/fuse), says ``ready``, and goes on until
it is unmounted. ``LOG`` gets one marshalled tuple per change or fsync, written before
the kernel hears that it is done: what a power cut leaves at any moment is worked out
from that (``crash_states.py``). Each line on stdin is a fault in JSON, see ``Fault``.

The log: ``(at, "make", node, directory, name, is_directory)``, ``(at, "name", node,
directory, name)``, ``(at, "gone", directory, name)``, ``(at, "rename", directory, name,
directory, name, node)``, ``(at, "write", node, offset, bytes)``, ``(at, "size", node, size)``,
``(at, "room", node, size)``, ``(at, "sync", node)``, ``(at, "sync-names", directory)``,
``(at, "lost", node)``. ``at`` is CLOCK_MONOTONIC in nanoseconds.
"""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import json
import marshal
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import disk_wire as wire

MS_NOSUID, MS_NODEV = 2, 4


class Refused(Exception):
    """What the kernel is told."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass
class Fault:
    """From now on ``op`` (``write``, ``fsync``, ``create``, ``rename``...) on files whose
    path matches ``path`` takes ``delay`` seconds and ends with ``error``, ``times`` times
    (0: for ever). An fsync that fails loses what was written, as Linux does: a
    second one succeeds and makes nothing durable. ``op`` "none" heals the disk."""

    op: str
    path: str = "*"
    error: int = 0
    delay: float = 0.0
    times: int = 0
    hits: int = 0


class Node:
    """A file, or a directory."""

    __slots__ = ("changed", "data", "entries", "links", "lookups", "mode", "number", "path")

    def __init__(self, number: int, mode: int, path: str) -> None:
        self.number = number
        self.mode = mode
        self.path = path
        self.data = bytearray()
        self.entries: dict[bytes, Node] = {}
        self.links = 1
        self.lookups = 0
        self.changed = time.time_ns()

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def attributes(self) -> bytes:
        return wire.attributes(
            self.number, len(self.data), self.mode, 2 if self.is_directory else self.links,
            self.changed,
        )  # fmt: skip


_OPS = {
    wire.WRITE: "write", wire.FSYNC: "fsync", wire.FSYNCDIR: "fsync", wire.CREATE: "create",
    wire.RENAME: "rename", wire.RENAME2: "rename", wire.READ: "read", wire.UNLINK: "unlink",
    wire.FALLOCATE: "fallocate", wire.OPEN: "open", wire.SETATTR: "setattr",
}  # fmt: skip


class Disk:
    def __init__(self, device: int, log: str) -> None:
        self.device = device
        self.log = open(log, "wb", buffering=0)  # noqa: SIM115
        self.root = Node(1, stat.S_IFDIR | 0o755, "")
        self.nodes = {1: self.root}
        self.following = 2
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.room = 1 << 40
        self.steps: dict[int, Callable[[Node, bytes], bytes]] = {
            wire.LOOKUP: self.lookup, wire.GETATTR: self.getattr, wire.SETATTR: self.setattr,
            wire.MKDIR: self.mkdir, wire.UNLINK: self.unlink, wire.RMDIR: self.unlink,
            wire.RENAME: self.rename, wire.RENAME2: self.rename2, wire.LINK: self.link,
            wire.OPEN: self.open, wire.OPENDIR: self.open, wire.READ: self.read,
            wire.WRITE: self.write, wire.STATFS: self.statfs, wire.CREATE: self.create,
            wire.FSYNC: self.fsync, wire.FSYNCDIR: self.fsync, wire.READDIR: self.readdir,
            wire.FALLOCATE: self.fallocate, wire.INIT: self.init,
        }  # fmt: skip
        for quiet in (wire.RELEASE, wire.RELEASEDIR, wire.FLUSH, wire.ACCESS, wire.DESTROY):
            self.steps[quiet] = lambda node, body: b""

    # ---- requests ------------------------------------------------------------

    def serve(self) -> None:
        size = wire.WRITE_MAX + (1 << 16)
        while True:
            try:
                raw = os.read(self.device, size)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return  # unmounted
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, op, unique, number, _, _, _, _ = wire.IN.unpack_from(raw)
            body = raw[wire.IN.size :]
            if op in (wire.FORGET, wire.BATCH_FORGET):
                self.forget(op, number, body)
            if op in wire.SILENT:
                continue
            fault = self.fault(op, number, body) if self.faults else None
            if fault is not None and fault.delay:
                args = (op, unique, number, body, fault)
                threading.Thread(target=self.slowly, args=args, daemon=True).start()
            else:
                self.answer(op, unique, number, body, fault)

    def slowly(self, op: int, unique: int, number: int, body: bytes, fault: Fault) -> None:
        time.sleep(fault.delay)
        self.answer(op, unique, number, body, fault)

    def answer(self, op: int, unique: int, number: int, body: bytes, fault: Fault | None) -> None:
        error, out = 0, b""
        with self.lock:
            try:
                if fault is not None and fault.error:
                    if op == wire.FSYNC:
                        self.note("lost", number)
                    raise Refused(fault.error)
                step = self.steps.get(op)
                if step is None:
                    raise Refused(errno.ENOSYS)
                out = step(self.nodes[number] if number else self.root, body)
            except Refused as refused:
                error = -refused.number
        try:
            os.write(self.device, wire.OUT.pack(wire.OUT.size + len(out), error, unique) + out)
        except OSError as gone:
            if gone.errno not in (errno.ENOENT, errno.ENODEV):
                raise  # ENOENT: the caller was interrupted

    def fault(self, op: int, number: int, body: bytes) -> Fault | None:
        name = _OPS.get(op)
        node = self.nodes.get(number)
        if name is None or node is None:
            return None
        path = node.path
        if op in (wire.CREATE, wire.UNLINK, wire.RENAME, wire.RENAME2):
            skip = {wire.CREATE: 16, wire.RENAME: 8, wire.RENAME2: 16}.get(op, 0)
            path += "/" + os.fsdecode(wire.names(body[skip:], 1)[0])
        for fault in self.faults:
            if fault.op == name and fnmatch.fnmatch(path, fault.path):
                fault.hits += 1
                if fault.times and fault.hits >= fault.times:
                    self.faults.remove(fault)
                return fault
        return None

    def listen(self) -> None:
        for line in sys.stdin:
            told = json.loads(line)
            with self.lock:
                if told["op"] == "none":
                    self.faults.clear()
                else:
                    self.faults.append(Fault(**told))
            print("ok", flush=True)

    # ---- nodes -----------------------------------------------------------------

    def note(self, *what: object) -> None:
        raw = marshal.dumps((time.monotonic_ns(), *what))
        if self.log.write(raw) != len(raw):
            os._exit(3)  # no room for the log: nothing may be believed any more

    def find(self, node: Node, name: bytes) -> Node:
        found = node.entries.get(name)
        if found is None:
            raise Refused(errno.ENOENT)
        return found

    def make(self, parent: Node, name: bytes, mode: int) -> Node:
        if name in parent.entries:
            raise Refused(errno.EEXIST)
        node = Node(self.following, mode, f"{parent.path}/{os.fsdecode(name)}")
        self.following += 1
        self.nodes[node.number] = node
        parent.entries[name] = node
        self.note("make", node.number, parent.number, name, node.is_directory)
        return node

    def entry(self, node: Node) -> bytes:
        node.lookups += 1
        return wire.entry_reply(node.number, node.attributes())

    def drop(self, node: Node) -> None:
        if node.links <= 0 and node.lookups <= 0:
            self.nodes.pop(node.number, None)

    def forget(self, op: int, number: int, body: bytes) -> None:
        with self.lock:
            pairs = [(number, int.from_bytes(body[:8], sys.byteorder))]
            if op == wire.BATCH_FORGET:
                words = memoryview(body[8:]).cast("Q").tolist()
                pairs = list(zip(words[::2], words[1::2], strict=True))
            for which, count in pairs:
                node = self.nodes.get(which)
                if node is not None and which != 1:
                    node.lookups -= count
                    self.drop(node)

    # ---- what is asked ---------------------------------------------------------

    def init(self, node: Node, body: bytes) -> bytes:
        _, _, readahead, _ = wire.INIT_IN.unpack_from(body)
        return wire.init_reply(readahead)

    def lookup(self, node: Node, body: bytes) -> bytes:
        return self.entry(self.find(node, wire.names(body, 1)[0]))

    def getattr(self, node: Node, body: bytes) -> bytes:
        return wire.attribute_reply(node.attributes())

    def setattr(self, node: Node, body: bytes) -> bytes:
        meant, _, _, size = wire.SETATTR_IN.unpack_from(body)
        if meant & wire.MODE:
            mode = int.from_bytes(body[68:72], sys.byteorder)
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        if meant & wire.SIZE:
            self.resize(node, size)
            self.note("size", node.number, size)
        return wire.attribute_reply(node.attributes())

    def resize(self, node: Node, size: int) -> None:
        if size < len(node.data):
            del node.data[size:]
        else:
            node.data.extend(bytes(size - len(node.data)))
        node.changed = time.time_ns()

    def mkdir(self, node: Node, body: bytes) -> bytes:
        mode = int.from_bytes(body[:4], sys.byteorder)
        made = self.make(node, wire.names(body[8:], 1)[0], stat.S_IFDIR | stat.S_IMODE(mode))
        return self.entry(made)

    def create(self, node: Node, body: bytes) -> bytes:
        mode = int.from_bytes(body[4:8], sys.byteorder)
        made = self.make(node, wire.names(body[16:], 1)[0], stat.S_IFREG | stat.S_IMODE(mode))
        return self.entry(made) + wire.OPEN_OUT.pack(made.number, 0, 0)

    def link(self, node: Node, body: bytes) -> bytes:
        target = self.nodes[int.from_bytes(body[:8], sys.byteorder)]
        name = wire.names(body[8:], 1)[0]
        if name in node.entries:
            raise Refused(errno.EEXIST)
        node.entries[name] = target
        target.links += 1
        self.note("name", target.number, node.number, name)
        return self.entry(target)

    def unlink(self, node: Node, body: bytes) -> bytes:
        name = wire.names(body, 1)[0]
        found = self.find(node, name)
        if found.is_directory and found.entries:
            raise Refused(errno.ENOTEMPTY)
        del node.entries[name]
        found.links -= 1
        self.drop(found)
        self.note("gone", node.number, name)
        return b""

    def rename(self, node: Node, body: bytes, flags: int = 0, skip: int = 8) -> bytes:
        onto = self.nodes[int.from_bytes(body[:8], sys.byteorder)]
        old, new = wire.names(body[skip:], 2)
        found = self.find(node, old)
        there = onto.entries.get(new)
        if there is not None:
            if flags & wire.NOREPLACE:
                raise Refused(errno.EEXIST)
            if there.is_directory and there.entries:
                raise Refused(errno.ENOTEMPTY)
            there.links -= 1
            self.drop(there)
        del node.entries[old]
        onto.entries[new] = found
        found.path = f"{onto.path}/{os.fsdecode(new)}"
        self.note("rename", node.number, old, onto.number, new, found.number)
        return b""

    def rename2(self, node: Node, body: bytes) -> bytes:
        flags = int.from_bytes(body[8:12], sys.byteorder)
        if flags & ~wire.NOREPLACE:
            raise Refused(errno.EINVAL)
        return self.rename(node, body, flags, 16)

    def open(self, node: Node, body: bytes) -> bytes:
        return wire.OPEN_OUT.pack(node.number, 0, 0)

    def read(self, node: Node, body: bytes) -> bytes:
        _, offset, size = wire.READ_IN.unpack_from(body)
        return bytes(node.data[offset : offset + size])

    def write(self, node: Node, body: bytes) -> bytes:
        _, offset, size = wire.READ_IN.unpack_from(body)
        data = body[wire.READ_IN.size : wire.READ_IN.size + size]
        if offset > len(node.data):
            node.data.extend(bytes(offset - len(node.data)))
        node.data[offset : offset + size] = data
        node.changed = time.time_ns()
        self.note("write", node.number, offset, data)
        return wire.WRITE_OUT.pack(size, 0)

    def fallocate(self, node: Node, body: bytes) -> bytes:
        _, offset, length, mode, _ = wire.FALLOCATE_IN.unpack_from(body)
        if mode:
            raise Refused(errno.EOPNOTSUPP)
        if offset + length > len(node.data):
            self.resize(node, offset + length)
            self.note("room", node.number, offset + length)
        return b""

    def fsync(self, node: Node, body: bytes) -> bytes:
        self.note("sync-names" if node.is_directory else "sync", node.number)
        return b""

    def statfs(self, node: Node, body: bytes) -> bytes:
        return wire.space_reply(self.room >> 12, self.room >> 12)

    def readdir(self, node: Node, body: bytes) -> bytes:
        _, offset, size = wire.READ_IN.unpack_from(body)
        out = b""
        for at, (name, found) in enumerate(list(node.entries.items())[offset:], offset + 1):
            raw = wire.directory_entry(found.number, at, name, found.mode)
            if len(out) + len(raw) > size:
                break
            out += raw
        return out


def main() -> None:
    where, log = sys.argv[1:]
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    done = libc.mount(
        b"lossy", os.fsencode(where), b"fuse.lossy", MS_NOSUID | MS_NODEV, options.encode()
    )
    if done:
        sys.exit(f"can't mount: {os.strerror(ctypes.get_errno())}")
    disk = Disk(device, log)
    threading.Thread(target=disk.listen, daemon=True).start()
    print("ready", flush=True)
    disk.serve()


if __name__ == "__main__":
    main()
