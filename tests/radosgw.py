"""Ceph's S3 server from Debian (radosgw, ceph-mon, ceph-osd), alone and in memory: one monitor,
one OSD on memstore, one gateway, all of them on loopback and in one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import Self

import httpx

from gateway.demo.postgres import NoServer, free_port

PROGRAMS = ("monmaptool", "ceph-mon", "ceph", "ceph-osd", "radosgw-admin", "radosgw")
START_SECONDS = 90.0
_CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{monitor}/0]
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc secure
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
mon allow pool size one = true
mon data avail crit = 1
mon max pg per osd = 1000
memstore device bytes = 1073741824
rgw enable usage log = false
run dir = {folder}
crash dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
"""


class Radosgw:
    """``url`` is where it serves; the owner of buckets has the keys ``key`` and ``secret``."""

    key = "testkey"
    secret = "testsecret"

    def __init__(self, folder: Path) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            raise NoServer(f"{', '.join(missing)}: not installed (tests/setup/tools deep does it)")
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = os.environ | {"CEPH_CONF": str(folder / "ceph.conf")}

    def start(self) -> Self:
        """Start everything; some ten seconds. ``NoServer`` if it does not come up."""
        fsid, osd, monitor = uuid.uuid4(), str(uuid.uuid4()), free_port()
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        (self.folder / "keyring").touch()
        (self.folder / "ceph.conf").write_text(
            _CONFIG.format(fsid=fsid, monitor=monitor, folder=self.folder)
        )
        try:
            monmap = str(self.folder / "monmap")
            address = f"[v2:127.0.0.1:{monitor}]"
            self._run("monmaptool", "--create", "--fsid", str(fsid), "--addv", "a", address, monmap)
            self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
            self._spawn("ceph-mon", "-i", "a")
            self._run("ceph", "osd", "new", osd)
            self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
            self._spawn("ceph-osd", "-i", "0")
            user = ("--uid=test", "--display-name=test")
            keys = (f"--access-key={self.key}", f"--secret={self.secret}")
            self._run("radosgw-admin", "user", "create", *user, *keys)
            self.serve()
        except BaseException:
            self.stop()
            raise
        return self

    def serve(self) -> None:
        """Start the gateway alone, again after ``kill``."""
        self._spawn(
            "radosgw", "-n", "client.rgw.a", f"--rgw-frontends=beast endpoint=127.0.0.1:{self.port}"
        )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                if httpx.get(self.url, timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise NoServer("radosgw does not answer")

    def kill(self) -> None:
        """The gateway dies, at once. What it had acknowledged is kept."""
        process = self._daemons.pop("radosgw")
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End everything."""
        for process in reversed(self._daemons.values()):
            process.kill()
            process.wait()
        self._daemons.clear()

    def _run(self, *words: str) -> None:
        try:
            done = subprocess.run(
                words,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NoServer(f"{words[0]} does not end") from None
        if done.returncode:
            raise NoServer(f"{' '.join(words[:3])}: {done.stderr.strip()[-300:]}")

    def _spawn(self, *words: str) -> None:
        with (self.folder / f"{words[0]}.out").open("ab") as out:
            self._daemons[words[0]] = subprocess.Popen(
                [*words, "-f"],
                env=self._environment,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
