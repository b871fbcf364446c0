"""Verdicts on random histories, against git's own (row 25 of THREATS.md)."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from push_lab import ENV, Lab, git, said

from protocols.git.survey import RefUpdate

BATCH = 25


def grow(chance: random.Random, name: str, skewed: bool) -> tuple[str, int]:
    """A fast-import stream of a random history, and its number of commits: one or
    more roots, merges of up to three parents, clocks that may run wrong."""
    count = chance.randint(2, 16)
    out = []
    for at in range(1, count + 1):
        time = 1_700_000_000 + (chance.randint(-90_000, 90_000) if skewed else at * 60)
        who = f"a <a@b> {time} +0000"
        text = f"{name} {at}"
        out.append(f"reset refs/all/{name}/{at}\n\ncommit refs/all/{name}/{at}\n")
        out.append(f"mark :{name[1:]}{at:03d}\nauthor {who}\ncommitter {who}\n")
        out.append(f"data {len(text)}\n{text}\n")
        older = list(range(max(1, at - chance.choice((1, 3, 20))), at))
        parents = chance.sample(older, min(len(older), chance.choice((0, 1, 1, 1, 1, 2, 3))))
        for verb, parent in zip(("from", "merge", "merge"), parents, strict=False):
            out.append(f"{verb} :{name[1:]}{parent:03d}\n")
        out.append(f"M 100644 inline f{at % 3}\ndata {len(text)}\n{text}\n\n")
    return "".join(out), count


def is_ancestor(where: Path, old: str, new: str) -> bool:
    command = ["git", "merge-base", "--is-ancestor", old, new]
    return subprocess.run(command, cwd=where, env=ENV, check=False).returncode == 0


def reach(parents: dict[str, list[str]], tip: str) -> set[str]:
    found: set[str] = set()
    left = [tip]
    while left:
        oid = left.pop()
        if oid not in found:
            found.add(oid)
            left += parents[oid]
    return found


def check(folder: Path, seed: int, filters: bool, skewed: bool) -> list[bool]:
    """One push of as many refs as ``BATCH``, each with a history of its own."""
    chance = random.Random(seed)
    lab = Lab(folder, filters=filters)
    grown = [grow(chance, f"h{seed * BATCH + at + 1}", skewed) for at in range(BATCH)]
    git(lab.client, "fast-import", "--quiet", feed="".join(s for s, _ in grown).encode())
    oids = dict(
        line.split()[::-1]
        for line in said(
            lab.client, "for-each-ref", "--format=%(objectname) %(refname)", "refs/all"
        ).splitlines()
    )
    updates, known, there = [], [], []
    for at, (_, count) in enumerate(grown):
        name = f"h{seed * BATCH + at + 1}"
        old, new = (oids[f"refs/all/{name}/{i}"] for i in chance.sample(range(1, count + 1), 2))
        there.append(f"{old}:refs/heads/{name}")
        if chance.random() < 0.7:
            known.append(old)
        for other in range(chance.randint(0, 2)):
            oid = oids[f"refs/all/{name}/{chance.randint(1, count)}"]
            there.append(f"{oid}:refs/heads/other/{name}/{other}")
            if chance.random() < 0.7:
                known.append(oid)
        updates.append(RefUpdate(old, new, f"refs/heads/{name}"))
    lab.push(*there)
    survey = lab.look(updates, lab.pack([u.new for u in updates], known), kinds=())
    assert not survey.refusal
    listed = said(lab.client, "log", "--all", "--format=%H %P").splitlines()
    parents = {line.split()[0]: line.split()[1:] for line in listed}
    for update, seen in zip(updates, survey.updates, strict=True):
        assert seen.forced is not is_ancestor(lab.client, update.old, update.new), update
        # Not rev-list old ^new: where clocks are wrong, it gives too many itself.
        before, after = reach(parents, update.old), reach(parents, update.new)
        lost, added = before - after, after - before
        told = {each.oid for each in seen.lost}, {each.oid for each in seen.added}
        if skewed:
            assert told[0] >= lost
            assert told[1] >= added
        else:
            assert told == (lost, added)
            assert (seen.lost_count, seen.added_count) == (len(lost), len(added))
        assert seen.whole, seen.why
        tips = said(lab.client, "diff", "--name-only", update.old, update.new).split()
        assert set(tips) <= {each.path for each in seen.paths}
    return [bool(seen.forced) for seen in survey.updates]


@pytest.mark.parametrize("seed", range(8))
def test_a_verdict_is_what_merge_base_says(tmp_path: Path, seed: int) -> None:
    verdicts = check(tmp_path, seed, filters=seed % 2 == 0, skewed=seed % 4 >= 2)
    assert len(set(verdicts)) == 2


@pytest.mark.deep
@pytest.mark.parametrize("part", range(40))
def test_ten_thousand_verdicts(tmp_path: Path, part: int) -> None:
    for seed in range(1000 + part * 10, 1010 + part * 10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        check(folder, seed, filters=seed % 2 == 0, skewed=seed % 4 >= 2)
