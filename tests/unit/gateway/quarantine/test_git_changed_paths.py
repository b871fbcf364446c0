"""Changed paths of random trees and histories, against ``git diff`` and ``git diff-tree``."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from push_lab import Lab, git

NAMES = ("a", "b", "c d", "e\tf", "ü", "d1", "d2", ".github", "x\\y", "z\xff")


def scramble(chance: random.Random, root: Path) -> None:
    """Adds, changes, deletes and turns files, directories, links and modes."""
    for _ in range(chance.randint(1, 6)):
        path = os.fsencode(root)
        for _ in range(chance.randint(1, 3)):
            name = chance.choice(NAMES)
            path = os.path.join(path, name.encode("latin-1" if "\xff" in name else "utf-8"))
            if os.path.islink(path) or not os.path.isdir(path):
                break
        if os.path.isdir(path) and not os.path.islink(path):
            if chance.random() < 0.5:
                shutil.rmtree(path)
            continue
        if os.path.lexists(path):
            os.unlink(path)
            if chance.random() < 0.3:
                continue
        kind = chance.random()
        if kind < 0.15:
            os.symlink(chance.choice("abc"), path)
            continue
        if kind < 0.4:
            os.mkdir(path)
            path = os.path.join(path, b"f%d" % chance.randint(0, 3))
        body = b"".join(b"%d\n" % chance.randint(0, 5) for _ in range(chance.randint(0, 8)))
        with open(path, "wb") as file:
            file.write(body + chance.choice((b"", b"no newline", b"\0")))
        os.chmod(path, chance.choice((0o644, 0o644, 0o755)))


def rows(lab: Lab, *command: str) -> list[str]:
    return git(lab.client, *command).decode("utf-8", "surrogateescape").split("\0")[:-1]


@pytest.mark.parametrize("seed", range(12))
def test_paths_and_numbers_are_gits(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    lab = Lab(tmp_path, filters=seed % 3 > 0)
    scramble(chance, lab.client)
    lab.commit({"one": "1\n"})
    git(lab.client, "branch", "side")
    for _ in range(2):
        scramble(chance, lab.client)
        lab.commit({}, f"{chance.random()}")
    lab.push("HEAD:refs/heads/main", "side")
    old = lab.tip("refs/heads/main")
    for _ in range(chance.randint(1, 6)):
        if chance.random() < 0.25:
            git(lab.client, "checkout", "-q", "-f", "--detach", "HEAD~1")
        scramble(chance, lab.client)
        lab.commit({}, f"{chance.random()}")
        if chance.random() < 0.25:
            git(lab.client, "merge", "-q", "--no-ff", "-s", "ours", "side", "-m", "merge")
            scramble(chance, lab.client)
            git(lab.client, "add", "-A")
            git(lab.client, "commit", "-q", "--amend", "--allow-empty", "-m", "evil merge")
        if chance.random() < 0.3:
            lab.push("HEAD:refs/heads/elsewhere")
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert seen.whole, seen.why
    told = {each.path: each for each in seen.paths}
    tips = rows(lab, "diff", "-z", "--no-renames", "--name-status", old, "HEAD")
    status = dict(zip(tips[1::2], tips[::2], strict=True))
    paths = set(status)
    for commit in git(lab.client, "rev-list", f"{old}..HEAD").decode().split():
        command = ("diff-tree", "--root", "-c", "-r", "-z", "--no-renames", "--no-commit-id")
        paths.update(rows(lab, *command, "--name-only", commit))
    assert set(told) == paths
    assert {path: told[path].how for path in status} == status
    for row in rows(lab, "diff", "-z", "--no-renames", "--numstat", old, "HEAD"):
        plus, minus, path = row.split("\t", 2)
        each = told[path]
        if each.how == "T":
            continue  # git counts a changed type as all gone, and all new
        assert (each.plus, each.minus, each.binary) == (
            (None, None, True) if plus == "-" else (int(plus), int(minus), False)
        )
    assert [each.path for each in seen.paths] == sorted(told, key=os.fsencode)
