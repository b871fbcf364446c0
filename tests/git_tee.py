"""Runs a command and keeps a copy of its three streams: ``git_tee.py FOLDER -- COMMAND...``.

The witness of both ends of a git session. Each run has a folder of its own in FOLDER,
with ``stdin``, ``stdout``, ``stderr`` and ``line``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO


def pump(source: int, sink: BinaryIO, copy: Path) -> None:
    with copy.open("wb", buffering=0) as witness:
        while raw := os.read(source, 1 << 16):
            witness.write(raw)
            try:
                sink.write(raw)
                sink.flush()
            except OSError:
                return
    if sink is not sys.stdout.buffer and sink is not sys.stderr.buffer:
        sink.close()


def main() -> None:
    folder, line = Path(sys.argv[1]), sys.argv[3:]
    mine = Path(tempfile.mkdtemp(dir=folder, prefix=f"{len(list(folder.iterdir())):03}-"))
    (mine / "line").write_text("\n".join(line))
    pipe = subprocess.PIPE
    process = subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    out = [
        threading.Thread(
            target=pump, args=(process.stdout.fileno(), sys.stdout.buffer, mine / "stdout")
        ),
        threading.Thread(
            target=pump, args=(process.stderr.fileno(), sys.stderr.buffer, mine / "stderr")
        ),
    ]
    threading.Thread(target=pump, args=(0, process.stdin, mine / "stdin"), daemon=True).start()
    for thread in out:
        thread.start()
    for thread in out:
        thread.join()
    code = process.wait()
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
