"""The whole tour, in its order."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from gateway.demo.git_tour import STEPS, GitTour
from gateway.demo.stage import stage
from gateway.demo.tour import Tour, Voice


def run_tour(folder: Path, *, stay: bool) -> None:
    """Play it all; with ``stay`` wait for Ctrl-C at the end. Raises
    TourFailed and NoServer."""
    voice = Voice()
    began = time.monotonic()
    voice.say("starting a throw-away PostgreSQL, an OpenSSH server, and a gateway in front …")
    with stage(folder) as on:
        tour = Tour(on, voice)
        voice.say(f"all are up after {time.monotonic() - began:.1f} s")
        for step in (tour.masked, tour.blocked, tour.held, tour.recorded):
            step()
        if on.git is not None:
            GitTour(tour, on.git, first=5).play()
        else:
            voice.title(f"Without git: {on.no_git}")
            for name in STEPS:
                voice.say(f"skipped: {name}")
        voice.title("That was the main job")
        voice.say(f"configuration, policy and recordings are in {folder}")
        if stay:
            _stay(tour, voice)


def _stay(tour: Tour, voice: Voice) -> None:
    on = tour.on
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "ticket", "--ttl", "8h"],
        capture_output=True,
        text=True,
        env=on.environment | {"WIREWARDEN_TOKEN": tour.agent},
        check=True,
    )
    (on.folder / "dba.token").write_text(tour.dba)
    voice.title("It stays up. Paste into another terminal (Ctrl-C here ends it):")
    config = on.folder / "gateway.toml"
    print(f"PGPASSWORD={done.stdout.strip()} {tour.psql_line}")
    print(f"gateway approvals list -c {config}")
    print(f"gateway approvals approve AP-2 -c {config} --token-file {on.folder / 'dba.token'}")
    if on.git is not None:
        on.git.certify(on.environment, tour.agent)
        print(f'GIT_SSH_COMMAND="{on.git.client.ssh_command}" git clone {on.git.url}')
    print(f"recorder list --dir {on.folder / 'state'}", flush=True)
    try:
        on.gateway.wait()
    except KeyboardInterrupt:
        print()
