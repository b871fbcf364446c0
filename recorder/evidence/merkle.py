"""The Merkle tree of RFC 6962, section 2.1, over SHA-256: pure and exact.

A tree is known through ``Nodes``: ``node(height, index)`` is the hash of the
perfect subtree over leaves ``index << height`` up to ``(index + 1) << height``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

Nodes = Callable[[int, int], bytes]

EMPTY = sha256(b"").digest()


class ProofError(ValueError):
    """A proof does not show what it should."""


def leaf_hash(leaf: bytes) -> bytes:
    """Of one leaf's bytes; the first byte keeps leaves and nodes apart."""
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of an inner node."""
    return sha256(b"\1" + left + right).digest()


def nodes_of(hashes: Sequence[bytes]) -> Nodes:
    """The nodes over leaf hashes that are in memory."""

    def node(height: int, index: int) -> bytes:
        if height == 0:
            return hashes[index]
        return node_hash(node(height - 1, 2 * index), node(height - 1, 2 * index + 1))

    return node


def _split(count: int) -> int:
    """The largest power of two that is less than ``count`` (from 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def _range(nodes: Nodes, low: int, high: int) -> bytes:
    """MTH(D[low:high]); in the recursions of the RFC ``low`` is aligned."""
    count = high - low
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return nodes(height, low >> height)
    middle = low + _split(count)
    return node_hash(_range(nodes, low, middle), _range(nodes, middle, high))


def root(nodes: Nodes, size: int) -> bytes:
    """The root hash of the tree over the first ``size`` leaves."""
    return _range(nodes, 0, size) if size else EMPTY


def inclusion(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]), section 2.1.1. ``ValueError`` when there is no
    such leaf."""
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    low, high = 0, size
    path = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(nodes, middle, high))
            high = middle
        else:
            path.append(_range(nodes, low, middle))
            low = middle
    path.reverse()
    return path


def consistency(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[new]), section 2.1.2; empty when ``old`` is 0 or ``new``."""
    if not 0 <= old <= new:
        raise ValueError("no such trees")
    if old in (0, new):
        return []
    low, high, whole = 0, new, True
    path = []
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range(nodes, middle, high))
            high = middle
        else:
            path.append(_range(nodes, low, middle))
            low, whole = middle, False
    if not whole:
        path.append(_range(nodes, low, high))
    path.reverse()
    return path


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], wanted: bytes
) -> None:
    """Raise ``ProofError`` unless ``leaf`` (a leaf hash) is number ``index``
    in the tree of ``size`` leaves with the root ``wanted`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofError("the leaf's number is not in the tree")
    low, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0 or len(step) != 32:
            raise ProofError("the inclusion proof is not of the right length")
        if low & 1 or low == last:
            found = node_hash(step, found)
            while low and not low & 1:
                low >>= 1
                last >>= 1
        else:
            found = node_hash(found, step)
        low >>= 1
        last >>= 1
    if last or found != wanted:
        raise ProofError("the inclusion proof does not lead to the root")


def check_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Raise ``ProofError`` unless the tree of ``new`` leaves begins with that
    of ``old`` leaves (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        raise ProofError("the older tree is larger")
    if old in (0, new):
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY):
            raise ProofError("the trees are not consistent")
        return
    steps = list(proof)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps or any(len(step) != 32 for step in steps):
        raise ProofError("the consistency proof is not of the right length")
    low, last = old - 1, new - 1
    while low & 1:
        low >>= 1
        last >>= 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if low & 1 or low == last:
            first = node_hash(step, first)
            second = node_hash(step, second)
            while low and not low & 1:
                low >>= 1
                last >>= 1
        else:
            second = node_hash(second, step)
        low >>= 1
        last >>= 1
    if last or first != old_root or second != new_root:
        raise ProofError("the trees are not consistent")
