"""Row 16: nothing that a client names can be taken for an option by a program.

The real server's command line is built from a parsed service and a canonical name, which
begins with no dash; refs never reach a command line at all. Goes red without the check for a
leading dash in ``protocols.git.names.canonical``.
"""

from __future__ import annotations

import pytest
from git_kit import ZERO, Attack, history, request

PATHS = [
    "--upload-pack=touch /tmp/owned", "-oProxyCommand=id", "--help", "-", "org/--mirror",
    "-org/app", "--/app", "org/-app.git",
]  # fmt: skip
REFS = ["--mirror", "-d", "--receive-pack=x", "-", "refs/heads/-d\n--force", "-/heads/x"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("program", ["git-upload-pack", "git-receive-pack", "git-upload-archive"])
def test_a_repository(attack: Attack, program: str, path: str) -> None:
    before = attack.ran()
    said = attack.execute(f"{program} '{path}'")
    assert said.code not in (0, 255)
    assert not said.out
    assert attack.ran() == before, "the real server was asked to run something"


@pytest.mark.parametrize("ref", REFS)
def test_a_ref(attack: Attack, ref: str) -> None:
    name, _ = attack.seeded()
    unharmed = attack.untouched(name)
    made = history()
    said = attack.push(name, request((ZERO, made.tip, ref), pack=made.pack()))
    assert said.code or b"ng " in said.out, said
    unharmed()


def test_an_option_of_git_that_names_a_program(attack: Attack) -> None:
    """git's own ``--upload-pack`` and ``--receive-pack`` change the command line
    that its ssh sends."""
    name, work = attack.seeded()
    before = attack.ran()
    for line in (
        ("ls-remote", "--upload-pack=/bin/sh -c id;", "origin"),
        ("ls-remote", "--upload-pack=git-upload-pack --strict", "origin"),
        ("push", "--receive-pack=git-receive-pack;id;", "origin", "main:other"),
        ("push", "--receive-pack=git-shell", "origin", "main:other"),
    ):
        done = work.run(*line, timeout=20)
        assert done.returncode, line
    assert attack.ran() == before
    assert list(attack.route.refs(name)) == ["refs/heads/main"]
