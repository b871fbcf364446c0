"""The gateway as a contender, with a policy and with recording."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.contenders import DATABASE, PEERS, ROOT, Door, Process, fresh_port
from bench.figures import Check
from gateway.demo.issuer import DemoIssuer
from gateway.demo.postgres import SUPERUSER, Server
from recorder.catalog import catalog

CONFIG = """\
version = 1
state = "state"
policy = "policy.toml"

[recording]
durability = "{durability}"
low_water = "64MiB"
critical = "16MiB"

[limits]
connections = 12000
per_address = 12000
approvals_per_principal = 12000

[[listener]]
address = "127.0.0.1:{port}"
protocol = "postgres"
target = "db"
tls = "off"

[issuer.bench]
iss = "{iss}"
audience = "{audience}"
algorithms = ["ES256"]
jwks = "issuer/jwks.json"
kind = "agent"

[target.db]
protocol = "postgres"
upstream = "{host}:{upstream}"
user = "{user}"
password = "ref+file://upstream-password"
database = "{database}"
tls = "disable"
"""

UNRECORDED = "gateway unrecorded"
WITHOUT_RECORDS = ("direct", "bare relay", *PEERS)
LISTENS = re.compile(r"(gateway: (ready|[a-z0-9-]+ on)|bench: this gateway records nothing)\b")


def owed_by(entrants: Iterable[str]) -> list[str]:
    """Names of the checks that the gateways among ``entrants`` leave when they end."""
    gateways = [name for name in entrants if name not in WITHOUT_RECORDS]
    return [each for name in gateways for each in (_ended(name), _records(name))]


def _ended(name: str) -> str:
    return f"{name} ended well"


def _records(name: str) -> str:
    said = "nothing is on record" if name == UNRECORDED else "recordings verify"
    return f"{name}: {said}"


def rules(*, masks: bool = True) -> str:
    """The policy of the bench, with or without its rules that mask."""
    text = Path(__file__).with_name("policy.toml").read_text()
    if masks:
        return text
    head, *each = text.split("[[rule]]")
    return "[[rule]]".join([head, *(rule for rule in each if 'verdict = "mask"' not in rule)])


def more_rules(count: int) -> str:
    """So many rules on the same verbs that apply to nothing here, so that each
    may have to be looked at."""
    return "".join(MORE.format(n=n) for n in range(count))


MORE = """
[[rule]]
id = "more-{n}"
on = ["sql.select", "sql.update", "sql.delete"]
where = {{ tables = "app{n}.*" }}
verdict = "block"
"""


def write_config(
    folder: Path, server: Server, durability: str, *, masks: bool = True, policy: str = ""
) -> Door:
    """Write ``gateway.toml`` and all that it names into ``folder``; where the
    gateway will listen, and the token to come with. ``policy``: instead of the
    bench's."""
    port = fresh_port()
    issuer = DemoIssuer(folder / "issuer")
    (folder / "policy.toml").write_text(policy or rules(masks=masks))
    secret = folder / "upstream-password"
    secret.touch(mode=0o600)
    secret.write_text(server.password)
    (folder / "gateway.toml").write_text(
        CONFIG.format(
            durability=durability,
            port=port,
            iss=issuer.iss,
            audience=issuer.audience,
            host=server.host,
            upstream=server.port,
            user=SUPERUSER,
            database=DATABASE,
        )
    )
    return Door(port, "agent", issuer.token("agent", seconds=86400))


class Gateway(Process):
    """A gateway of any protocol. ``stop`` verifies all that was recorded since
    the start."""

    through: tuple[str, ...] = ()
    """A module that runs the gateway's within, and its arguments before that."""
    _kept: Path | None = None

    def serve(self, module: str = "gateway.cli") -> None:
        """Start it, with the configuration in its folder."""
        words = [*self.through, module, "serve", "-c", str(self.folder / "gateway.toml")]
        self._launch([sys.executable, "-m", *words], lambda said: "gateway: ready" in said)

    def keep(self, folder: Path) -> None:
        """Move its state there at the end, rather than to remove it."""
        self._kept = folder

    def stop(self) -> list[Check]:
        """End it, verify every recording that it made, remove them."""
        code = self._end()
        said = [line for line in self.output().splitlines() if not LISTENS.match(line)]
        checks = [
            Check(
                _ended(self.name),
                code == 0 and not said,
                f"exit code {code}" + (f": {_telling(said)}" if said else ""),
            )
        ]
        try:
            checks.append(self._verified())
            if self._kept is not None:
                shutil.move(self.folder / "state", self._kept)
        finally:
            self._remove()
        return checks

    def _recorder(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "recorder.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ | {"WIREWARDEN_STATE": str(self.folder / "state")},
        )

    def _verified(self) -> Check:
        name = _records(self.name)
        sessions = [line.as_dict() for line in catalog(self.folder / "state")]
        if not sessions:
            return Check(name, False, "nothing was recorded")
        done = self._recorder("verify", "--all", "--json")
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        bad = [v for v in verdicts if not v["status"].startswith("OK")]
        good = done.returncode == 0 and not bad and len(verdicts) == len(sessions)
        counts = {
            name: sum(s[name] for s in sessions)
            for name in ("allowed", "masked", "held", "blocked")
        }
        size = sum(s["bytes"] or 0 for s in sessions)
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        detail = f"{len(verdicts)} sessions, {size / 1e6:,.1f} MB, verdicts: {said}"
        if not good:
            why = f"{bad[0]['status']}: {bad[0]['message']}" if bad else done.stderr.strip()
            detail += f"; exit code {done.returncode}, {len(bad)} bad; {why}"
        return Check(name, good, detail)


def _telling(said: list[str]) -> str:
    """The last line of an output that tells something (a traceback's frames around
    the error of a group don't)."""
    words = [line.strip("|+- ") for line in said]
    return next((line for line in reversed(words) if line.strip("-^ 0123456789")), words[-1])


class Wirewarden(Gateway):
    """One worker with the policy of the bench (or ``policy``). ``kind``: ``os`` or
    ``disk``, its durability; ``no masks``: ``os``, without the rules that mask;
    ``unrecorded``: a gateway of the bench alone that writes nothing down."""

    def __init__(self, server: Server, kind: str, *, name: str = "", policy: str = "") -> None:
        super().__init__()
        self.name = name or f"gateway {kind}"
        self._server = server
        self._kind = kind
        self._policy = policy

    def start(self) -> None:
        folder = self.folder = Path(tempfile.mkdtemp(prefix="bench-gateway-"))
        kind = self._kind
        self.door = write_config(
            folder,
            self._server,
            kind if kind in ("os", "disk") else "os",
            masks=kind != "no masks",
            policy=self._policy,
        )
        self.serve("bench.unrecorded" if kind == "unrecorded" else "gateway.cli")

    def _verified(self) -> Check:
        if self._kind != "unrecorded":
            return super()._verified()
        return nothing_recorded(self)


def nothing_recorded(gateway: Gateway) -> Check:
    """Of one that throws records away: that it did."""
    left = [path for path in (gateway.folder / "state" / "sessions").rglob("*") if path.is_file()]
    said = "bench only: records are thrown away, so that what they cost can be seen"
    return Check(_records(gateway.name), not left, said)
