"""Where py-spy can't attach: stacks taken by a thread of the process itself.

Only Python's frames are seen, not those of compiled modules, and only what
holds still between two bytecodes. ``python -m bench.sampler FILE MODULE ARGS``
runs a module so; SIGUSR1 begins, SIGUSR2 writes what was seen to FILE.
"""

from __future__ import annotations

import runpy
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL = 0.005
ROOT = str(Path(__file__).resolve().parent.parent) + "/"


class Sampler(threading.Thread):
    """Counts the stacks of the thread ``watched`` until ``stop``."""

    def __init__(self, watched: int) -> None:
        super().__init__(daemon=True)
        self.stacks: Counter[str] = Counter()
        self._watched = watched
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(INTERVAL):
            frame = sys._current_frames().get(self._watched)
            stack = _stack(frame)
            # A thread that waits in the kernel for work is at rest.
            if stack and not stack.endswith(IDLE):
                self.stacks[stack] += 1

    def stop(self) -> Counter[str]:
        """What was seen."""
        self._over.set()
        self.join()
        return self.stacks


IDLE = ("(trio/_core/_io_epoll.py)", "(selectors.py)")


def _stack(frame: FrameType | None) -> str:
    names: list[str] = []
    while frame is not None:
        code = frame.f_code
        place = code.co_filename.removeprefix(ROOT)
        place = place.rpartition("site-packages/")[2].rpartition("/python3.")[2]
        names.append(f"{code.co_name} ({place})")
        frame = frame.f_back
    return ";".join(reversed(names))


def written(stacks: Counter[str]) -> str:
    """As py-spy writes it."""
    return "".join(f"{stack} {count}\n" for stack, count in stacks.items())


def main(file: Path, module: str, arguments: list[str]) -> None:
    """Run ``module``; signals begin and end the sampling."""
    running: list[Sampler] = []

    def begin(_number: int, _frame: FrameType | None) -> None:
        running.append(Sampler(threading.main_thread().ident or 0))
        running[-1].start()

    def end(_number: int, _frame: FrameType | None) -> None:
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text(written(running.pop().stop()))
        fresh.replace(file)

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
