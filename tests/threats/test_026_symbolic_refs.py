"""Row 26: a ref that stands for another on the server is no way around the other's rules.
Goes red when the inquiry does not ask which refs are symbolic.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import Attack

MAIN_STAYS = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
verdict = "allow"

[[rule]]
id = "main-stays"
on = "git.push"
where = { ref = "refs/heads/main" }
verdict = "block"
message = "{ref} is not pushed to"
"""


@pytest.mark.parametrize("alias", ["refs/heads/alias", "refs/remotes/origin/HEAD"])
@pytest.mark.parametrize("how", ["force", "forward", "delete"])
def test_by_another_name(attacks: Callable[..., Attack], alias: str, how: str) -> None:
    attack = attacks(MAIN_STAYS)
    name = attack.route.repository()
    work = attack.route.new_work(name)
    work.commit("first", "1")
    work.commit("second", "2")
    work.git("push", "-q", attack.server.root / f"{name}.git", "main")
    attack.server.git(name, "symbolic-ref", alias, "refs/heads/main")
    unharmed = attack.untouched(name)
    if how == "force":
        work.git("reset", "-q", "--hard", "HEAD~1")
    elif how == "forward":
        work.commit("third", "3")
    done = work.run(
        "push", "--force", "origin", f":{alias}" if how == "delete" else f"main:{alias}"
    )
    assert done.returncode == 1
    assert "is a symbolic ref upstream" in done.stdout, done
    unharmed()
