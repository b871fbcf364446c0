"""Flame graphs, and the sampler for where py-spy can't attach."""

from __future__ import annotations

import threading
import time
from xml.etree import ElementTree

from bench.flame import at_work, draw, folded, for_whom, part, shares, told, tree
from bench.sampler import Sampler, written

STACKS = (
    "0x7f (libc.so.6);main (gateway/cli.py:5);send (gateway/leg.py:9);send (libc.so.6) 6\n"
    "0x7f (libc.so.6);main (gateway/cli.py:5);pack (recorder/journal.py:1) 3\n"
    "main (gateway/cli.py:5);run (trio/r.py:1);EpollIOManager.get_events (trio/x.py:2) 50\n"
    "spin (gateway/island.py:3);EpollSelector.select (selectors.py:451);epoll_wait (libc.so.6) 40\n"
    "cut (recorder/cutting.py:5);time_sleep (libpython3.11.so.1.0);clock_nanosleep (libc.so.6) 8\n"
    "no count\n"
)


def test_stacks_are_read_and_waiting_is_left_out() -> None:
    found = at_work(folded(STACKS))
    assert sum(folded(STACKS).values()) == 107
    assert sum(found.values()) == 9
    assert not any(stack.startswith("0x") for stack in found)


def test_the_tree_adds_up() -> None:
    root = tree(at_work(folded(STACKS)))
    main = root.called["main (gateway/cli.py:5)"]
    assert (root.samples, main.samples, main.own) == (9, 9, 0)
    assert sorted(child.samples for child in main.called.values()) == [3, 6]


def test_whose_code_it_is() -> None:
    assert part("ready (gateway/session.py:4)") == "gateway"
    assert part("CPyDef_clientlane___scan_protocols (_hot__mypyc.so)") == "protocols"
    assert part("loads (json/__init__.py:3)") == "Python"
    assert part("send (libc.so.6)") == "native"
    assert for_whom("a (gateway/x.py);b (json/y.py);c (libc.so.6)") == "a (gateway/x.py)"
    functions, parts = shares(at_work(folded(STACKS)))
    assert parts == {"gateway": 6, "recorder": 3}
    assert functions["send (libc.so.6)  for send (gateway/leg.py:9)"] == 6
    assert "gateway 67%" in told(at_work(folded(STACKS)))[0]


def test_the_drawing_is_well_formed_and_has_every_function() -> None:
    text = draw(at_work(folded(STACKS)), "a <title>", "about & more")
    root = ElementTree.fromstring(text)
    titles = "".join(root.itertext())
    for name in ("gateway/cli.py", "gateway/leg.py", "recorder/journal.py", "a <title>"):
        assert name in titles
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_thread_sees_what_another_is_busy_with() -> None:
    def spin() -> None:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            sum(range(100))

    sampler = Sampler(threading.get_ident())
    sampler.start()
    spin()
    found = folded(written(sampler.stop()))
    assert sum(count for stack, count in found.items() if "spin" in stack) >= 5
