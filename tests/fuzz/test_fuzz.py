"""Every reader of the recorder, and the cheap ones of the protocols, against bytes that
nobody meant: only the errors that it names, at once, in bounded memory.

In ``make test`` a small mutator with a fixed seed; in ``make deep`` atheris (libFuzzer), which
follows the branches that are taken. ``FUZZ_SECONDS`` is its time for each target.
"""

from __future__ import annotations

import importlib.util
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_targets import TARGETS

from protocols.compiled import SWITCH

HERE = Path(__file__).parent
SECONDS = 0.12
SLOW = 2.0
MOST = 300 << 10  # KiB that the process may grow by, in all
_WORDS = (
    b"\0", b"\xff", b"\x80", b"\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\n", b"\\", b'"', b"{",
    b"[", b"9" * 30, b"\xdd\xff\xff\xff\xff", b"\x1b[2J", b"\xc6\xff\xff\xff\xff",
)  # fmt: skip


def mutated(rng: random.Random, seeds: list[bytes], most: int) -> bytes:
    """A seed with a few things done to it."""
    raw = bytearray(rng.choice(seeds)[:most])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(raw) + 1)
        what = rng.randrange(7)
        if what == 0 and raw:
            raw[at % len(raw)] ^= 1 << rng.randrange(8)
        elif what == 1 and raw:
            raw[at % len(raw)] = rng.randrange(256)
        elif what == 2:
            del raw[at : at + rng.choice((1, 2, 4, 16, 1000))]
        elif what == 3:
            raw[at:at] = rng.choice(_WORDS)
        elif what == 4:
            word = rng.choice(_WORDS)
            raw[at : at + len(word)] = word
        elif what == 5:
            other = rng.choice(seeds)
            begin = rng.randrange(len(other) + 1)
            raw[at:at] = other[begin : begin + rng.choice((1, 4, 20, 200))]
        else:
            begin = rng.randrange(len(raw) + 1)
            raw[at:at] = raw[begin : begin + 8] * rng.choice((1, 2, 50))
    return bytes(raw[:most])


@pytest.mark.parametrize("name", TARGETS)
def test_a_little(name: str) -> None:
    """The same inputs in every run, as many as a tenth of a second allows."""
    target = TARGETS[name]
    rng = random.Random(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in target.seeds:
        target(seed)
    stop = time.monotonic() + SECONDS
    count = 0
    while (began := time.monotonic()) < stop or count < 20:
        raw = mutated(rng, target.seeds, target.most)
        try:
            target(raw)
        except BaseException as error:
            error.add_note(f"{name}, input {count}: {raw[:3000]!r}")
            raise
        assert time.monotonic() - began < SLOW, f"{name}, input {count} is slow: {raw[:3000]!r}"
        count += 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST, name


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_for_long(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install -e '.[fuzz]'")
    seconds = os.environ.get("FUZZ_SECONDS", "60")
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzz_forever.py"), name, f"-max_total_time={seconds}",
         "-timeout=5", "-rss_limit_mb=700", f"-artifact_prefix={tmp_path}/", "-seed=1",
         f"-max_len={TARGETS[name].most}", "-print_final_stats=1"],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), SWITCH: "1"},
        capture_output=True, text=True, errors="replace", check=False, timeout=int(seconds) + 300,
    )  # fmt: skip
    found = [path.read_bytes()[:3000] for path in tmp_path.iterdir()]
    assert done.returncode == 0, f"{found}\n{done.stderr[-4000:]}"
    runs = [row for row in done.stderr.splitlines() if "number_of_executed_units" in row]
    print(name, *runs)
