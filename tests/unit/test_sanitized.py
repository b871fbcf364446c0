"""The parts in C once more, built with sanitizers: no read or write out of bounds, no
undefined arithmetic, while their own tests drive them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from protocols.compiled import PARTS, ROOT, SWITCH, sources_digest

DRIVERS = (
    "tests/unit/gateway/policy/test_masks.py",
    "tests/unit/gateway/test_gear.py",
    "tests/unit/gateway/test_gear_bytes.py",
    "tests/unit/gateway/test_gear_rounds.py",
    "tests/unit/gateway/test_gear_sessions.py",
    "tests/unit/protocols/postgres/test_pg_rows.py",
    "tests/unit/protocols/postgres/test_pg_copyout.py",
)
FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
SECONDS = 900
PATIENT = """
from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
"""


def runtimes() -> str:
    """What has to be loaded before Python itself, which isn't built so."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    paths = []
    for name in ("libasan.so", "libubsan.so"):
        said = subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        )
        path = said.stdout.strip()
        if not Path(path).is_absolute():
            pytest.skip(f"gcc has no {name}")
        paths.append(path)
    return " ".join(paths)


def built(root: Path) -> None:
    """A copy of the project under ``root``, with nothing but the parts in C built in it."""
    for name in ("gateway", "protocols", "recorder", "tests", "bench"):
        shutil.copytree(
            ROOT / name, root / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", "_hot.*")
        )
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "patient.py").write_text(PATIENT)
    for name, sources in PARTS.items():
        library = name.replace(".", "/") + sysconfig.get_config_var("EXT_SUFFIX")
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-g", "-O1", "-fno-omit-frame-pointer", *FLAGS,
             f'-DSOURCES="{sources_digest(name, root)}"', "-I", sysconfig.get_path("include"),
             sources[0], "-o", library],
            cwd=root,
            check=True,
        )  # fmt: skip


@pytest.mark.deep
@pytest.mark.timeout(SECONDS + 60)
def test_the_parts_in_c_stay_within_their_bounds(tmp_path: Path) -> None:
    preload = runtimes()
    built(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != SWITCH} | {
        "LD_PRELOAD": preload,
        # Python keeps what it allocated to the end; its own allocator would hide overruns.
        # What it finds goes to a file: standard error is pytest's at that moment.
        "ASAN_OPTIONS": f"detect_leaks=0:log_path={tmp_path / 'found'}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={tmp_path / 'found'}",
        "PYTHONMALLOC": "malloc",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:xdist",
         "-p", "patient",         "-m", "not deep", *DRIVERS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr + "".join(p.read_text() for p in tmp_path.glob("found.*"))
    assert done.returncode == 0, said[-4000:]
    assert "not compiled here" not in said, said[-4000:]
    assert "is not built here" not in said, said[-4000:]
