"""Row 76: nothing can be added to a push that waits for people: whoever speaks on loses it.
Goes red when bytes that come while a push is held are kept for later.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from git_kit import ZERO, Attack, advertised, history, request
from git_stack import ending

HELD = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
verdict = "allow"

[[rule]]
id = "main-is-held"
on = "git.push"
where = { ref = "refs/heads/main" }
verdict = "hold"
approve = { groups = ["leads"], count = 1, ttl = "10m" }
message = "main is held"
"""


@pytest.mark.parametrize("what", ["a byte", "another push", "another pack"])
def test_more_while_it_is_held(attacks: Callable[..., Attack], what: str) -> None:
    attack = attacks(HELD)
    name = attack.route.repository()
    work = attack.route.new_work(name)
    old = work.commit("file", "1")
    work.git("push", "-q", attack.server.root / f"{name}.git", "main")
    unharmed = attack.untouched(name)
    shown, other = history(old), history(old, content=b"another\n")
    more = {
        "a byte": b"0",
        "another push": request((ZERO, shown.tip, "refs/heads/side")),
        "another pack": other.pack(),
    }
    service = f"git-receive-pack '{name}.git'"
    with ending(
        subprocess.Popen(
            ["ssh", "-F", attack.client.ssh_config, attack.client.host, service],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=attack.client.environment,
            start_new_session=True,
        )
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        advertised(process.stdout)
        process.stdin.write(request((old, shown.tip, "refs/heads/main"), pack=shown.pack()))
        process.stdin.flush()
        approval = attack.stack.held()["id"]
        process.stdin.write(more[what])
        process.stdin.flush()
        said = process.stdout.read()
        assert b"speaks on behind its push" in said, said
        assert attack.stack.decide("approve", approval).returncode
    unharmed()
