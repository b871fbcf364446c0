"""Disks that lose, fail, stall and fill up. What drives gateways is that of tests/threats."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "faults"), str(HERE.parent / "threats")]
