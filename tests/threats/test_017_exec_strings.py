"""Row 17: a command line is one of git's services with one quoted path, and nothing else.

Two forms run (with and without a leading slash); what the real server is given is
written anew from what was parsed. The differential test against git's own ``sq_dequote`` is
``tests/unit/protocols/git``. Goes red when ``protocols.ssh.exec.parse`` splits as a shell does.
"""

from __future__ import annotations

import pytest
from git_kit import FLUSH, Attack

BAD = [
    "git-upload-pack '{r}' ; id", "git-upload-pack '{r}';id", "git-upload-pack '{r}' '{r}'",
    "git-upload-pack ''{r}''", "git-upload-pack \"{r}\"", "git-upload-pack {r}",
    "git upload-pack '{r}'", "git-upload-pack  '{r}'", "git-upload-pack\t'{r}'",
    " git-upload-pack '{r}'", "git-upload-pack '{r}' ", "git-upload-pack '{r}'\n",
    "git-upload-pack '{r}'\nid", "git-upload-pack '{r}", "git-upload-pack {r}'", "git-upload-pack",
    "git-upload-pack ''", "git-upload-pack --strict '{r}'", "/usr/bin/git-upload-pack '{r}'",
    "git-upload-pack '{r}' && id", "git-upload-pack '{r}' | id", "git-upload-pack '`id`'",
    "git-upload-pack '$(id)'", "git-upload-pack '{r}'\\''", "GIT-UPLOAD-PACK '{r}'", "id", "sh",
    "git-shell -c 'git-upload-pack {r}'", "git-lfs-authenticate '{r}' download", "scp -t /tmp",
    "git-upload-pack '{r}\\''", "git-upload-pack '{r}'\\!''", "rsync --server",
    "git-upload-pack $'{r}'",
]  # fmt: skip


@pytest.mark.parametrize("line", BAD)
def test_nothing_else_runs(attack: Attack, line: str) -> None:
    name, _ = _repository(attack)
    before = attack.ran()
    said = attack.execute(line.replace("{r}", f"{name}.git"), FLUSH)
    assert said.code not in (0, 255), said
    assert not said.out
    assert b"uid=" not in said.err
    assert attack.ran() == before


@pytest.mark.parametrize("line", ["git-upload-pack '{r}.git'", "git-upload-pack '/{r}.git'"])
def test_the_forms_that_run(attack: Attack, line: str) -> None:
    name, tip = _repository(attack)
    said = attack.execute(line.replace("{r}", name), FLUSH)
    assert said.code == 0, said
    assert tip.encode() in said.out
    assert attack.ran()[-1] == f"git-upload-pack '{attack.server.root}/{name}.git'".encode()


@pytest.mark.parametrize("line", ["\n", " ", "\\", "'"])
def test_nothing_that_a_shell_would_take(attack: Attack, line: str) -> None:
    before = attack.ran()
    said = attack.execute(line)
    assert said.code != 0
    assert not said.out
    assert attack.ran() == before


_MADE: dict[int, tuple[str, str]] = {}


def _repository(attack: Attack) -> tuple[str, str]:
    """One for all lines: nothing here changes it."""
    if id(attack) not in _MADE:
        name, work = attack.seeded()
        _MADE[id(attack)] = (name, work.id())
    return _MADE[id(attack)]
