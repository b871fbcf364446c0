"""gateway.toml: read strictly, all errors at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import gateway.config_text
import protocols
from gateway.config import Address, Config, ConfigErrors, load_config
from gateway.identity.keys import verifier_text
from gateway.policy.judge import judge
from gateway.policy.load import compile_policy
from gateway.policy.principal import Principal
from protocols.contract import Command, Phase
from protocols.sql import ACTIONS, FACTS, analyse

SMALL = """\
version = 1
[[listener]]
address = "127.0.0.1:6432"
protocol = "postgres"
[principal.alice]
password = "ref+env://ALICE"
groups = ["dba"]
[target.db]
protocol = "postgres"
upstream = "127.0.0.1:5432"
user = "app"
password = "ref+env://DB"
database = "app"
"""
JWKS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "%s"}]}' % ("A" * 43)
ISSUER = """
[issuer.ci]
iss = "https://i.example"
audience = "wirewarden"
algorithms = ["EdDSA"]
jwks = "jwks.json"
"""

Load = Callable[..., Config]
Errors = Callable[[str], list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    (tmp_path / "jwks.json").write_text(JWKS)
    for name in ("gw.crt", "gw.key", "ca.crt", "auditor.pub"):
        (tmp_path / name).write_text("-")

    def run(text: str) -> Config:
        (tmp_path / "gateway.toml").write_text(text)
        return load_config(tmp_path / "gateway.toml")

    return run


@pytest.fixture
def errors(load: Load, tmp_path: Path) -> Errors:
    def run(text: str) -> list[str]:
        with pytest.raises(ConfigErrors) as caught:
            load(text)
        prefix = f"{tmp_path}/gateway.toml:"
        assert all(line.startswith(prefix) for line in caught.value.errors)
        return [line.removeprefix(prefix) for line in caught.value.errors]

    return run


def test_the_smallest_configuration(load: Load, tmp_path: Path) -> None:
    config = load(SMALL)
    assert config.state == tmp_path / "state"
    assert config.policy == tmp_path / "policy.toml"
    assert config.workers == 1
    (listener,) = config.listeners
    assert (listener.address, listener.tls, listener.target) == (("127.0.0.1", 6432), "off", "")
    target = config.targets["db"]
    assert (target.upstream, target.tls, target.durability) == (
        Address("127.0.0.1", 5432),
        "disable",
        "os",
    )
    assert target.password is not None
    assert target.password.reference == "ref+env://DB"
    assert config.groups == frozenset({"dba"})
    assert config.warnings == ()
    assert "ref+env://ALICE" not in repr(config.principals["alice"])


def test_everything(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = SimpleNamespace(
        settings={"flag": bool, "n": int, "f": float, "names": tuple}, doubts=None, carrier="tcp"
    )
    monkeypatch.setattr("protocols.load", lambda name: kind)
    config = load(
        """\
version = 1
state = "/var/lib/ww"
policy = "policy.toml"
workers = 4
[recording]
durability = "disk"
originals = "seal"
auditors = ["auditor.pub"]
low_water = "2GiB"
critical = "1MiB"
part_size = "2MiB"
part_time = "3m"
[limits]
connections = 5
per_address = 6
greeting = "500ms"
idle = "2h"
message = "64KiB"
held = "1MiB"
approvals_per_principal = 3
dial = "1m"
[[listener]]
address = "[::]:6432"
protocol = "postgres"
target = "db"
certificate = "gw.crt"
key = "gw.key"
[issuer.ci]
iss = "https://i.example"
audience = "wirewarden"
algorithms = ["RS256", "EdDSA"]
jwks = "https://i.example/jwks"
ca = "ca.crt"
kind = "agent"
leeway = "0"
max_age = "10m"
bind = "none"
required = { ref = "refs/heads/*", repository_id = ["1", "2"] }
[issuer.ci.claims]
subject = "email"
groups = "realm.roles"
run = "run"
tags = { env = "environment" }
[issuer.file]
iss = "https://j.example"
audience = "wirewarden"
algorithms = ["EdDSA"]
jwks = "jwks.json"
[issuer.loop]
iss = "http://127.0.0.1:9"
audience = "wirewarden"
algorithms = ["EdDSA"]
jwks = "http://127.0.0.1:9/jwks"
[principal.alice]
password = "%s"
kind = "agent"
tags = { team = "x" }
[target.db]
protocol = "postgres"
upstream = "db.example:5432"
user = "app"
password = "ref+file://secrets.json#db/password"
database = "app"
databases = ["report_*"]
tls = "require"
ca = "ca.crt"
auth = ["md5", "scram-sha-256"]
durability = "os"
groups = ["sre"]
allow_addresses = ["169.254.10.0/24"]
[target.db.settings]
flag = true
n = 5
f = 1
names = ["a"]
""".replace("%s", verifier_text("x", b"s" * 16))
    )
    assert config.state == Path("/var/lib/ww")
    assert config.recording.low_water == 2 << 30
    assert (config.recording.part_size, config.recording.part_time) == (2 << 20, 180.0)
    assert config.recording.auditors == (tmp_path / "auditor.pub",)
    limits = config.limits
    assert (limits.greeting, limits.idle, limits.dial) == (0.5, 7200.0, 60.0)
    assert (limits.message, limits.held, limits.approvals) == (65536, 1 << 20, 3)
    assert (config.listeners[0].address, config.listeners[0].tls) == (("::", 6432), "require")
    issuer = config.issuers["ci"]
    assert issuer.required == {"ref": ("refs/heads/*",), "repository_id": ("1", "2")}
    assert (issuer.jwks_url, issuer.jwks_file) == ("https://i.example/jwks", None)
    assert (issuer.leeway, issuer.max_age, issuer.bind) == (0.0, 600.0, "none")
    assert issuer.claims.tags == {"env": "environment"}
    assert config.issuers["file"].jwks_file == tmp_path / "jwks.json"
    assert config.groups is None
    target = config.targets["db"]
    assert target.settings == {"flag": True, "n": 5, "f": 1.0, "names": ("a",)}
    assert target.durability == "os"
    assert len(config.warnings) == 1
    assert "not verified" in config.warnings[0]


def test_all_errors_at_once_in_the_order_of_lines(errors: Errors) -> None:
    found = errors(
        SMALL.replace("version = 1", "version = 2\nstat = 'x'")
        .replace('protocol = "postgres"\n[p', 'protocl = "postgres"\n[p')
        .replace("upstream =", "upstrem =")
    )
    lines = [line.split(" ")[0] for line in found]
    assert lines == ["1:", "2:", "3:", "5:", "9:", "11:"]
    text = "\n".join(found)
    assert 'stat is not a known key; did you mean "state"?' in text
    assert 'listener[0].protocl is not a known key; did you mean "protocol"?' in text
    assert "listener[0].protocol is missing" in text
    assert "target.db.upstream is missing" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("version = 1\n", ""), r"1: version is missing"),
        (("version = 1", "version = true"), r"1: version must be a whole number"),
        (("version = 1", "version = 1\nworkers = 0"), r"2: workers must be a whole number from 1"),
        (("version = 1", 'version = 1\npolicy = "no.toml"'), r"2: policy is .*no\.toml.* read"),
        (("version = 1", 'version = 1\nstate = "gw.crt"'), r"2: state is .*not a directory"),
        (("version = 1", "version = 1\nrecording = 5"), r"2: recording must be a table"),
        (("version = 1", "version = 1\nlimits.idle = 5"), r"2: limits.idle must be a text"),
        (("version = 1", 'version = 1\nlimits.idle = "5"'), r"2: limits.idle must be a duration"),
        (("version = 1", 'version = 1\nlimits.idle = "-5s"'), r"2: limits.idle must be a duration"),
        (("version = 1", 'version = 1\nlimits.idle = "٣s"'), r"2: limits.idle must be a duration"),
        (("version = 1", 'version = 1\nlimits.greeting = "0"'), r"2: limits.greeting can't be off"),
        (("version = 1", 'version = 1\nlimits.held = "1MB"'), r"2: limits.held must be a size"),
        (("version = 1", 'version = 1\nlimits.held = "1KiB"'), r"2: limits.held is less than"),
        (("version = 1", 'version = 1\nlimits.message = "2GiB"'), r"2: limits.message must be"),
        (("version = 1", 'version = 1\nrecording.durability = "dsik"'), r'2: .* mean "disk"'),
        (("version = 1", 'version = 1\nrecording.originals = "seal"'), r"2: .*no auditors"),
        (("version = 1", 'version = 1\nrecording.auditors = ["x"]'), r"2: .*auditors\[0\] is"),
        (("version = 1", 'version = 1\nrecording.critical = "2GiB"'), r"2: .*more than low_water"),
        (("version = 1", 'version = 1\nrecording.part_size = "2GiB"'), r"2: .*1KiB to 1GiB"),
        (("127.0.0.1:6432", "127.0.0.1"), r"3: listener\[0\].address is not host:port"),
        (("127.0.0.1:6432", "0.0.0.0:6432"), r'2: listener\[0\].tls is "require", which needs'),
        (('"postgres"\n[p', '"postgres"\ntls = "allow"\n[p'), r"5: .*needs a certificate"),
        (('"postgres"\n[p', '"postgres"\nkey = "gw.key"\n[p'), r"2: .*certificate is missing"),
        (('"postgres"\n[p', '"postgres"\ncertificate = "gw.crt"\n[p'), r"2: .*\.key is missing"),
        (('"postgres"\n[p', '"postgres"\ncertificate = "x"\nkey = "gw.key"\n[p'), r"5: .*be read"),
        (('"postgres"\n[p', '"postgres"\ntarget = "dv"\n[p'), r'5: .* not a target; known: db'),
        (('"postgres"\n[p', '"resp"\n[p'), r"4: listener\[0\].protocol is resp, which no target"),
        (('"postgres"\n[p', '"resp"\ntarget = "db"\n[p'), r"5: .*speaks postgres"),
        (("[target.db]\nprotocol = \"postgres\"", "[target.db]\nprotocol = \"postgre\""),
         r'9: target.db.protocol can\'t be "postgre"; did you mean "postgres"'),
        (("127.0.0.1:5432", "127.0.0.1:6432"), r"10: target.db.upstream is this gateway's own"),
        (("127.0.0.1:5432", "localhost:6432"), r"10: target.db.upstream is this gateway's own"),
        (("127.0.0.1:5432", "169.254.169.254:80"), r"10: .*link-local"),
        (("127.0.0.1:5432", "0x7f000001:5432"), r"10: .*malformed IPv4"),
        (('"ref+env://DB"', '"hunter2"'), r"12: target.db.password is not a secret reference"),
        (('"ref+env://DB"', '"reff+env://DB"'), r"12: target.db.password is not a secret"),
        (('"ref+env://DB"', '"ref+vault://x#y"'), r"12: .*unknown scheme 'vault'; known: env"),
        (('password = "ref+env://DB"\n', ""), r"8: target.db.password is missing"),
        (('"ref+env://ALICE"', '"pencil"'), r"6: principal.alice.password is not a secret ref"),
        (('"ref+env://ALICE"', '"SCRAM-SHA-256$4096:x"'), r"6: .*not a whole SCRAM-SHA-256"),
        (('database = "app"', 'databases = ["a?"]'), r"13: .*bad pattern"),
        (('database = "app"', 'database = "a"\ntls = "verify"'), r'14: .*can\'t be "verify"'),
        (('database = "app"', 'database = "a"\nauth = ["md6"]'), r'14: .*auth\[0\] can\'t be'),
        (('database = "app"', 'database = "a"\ngroups = ["dbas"]'), r'14: .* mean "dba"'),
        (('database = "app"', 'database = "a"\nca = "ca.crt"'), r"14: .*ca is of no use"),
        (('database = "app"', 'database = "a"\nallow_addresses = ["x"]'), r"14: .*not a network"),
        (("[target.db]", "[target.\"d/b\"]"), r"8: target.d/b must be called by"),
        (("[principal.alice]", "[principal.\"a b\"]"), r"5: principal.a b must be called by"),
        (("[[listener]]", "[listener]"), r"2: listener must be written as \[\[listener\]\]"),
    ],
)  # fmt: skip
def test_what_is_refused(errors: Errors, change: tuple[str, str], says: str) -> None:
    text = SMALL.replace(*change)
    assert text != SMALL
    found = errors(text)
    assert any(re.match(says, line) for line in found), found
    assert "hunter2" not in "\n".join(found)
    assert "pencil" not in "\n".join(found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[issuer.ci]", "[issuer.local]"), r"15: issuer.local must be called by"),
        (('iss = "https://i.example"\n', ""), r"15: issuer.ci.iss is missing"),
        (('["EdDSA"]', '["HS256"]'), r'18: .*algorithms\[0\] can\'t be "HS256"'),
        (('["EdDSA"]', '["none"]'), r"18: .*algorithms\[0\]"),
        (('["EdDSA"]', "[]"), r"18: .*algorithms is empty"),
        (('["EdDSA"]', '["EdDSA", "EdDSA"]'), r"18: .*twice"),
        (('"jwks.json"', '"no.json"'), r"19: .*can't be read"),
        (('"jwks.json"', '"gw.crt"'), r"19: .*not strict JSON"),
        (('"jwks.json"', '"http://i.example/jwks"'), r"19: .*http, which is for loopback"),
        (('"jwks.json"', '"http://127.0.0.1.evil.example/"'), r"19: .*loopback"),
        (('"jwks.json"', '"file:///etc/passwd"'), r'19: .*scheme "file"'),
        (('"jwks.json"', '"https://user:pw@i.example/jwks"'), r"19: .*without a user"),
        (('"jwks.json"', '"https:///jwks"'), r"19: .*with a host"),
        (('"jwks.json"', '"https://[::1/jwks"'), r"19: .*well-formed"),
        (('"jwks.json"', '"jwks.json"\nleeway = "1h"'), r"20: .*more than 5m"),
        (('"jwks.json"', '"jwks.json"\nkind = "human"'), r"20: .*kind can't be"),
        (('"jwks.json"', '"jwks.json"\nbind = "yes"'), r"20: .*bind can't be"),
        (('"jwks.json"', '"jwks.json"\nca = "ca.crt"'), r"20: .*of no use"),
        (('"jwks.json"', '"jwks.json"\nrequired = { a = 5 }'), r"20: issuer.ci.required.a must"),
        (('"jwks.json"', '"jwks.json"\nrequired = { a = "?" }'), r"20: .*bad pattern"),
        (('"jwks.json"', '"jwks.json"\nrequired = { a = [] }'), r"20: issuer.ci.required.a must"),
        (('"jwks.json"', '"jwks.json"\nclaims.sub = "x"'), r"20: issuer.ci.claims.sub is not"),
    ],
)
def test_issuers_that_are_refused(errors: Errors, change: tuple[str, str], says: str) -> None:
    text = (SMALL + ISSUER).replace(*change)
    assert text != SMALL + ISSUER
    found = errors(text)
    assert any(re.match(says, line) for line in found), found


def test_two_issuers_of_one_name(errors: Errors) -> None:
    found = errors(SMALL + ISSUER + ISSUER.replace("issuer.ci", "issuer.cd"))
    assert found == ["22: issuer.cd.iss is that of issuer.ci too"]


def test_nothing_to_do(errors: Errors) -> None:
    found = errors("version = 1\n")
    assert len(found) == 3
    assert all("is missing" in line for line in found)


def test_settings_are_the_protocols(
    errors: Errors, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = SimpleNamespace(settings={"flag": bool, "n": int}, doubts=None, carrier="tcp")
    monkeypatch.setattr("protocols.load", lambda name: kind)
    found = errors(SMALL + 'settings = { flga = true, n = true, flag = "x" }\n')
    assert len(found) == 3
    assert any("flga is not a setting of postgres" in line and '"flag"' in line for line in found)
    assert load(SMALL + "settings = { n = 3 }\n").targets["db"].settings == {"n": 3}


def test_what_a_protocol_doubts_is_warned_about(errors: Errors, load: Load) -> None:
    warned = load(SMALL + 'settings = { search_path = "" }\n').warnings
    assert ["settings.search_path is empty" in line for line in warned] == [True]
    assert load(SMALL + 'settings = { search_path = "public" }\n').warnings == ()
    assert any("NUL" in line for line in errors(SMALL + 'settings = { search_path = "\\u0000" }\n'))


def test_cleartext_needs_a_verified_upstream(errors: Errors, load: Load) -> None:
    clear = SMALL + 'auth = ["cleartext"]\n'
    assert load(clear).targets["db"].auth == ("cleartext",)
    remote = clear.replace("127.0.0.1:5432", "db.example:5432")
    assert load(remote).targets["db"].tls == "verify-full"
    assert "cleartext" in errors(remote + 'tls = "require"\n')[0]


def test_warnings(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("x")
    (tmp_path / "pw").chmod(0o644)
    text = SMALL.replace("ref+env://DB", "ref+file://pw").replace("127.0.0.1:6432", "0.0.0.0:6432")
    config = load(text.replace('"postgres"\n[p', '"postgres"\ntls = "off"\n[p'))
    assert any("make it 0600" in w for w in config.warnings)
    assert any("in clear" in w for w in config.warnings)


@pytest.mark.parametrize(
    "text", ["version = ", 'version = 1\nversion = 2\n', '[target.db]\n[target.db]\n', 'x = "\n']
)  # fmt: skip
def test_what_is_no_toml(errors: Errors, text: str) -> None:
    (found,) = errors(text)
    assert re.match(r"\d+: ", found)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigErrors, match="UTF-8"):
        load_config(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("sql", "verdict"),
    [
        ("SELECT id FROM orders", "mask"),
        ("UPDATE orders SET x = 1 WHERE id = 1", "allow"),
        ("UPDATE orders SET x = 1", "block"),
        ("UPDATE orders SET x = 1 WHERE true", "block"),
        ("DELETE FROM orders WHERE id = 1", "hold"),
        ("DELETE FROM orders", "block"),
        ("DROP TABLE orders", "block"),
        ("BEGIN", "allow"),
        ("SET application_name = 'x'", "allow"),
        ("SET ROLE postgres", "block"),
        ("RESET ALL", "block"),
        ("not sql at all", "block"),
    ],
)
def test_the_example_policy(sql: str, verdict: str) -> None:
    policy = compile_policy(
        gateway.config_text.POLICY,
        source="policy.toml",
        actions={"sql": (ACTIONS, FACTS)},
        groups=frozenset({"dba"}),
        targets=frozenset({"prod-db"}),
    )
    command = Command(1, Phase.RUN, sql, analyse(sql).parts)
    decision = judge(command, Principal("a", "local"), "prod-db", policy, None)
    assert str(decision.verdict) == verdict


def test_the_example_loads(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(gateway.config_text.POLICY)
    where = tmp_path / "gateway.toml"
    where.write_text(gateway.config_text.GATEWAY)
    config = load_config(where)
    assert config.warnings == ()
    assert set(config.targets) == {"prod-db"}


def test_the_example_loads_with_everything_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = protocols.load
    ssh = SimpleNamespace(settings={}, doubts=None, carrier="ssh", name="git-ssh")
    if "git-ssh" not in protocols.NAMES:
        monkeypatch.setattr("protocols.NAMES", (*protocols.NAMES, "git-ssh"))
        monkeypatch.setattr("protocols.load", lambda name: ssh if name == "git-ssh" else load(name))
    (tmp_path / "policy.toml").write_text(gateway.config_text.POLICY)
    for name in (
        "gateway.crt",
        "gateway.key",
        "upstream-ca.crt",
        "auditor.pub",
        "ssh_host_key",
        "tsa-ca.pem",
    ):
        (tmp_path / name).write_text("-")
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    (tmp_path / "known_hosts").write_text(f"github.com ssh-ed25519 {key}\n")
    text, count = re.subn(r"(?m)^#(?=[\[a-z])", "", gateway.config_text.GATEWAY)
    assert count > 20
    text = text.replace("127.0.0.1:5432", "db.example:5432")
    (tmp_path / "gateway.toml").write_text(text)
    config = load_config(tmp_path / "gateway.toml")
    assert config.issuers["github"].bind == "address"
    assert config.listeners[0].tls == "require"
    assert config.targets["prod-db"].groups == {"dba"}
    assert config.listeners[1].host_key == tmp_path / "ssh_host_key"
    assert config.targets["app-repo"].host_keys == (f"ssh-ed25519 {key}",)
    assert len(config.principals["alice"].ssh_keys) == 1
