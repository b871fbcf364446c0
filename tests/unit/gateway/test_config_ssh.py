"""What gateway.toml says of git over SSH."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import protocols
from gateway.addresses import Address
from gateway.config import Config, ConfigErrors, TargetConfig, load_config
from gateway.known_hosts import pins_for, read_pin
from gateway.targets import Target, TargetRefused

ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Xm5ggyzC3dmWNCnNDqgTc9NbD6oeDSzvQmMCHjF2v"
ED_2 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC0bl6Wm4pFDlBH1nKqbJBSb2m0Yx2b8yAfJ9QnZFOVx"
SMALL = f"""\
version = 1
[[listener]]
address = "0.0.0.0:2222"
protocol = "git-ssh"
[principal.alice]
ssh_keys = ["{ED} alice@laptop"]
groups = ["leads"]
[target.repo]
protocol = "git-ssh"
upstream = "ssh://git@git.example:2022/srv/git/"
host_keys = ["{ED}"]
key = "ref+env://REPO_KEY"
repositories = ["org/*"]
"""

Load = Callable[..., Config]
Errors = Callable[[str], list[str]]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """git-ssh is a protocol that SSH carries."""
    load = protocols.load
    kind = SimpleNamespace(settings={}, doubts=None, carrier="ssh", name="git-ssh")
    monkeypatch.setattr("protocols.NAMES", tuple({*protocols.NAMES, "git-ssh"}))
    monkeypatch.setattr("protocols.load", lambda name: kind if name == "git-ssh" else load(name))


@pytest.fixture
def load(tmp_path: Path, known: None) -> Load:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    (tmp_path / "known").write_text(f"[git.example]:2022 {ED_2}\n")

    def run(text: str) -> Config:
        (tmp_path / "gateway.toml").write_text(text)
        return load_config(tmp_path / "gateway.toml")

    return run


@pytest.fixture
def errors(load: Load, tmp_path: Path) -> Errors:
    def run(text: str) -> list[str]:
        with pytest.raises(ConfigErrors) as caught:
            load(text)
        return [line.removeprefix(f"{tmp_path}/gateway.toml:") for line in caught.value.errors]

    return run


def test_the_smallest(load: Load, tmp_path: Path) -> None:
    config = load(SMALL)
    assert config.warnings == ()
    (listener,) = config.listeners
    assert (listener.tls, listener.certificate, listener.target) == ("off", None, "")
    assert listener.host_key == tmp_path / "state" / "ssh_host_ed25519_key"
    target = config.targets["repo"]
    assert target.upstream == Address("git.example", 2022)
    assert (target.user, target.root, target.host_keys) == ("git", "/srv/git", (ED,))
    assert (target.auth, target.tls, target.password) == (("publickey",), "disable", None)
    assert target.key is not None
    assert target.key.reference == "ref+env://REPO_KEY"
    assert target.settings == {
        "host_keys": (ED,),
        "root": "/srv/git",
        "max_pack": 1 << 30,
        "push_options": (),
    }
    assert config.principals["alice"].ssh_keys == (ED,)
    assert config.principals["alice"].password == ""
    assert config.limits.spool == 8 << 30


@pytest.mark.parametrize(
    ("upstream", "place", "user", "root"),
    [
        ("ssh://git@git.example", ("git.example", 22), "git", ""),
        ("ssh://git@git.example/", ("git.example", 22), "git", ""),
        ("ssh://git@[2001:db8::1]:23/a/b-c", ("2001:db8::1", 23), "git", "/a/b-c"),
        ('git.example:22"\nuser = "app', ("git.example", 22), "app", ""),
        ('ssh://git.example/x"\nuser = "app', ("git.example", 22), "app", "/x"),
    ],
)
def test_upstreams(load: Load, upstream: str, place: Any, user: str, root: str) -> None:
    target = load(SMALL.replace("ssh://git@git.example:2022/srv/git/", upstream)).targets["repo"]
    assert (target.upstream, target.user, target.root) == (place, user, root)


def test_everything(load: Load, tmp_path: Path) -> None:
    (tmp_path / "host").write_text("x")
    config = load(
        SMALL.replace('"git-ssh"\n[p', '"git-ssh"\ntarget = "repo"\nhost_key = "host"\n[p')
        + 'known_hosts = "known"\ncertificate = "ref+file://c"\npush_options = ["ci.*"]\n'
        'max_pack = "2GiB"\ngroups = ["leads"]\ndurability = "disk"\ncase = "lower"\n'
        '[limits]\nspool = "4GiB"\n'
    )
    assert config.listeners[0].host_key == tmp_path / "host"
    assert config.limits.spool == 4 << 30
    target = config.targets["repo"]
    assert target.host_keys == (ED, ED_2)
    assert target.certificate is not None
    assert target.settings["max_pack"] == 2 << 30
    assert target.settings["push_options"] == ("ci.*",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"git-ssh"\n[p', '"git-ssh"\ntls = "off"\n[p'), r"5: .*\.tls has no place .*own"),
        (('"git-ssh"\n[p', '"git-ssh"\ncertificate = "x"\n[p'), r"5: .*own encryption"),
        (('"git-ssh"\n[p', '"git-ssh"\nhost_kye = "x"\n[p'), r'5: .*did you mean "host_key"'),
        (('"git-ssh"\n[p', '"git-ssh"\nhost_key = "no"\n[p'), r"5: .*can't be read"),
        ((f'host_keys = ["{ED}"]\n', ""), r"8: target.repo.host_keys is missing"),
        ((f'host_keys = ["{ED}"]', "host_keys = []"), r"11: target.repo.host_keys is empty"),
        ((f'host_keys = ["{ED}"]', 'host_keys = ["ssh-ed25519 AAAA"]'), r"11: .*\[0\] is not a"),
        ((f'host_keys = ["{ED}"]', 'host_keys = ["git.example"]'), r"11: .*is not a public key"),
        ((f'host_keys = ["{ED}"]', f'host_keys = ["{ED[:-6]}"]'), r"11: .*not a whole public key"),
        ((f'host_keys = ["{ED}"]', 'known_hosts = "no"'), r"11: .*known_hosts is .*can't be read"),
        ((":2022", ":22"), None),
        (('key = "ref+env://REPO_KEY"\n', ""), r"8: target.repo.key is missing"),
        (('"ref+env://REPO_KEY"', '"hunter2"'), r"12: target.repo.key is not a secret reference"),
        (('repositories = ["org/*"]\n', ""), r"8: target.repo.repositories is missing"),
        (('["org/*"]', "[]"), r"13: .*repositories is empty"),
        (('["org/*"]', '["org/?"]'), r"13: .*bad pattern"),
        (('["org/*"]', '["org/a.git"]'), r"13: .*without .git"),
        (('["org/*"]', '["Org/*"]\ncase = "lower"'), r"13: .*never met"),
        (('["org/*"]', '["org/*"]\npassword = "ref+env://X"'), r"14: .*logs in with a key"),
        (('["org/*"]', '["org/*"]\ntls = "disable"'), r"14: .*own encryption"),
        (('["org/*"]', '["org/*"]\ndatabase = "x"'), r"14: .*write repositories"),
        (('["org/*"]', '["org/*"]\nmax_pack = "1B"'), r"14: .*4KiB or more"),
        (('["org/*"]', '["org/*"]\nmax_pack = "9GiB"'), r"14: .*more than limits.spool"),
        (('["org/*"]', '["org/*"]\nmax_pakc = "1GiB"'), r'14: .*mean "max_pack"'),
        (('["org/*"]', '["org/*"]\nuser = "root"'), r"14: .*another than"),
        (('["org/*"]', '["org/*"]\ngroups = ["laeds"]'), r'14: .*mean "leads"'),
        (("ssh://git@git", "ssh://git:hunter2@git"), r"10: .*is not a URL such as"),
        (("ssh://git@git", "ssh://git"), r"8: target.repo.user is missing"),
        (("ssh://", "https://"), r"10: .*is not a URL such as"),
        (("/srv/git/", "/srv/../git/"), r"10: .*plain folder"),
        (("/srv/git/", "/~git"), r"10: .*plain folder"),
        (("/srv/git/", "/a//b"), r"10: .*plain folder"),
        (("/srv/git/", "/-x"), r"10: .*plain folder"),
        (("/srv/git/", "/a%2fb"), r"10: .*plain folder"),
        (("git.example:2022", "169.254.169.254"), r"10: .*link-local"),
        (("git.example:2022", "git.example:99999"), r"10: .*port 99999"),
        (("git.example:2022", "127.0.0.1:2222"), r"10: .*own listener"),
        (('ssh_keys = ["', 'ssh_keys = ["from=x '), r"6: .*ssh_keys\[0\] is not a pub"),
        ((f'ssh_keys = ["{ED} alice@laptop"]\n', ""), r"5: .*password is missing, and"),
        ((f'["{ED} alice@laptop"]', "[]"), r"6: .*ssh_keys is empty"),
        ((f'["{ED} alice@laptop"]', f'["{ED} a", "{ED} b"]'), r"6: .*\[1\] is there twice"),
        ((f'["{ED} alice@laptop"]', '["ssh-dss AAAAB3NzaC1kc3MAAACB"]'), r'6: .*kind "ssh-dss"'),
        (("[target.repo]", f'[principal.bob]\nssh_keys = ["{ED}"]\n[target.repo]'),
         r"9: principal.bob.ssh_keys\[0\] is a key of principal.alice too"),
    ],
)  # fmt: skip
def test_what_is_refused(
    errors: Errors, load: Load, change: tuple[str, str], says: str | None
) -> None:
    text = SMALL.replace(*change)
    assert text != SMALL
    if says is None:
        load(text)
        return
    found = errors(text)
    assert any(re.match(says, line) for line in found), found
    assert "hunter2" not in "\n".join(found)


def test_rsa_of_principals_has_3072_bits(errors: Errors, load: Load, tmp_path: Path) -> None:
    for bits in (2048, 3072):
        make = ["ssh-keygen", "-q", "-t", "rsa", "-b", str(bits), "-N", "", "-f", f"r{bits}"]
        subprocess.run(make, cwd=tmp_path, check=True)
    short, enough = (
        (tmp_path / f"r{bits}.pub").read_text().strip().rsplit(" ", 1)[0] for bits in (2048, 3072)
    )
    (found,) = errors(SMALL.replace(f'ssh_keys = ["{ED}', f'ssh_keys = ["{short}'))
    assert "RSA of 2048 bits" in found
    load(SMALL.replace(f'ssh_keys = ["{ED}', f'ssh_keys = ["{enough}'))
    load(SMALL.replace(f'host_keys = ["{ED}', f'host_keys = ["{short}'))


def test_known_hosts_without_the_host_is_refused(errors: Errors, tmp_path: Path) -> None:
    text = SMALL.replace(f'host_keys = ["{ED}"]', 'known_hosts = "known"').replace(":2022", ":22")
    (found,) = errors(text)
    assert "which has no usable key of git.example:22" in found


def test_hosts_that_fold_case_are_warned_about(load: Load) -> None:
    text = SMALL.replace("git.example:2022", "github.com")
    assert any("names in any case" in line for line in load(text).warnings)
    assert load(text + 'case = "lower"\n').warnings == ()


def test_known_hosts_in_all_forms(tmp_path: Path) -> None:
    where = tmp_path / "k"
    where.write_text(f"git.example {ED}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(where)], check=True, capture_output=True)
    hashed = where.read_text()
    assert hashed.startswith("|1|")
    host, other = Address("git.example", 22), Address("git.example", 23)
    assert pins_for(host, hashed) == (ED,)
    assert pins_for(other, hashed) == ()
    assert pins_for(other, f"[git.example]:23 {ED} comment\n# x\n\n") == (ED,)
    assert pins_for(host, f"*.example,!git.example {ED}") == ()
    assert pins_for(host, f"a,*.EXAMPLE {ED}") == (ED,)
    assert pins_for(host, f"@cert-authority *.example {ED}") == (f"@cert-authority {ED}",)
    assert pins_for(host, f"git.example {ED}\n@revoked * {ED}") == ()
    assert (
        pins_for(host, f"git.example {ED[:-8]}\ngit.example ssh-ed25519\n@x git.example {ED}") == ()
    )
    assert read_pin(f"@cert-authority {ED} x") == f"@cert-authority {ED}"


def test_repositories(known: None) -> None:
    def target(**change: Any) -> Target:
        fields: dict[str, Any] = {
            "name": "repo",
            "protocol": "git-ssh",
            "upstream": Address("git.example", 22),
            "user": "git",
            "password": None,
            "repositories": ("org/*", "one"),
            **change,
        }
        return Target(TargetConfig(**fields))

    exact, lower = target(), target(case="lower")
    for name in ("org/repo", "org/a/b", "one", "org/Repo"):
        assert exact.choose(name) == name
        assert lower.choose(name) == name.lower()
    for name in (
        "", "repo", "other/x", "org", "org/", "org/../x", "org/x.git", "one/x", "org/-x", "org/x\n",
    ):  # fmt: skip
        with pytest.raises(TargetRefused, match="target repo has no such repository for you"):
            exact.choose(name)
    assert lower.choose("ORG/x") == "org/x"
    with pytest.raises(TargetRefused):
        exact.choose("ORG/x")
