"""Row 29: a push option reaches the server's hooks only if the target lists it, as it was
written, and never as anything else. Goes red when options are forwarded without asking
``push_options``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import ZERO, Attack, history, request

from git_stack import ALLOW_GIT  # isort: skip

CAPS = b"report-status side-band-64k push-options object-format=sha1"
HOOK = """\
#!/bin/sh
i=0
while [ "$i" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
    eval "printf '%s\\n' \\"\\$GIT_PUSH_OPTION_$i\\""
    i=$((i + 1))
done > "$(dirname "$0")/../options"
"""
BAD = [
    b"other", b"ci.skip;id", b"ci.skip\nci.skip", b"ci.skip\0", b"ci.skip=1", b" ci.skip",
    b"ci.skip ", b"CI.skip", b"reviewer=bob\x1b[2J", b"reviewer=\xff", b"", b"-o", b"x" * 70,
]  # fmt: skip


@pytest.fixture
def listed(attacks: Callable[..., Attack]) -> Attack:
    return attacks(ALLOW_GIT, target='push_options = ["ci.skip", "reviewer=bob*"]')


def hooked(attack: Attack) -> tuple[str, Callable[[], str | None]]:
    name, _ = attack.seeded(1)
    folder = attack.server.root / f"{name}.git"
    hook = folder / "hooks" / "pre-receive"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    seen = folder / "options"

    def heard() -> str | None:
        return seen.read_text(errors="backslashreplace") if seen.exists() else None

    return name, heard


@pytest.mark.parametrize("option", BAD, ids=repr)
def test_what_is_not_listed(listed: Attack, option: bytes) -> None:
    name, heard = hooked(listed)
    unharmed = listed.untouched(name)
    made = history()
    raw = request(
        (ZERO, made.tip, "refs/heads/new"), caps=CAPS, options=[b"ci.skip", option],
        pack=made.pack(),
    )  # fmt: skip
    said = listed.push(name, raw)
    assert said.code or b"ng " in said.out, said
    assert heard() is None, "a hook ran"
    unharmed()


def test_what_is_listed(listed: Attack) -> None:
    name, heard = hooked(listed)
    made = history()
    raw = request(
        (ZERO, made.tip, "refs/heads/new"), caps=CAPS, options=[b"ci.skip", b"reviewer=bobby"],
        pack=made.pack(),
    )  # fmt: skip
    said = listed.push(name, raw)
    assert b"ok refs/heads/new" in said.out, said
    assert heard() == "ci.skip\nreviewer=bobby\n"


def test_with_git_itself(listed: Attack) -> None:
    name, heard = hooked(listed)
    work = listed.route.work(name)
    work.commit("more", "more")
    assert work.run("push", "-o", "other", "origin", "main").returncode
    assert heard() is None
    work.git("push", "-q", "-o", "ci.skip", "origin", "main")
    assert heard() == "ci.skip\n"
