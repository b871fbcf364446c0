"""An ssh that stalls: ``python git_stall.py MARK UP DOWN -- ssh ARGUMENTS``.

Passes standard input and output on, but no more than UP bytes towards the server
and DOWN bytes from it (-1: all). When either is used up it creates the file MARK
and passes nothing more that way: git waits at exactly that byte, until a test
removes MARK. Ends when ssh ends; if that was with success, with all that it said.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path


def pump(source: int, sink: int, most: int, mark: Path) -> None:
    """Copy ``most`` bytes, then none while ``mark`` is there, then the rest; at the
    end of ``source`` close ``sink``."""
    left = most
    while True:
        if not left:
            mark.touch()
            while mark.exists():
                time.sleep(0.02)
            left = -1
        try:
            piece = os.read(source, min(left, 65536) if left > 0 else 65536)
            if not piece:
                os.close(sink)
                return
            left -= len(piece) if left > 0 else 0
            while piece:
                piece = piece[os.write(sink, piece) :]
        except OSError:
            return


def main() -> int:
    mark, up, down = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    process = subprocess.Popen(sys.argv[5:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for source, sink, most in (
        (0, process.stdin.fileno(), up),
        (process.stdout.fileno(), 1, down),
    ):
        thread = threading.Thread(target=pump, args=(source, sink, most, mark), daemon=True)
        thread.start()
    code = process.wait()
    # What ssh said last. One that ended badly ends git at once, stalled or not.
    thread.join(30 if code == 0 else 5 if down < 0 or not mark.exists() else 0)
    return code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads that stall are daemons; nothing is left to flush
