"""Row 6: certificates that say what they must not, shown by the machine's own ssh. Each
is signed by the gateway's authority, unless that is the point.

Goes red when the island lets its library judge certificates, or ``read_certificate``
leaves one of its questions out. More of them: tests/unit/gateway/identity/test_ssh_keys.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from git_stack import Route
from ssh_door import GateDoor, route_of

from gateway.demo.git_client import GitClient

Sign = Callable[..., None]


@pytest.fixture(scope="module")
def ssh(doors: Callable[..., GateDoor], tmp_path_factory: pytest.TempPathFactory) -> Route:
    return route_of(doors(), tmp_path_factory.mktemp("row-6"))


@pytest.fixture(scope="module")
def repository(ssh: Route) -> str:
    return ssh.repository()


@pytest.fixture
def client(ssh: Route) -> GitClient:
    """One with a key and without a certificate."""
    assert ssh.stack is not None
    ssh.stack.ssh_cert(ssh.client.key)  # there is an authority
    return ssh.stack.client(certified=False)


def let_in(ssh: Route, client: GitClient, repository: str) -> bool:
    done = client.run("ls-remote", client.url(f"{repository}.git"))
    assert done.returncode == 0 or "Permission denied" in done.stdout, done.stdout
    return done.returncode == 0


def inside() -> str:
    return json.dumps(
        {
            "version": 1, "subject": "s", "issuer": "demo", "kind": "ci", "groups": [],
            "run": "", "tags": {}, "claims": {},
        }
    )  # fmt: skip


def sign(
    ssh: Route,
    client: GitClient,
    *options: str,
    names: str = "s",
    valid: str = "-1m:+1h",
    by: Path | None = None,
) -> None:
    assert ssh.stack is not None
    words = ["ssh-keygen", "-q", "-s", str(by or ssh.stack.state / "ssh_ca"), "-I", "id"]
    words += ["-V", valid, *(["-n", names] if names else []), "-O", "clear"]
    words += ["-O", f"extension:principal@wirewarden={inside()}", *options]
    subprocess.run([*words, f"{client.key}.pub"], check=True, capture_output=True)


def test_one_like_ours_is_let_in(ssh: Route, client: GitClient, repository: str) -> None:
    assert not let_in(ssh, client, repository), "a key alone is nobody's"
    sign(ssh, client)
    assert let_in(ssh, client, repository)


CASES = {
    "no principal": ((), {"names": ""}),
    "two principals": ((), {"names": "s,root"}),
    "another's principal": ((), {"names": "root"}),
    "the same twice": ((), {"names": "s,s"}),
    "unknown critical option": (("-O", "critical:x@y=1"), {}),
    "a forced command": (("-O", "force-command=id"), {}),
    "for hosts": (("-h",), {}),
    "expired": ((), {"valid": "-2h:-1h"}),
    "not yet": ((), {"valid": "+1h:+2h"}),
    "for ever": ((), {"valid": "always:forever"}),
    "from elsewhere": (("-O", "source-address=192.0.2.0/24"), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_it_must_not_say(ssh: Route, client: GitClient, repository: str, case: str) -> None:
    options, change = CASES[case]
    sign(ssh, client, *options, **change)  # type: ignore[arg-type]
    assert not let_in(ssh, client, repository)


def test_another_authority(ssh: Route, client: GitClient, repository: str, tmp_path: Path) -> None:
    other = tmp_path / "ca"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    sign(ssh, client, by=other)
    assert not let_in(ssh, client, repository)


def test_signed_by_a_certificate(ssh: Route, client: GitClient, repository: str) -> None:
    """By the key of somebody whom the authority has certified."""
    assert ssh.stack is not None
    holder = ssh.stack.client()
    sign(ssh, client, by=holder.key)
    assert not let_in(ssh, client, repository)
    sign(ssh, client)
    path = Path(f"{client.key}-cert.pub")
    kind, text, *rest = path.read_text().split()
    blob = base64.b64decode(text)
    authority = base64.b64decode(
        subprocess.run(
            ["ssh-keygen", "-y", "-f", ssh.stack.state / "ssh_ca"],
            check=True, capture_output=True, text=True,
        ).stdout.split()[1]
    )  # fmt: skip
    assert blob.count(authority) == 1
    chain = Path(f"{holder.key}-cert.pub").read_text().split()[1]
    signer = base64.b64decode(chain)
    blob = blob.replace(
        len(authority).to_bytes(4, "big") + authority, len(signer).to_bytes(4, "big") + signer
    )
    path.write_text(" ".join([kind, base64.b64encode(blob).decode(), *rest]) + "\n")
    assert not let_in(ssh, client, repository)


def test_someone_elses(ssh: Route, client: GitClient, repository: str) -> None:
    """A certificate without the private key it is for."""
    assert ssh.stack is not None
    victim = ssh.stack.client()
    Path(f"{client.key}-cert.pub").write_bytes(Path(f"{victim.key}-cert.pub").read_bytes())
    assert not let_in(ssh, client, repository)
