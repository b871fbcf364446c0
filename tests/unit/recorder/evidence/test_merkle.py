"""The tree is RFC 6962's: known roots, every proof of small trees, no false one."""

from __future__ import annotations

import pytest

from recorder.evidence import merkle
from recorder.evidence.merkle import ProofError, leaf_hash, nodes_of

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The leaves and roots that implementations of Certificate Transparency share."""
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def tree(count: int) -> list[bytes]:
    leaves = LEAVES if count <= 8 else [b"%d" % n for n in range(count)]
    return [leaf_hash(leaf) for leaf in leaves[:count]]


def test_known_roots() -> None:
    nodes = nodes_of(tree(8))
    assert [merkle.root(nodes, size).hex() for size in range(9)] == ROOTS


def test_known_paths() -> None:
    """RFC 6962, section 2.1.3, by the names that its figure gives the nodes."""
    hashes = tree(7)
    nodes = nodes_of(hashes)
    a, b, c, d, e, f, j = hashes
    g, h, i = (merkle.node_hash(*pair) for pair in ((a, b), (c, d), (e, f)))
    k, last = merkle.node_hash(g, h), merkle.node_hash(i, j)
    assert merkle.inclusion(nodes, 0, 7) == [b, h, last]
    assert merkle.inclusion(nodes, 3, 7) == [c, g, last]
    assert merkle.inclusion(nodes, 4, 7) == [f, j, k]
    assert merkle.inclusion(nodes, 6, 7) == [i, k]
    assert merkle.consistency(nodes, 3, 7) == [c, d, g, last]
    assert merkle.consistency(nodes, 4, 7) == [last]
    assert merkle.consistency(nodes, 6, 7) == [i, j, k]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 16, 21])
def test_every_inclusion_proof(size: int) -> None:
    hashes = tree(size)
    nodes = nodes_of(hashes)
    root = merkle.root(nodes, size)
    for index in range(size):
        proof = merkle.inclusion(nodes, index, size)
        merkle.check_inclusion(hashes[index], index, size, proof, root)
        false = [(hashes[index], other, size, proof, root) for other in range(size)]
        false = [case for case in false if case[1] != index]
        false += [(leaf_hash(b"else"), index, size, proof, root)]
        false += [(hashes[index], index, size, [*proof, root], root)]
        false += [(hashes[index], index, size, proof, leaf_hash(b"x"))]
        false += [(hashes[index], size, size, proof, root), (hashes[index], -1, size, proof, root)]
        if proof:
            false += [(hashes[index], index, size, proof[:-1], root)]
            false += [(hashes[index], index, size, [*proof[:-1], proof[-1][:31]], root)]
        for case in false:
            with pytest.raises(ProofError):
                merkle.check_inclusion(*case)


@pytest.mark.parametrize("new", [1, 2, 3, 7, 8, 9, 16, 21])
def test_every_consistency_proof(new: int) -> None:
    nodes = nodes_of(tree(new))
    roots = [merkle.root(nodes, size) for size in range(new + 1)]
    for old in range(new + 1):
        proof = merkle.consistency(nodes, old, new)
        merkle.check_consistency(old, new, proof, roots[old], roots[new])
        other = leaf_hash(b"another")
        false = [
            (old, new, proof, other, roots[new]),
            (old, new, [*proof, other], roots[old], roots[new]),
        ]
        if old:
            false.append((old, new, proof, roots[old], other))
        if proof:
            false.append((old, new, proof[:-1], roots[old], roots[new]))
            false.append((old, new, [other, *proof[1:]], roots[old], roots[new]))
        for case in false:
            with pytest.raises(ProofError):
                merkle.check_consistency(*case)
    with pytest.raises(ProofError):
        merkle.check_consistency(new + 1, new, [], roots[new], roots[new])
