"""Row 81: without a policy that was read whole nothing starts and nothing is allowed; a
broken reload changes nothing and raises an alarm.

Goes red when ``reload_policy`` lets the error of a broken file pass.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from stack import Stack
from wire import await_true, enter

from gateway.demo.postgres import Server

RULE = '[[rule]]\nid = "r"\non = "sql.*"\nincomplete = true\nverdict = "allow"\n'
BROKEN = {
    "empty": "",
    "no version": 'default = "allow"\n',
    "another version": 'version = 2\ndefault = "allow"\n',
    "unknown key": f"version = 1\nallow_all = true\n{RULE}",
    "unknown rule key": f"version = 1\n{RULE}verdic = 1\n",
    "unknown default": 'version = 1\ndefault = "permit"\n',
    "cut off": f"version = 1\n{RULE[:-8]}",
    "not toml": "\0\0\0",
    "not utf-8": "version = 1 # \udcff",
    "unknown set": f'version = 1\n{RULE}where = {{ tables = "@gone" }}\n',
    "bad expression": f'version = 1\n{RULE}text = "(["\n',
    "same rule twice": f"version = 1\n{RULE}{RULE}",
    "test that is none": "version = 1\n[[test]]\n",
}


@pytest.fixture(scope="module")
def reloading(started: Callable[..., Stack], pg: Server) -> Stack:
    return started(pg)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_reload_changes_nothing(reloading: Stack, name: str) -> None:
    good = reloading.policy_file.read_text()
    before = reloading.output().count("not reloaded")
    try:
        reloading.policy_file.write_bytes(BROKEN[name].encode("utf-8", "surrogateescape"))
        assert reloading.process is not None
        reloading.process.send_signal(signal.SIGHUP)
        await_true(lambda: reloading.output().count("not reloaded") > before, what="the alarm")
        with enter(reloading) as wire:
            assert wire.ask("SELECT 1").rows == [[b"1"]]
    finally:
        reloading.policy_file.write_text(good)


def test_a_policy_that_is_gone(reloading: Stack) -> None:
    aside = reloading.policy_file.with_suffix(".aside")
    before = reloading.output().count("not reloaded")
    reloading.policy_file.rename(aside)
    try:
        assert reloading.process is not None
        reloading.process.send_signal(signal.SIGHUP)
        await_true(lambda: reloading.output().count("not reloaded") > before, what="the alarm")
    finally:
        aside.rename(reloading.policy_file)


@pytest.mark.parametrize("name", ["empty", "unknown key", "cut off"])
def test_it_does_not_start(reloading: Stack, name: str) -> None:
    good = reloading.policy_file.read_text()
    try:
        reloading.policy_file.write_text(BROKEN[name])
        done = reloading.gateway("check")
        assert done.returncode != 0
        done = reloading.gateway("serve")
        assert done.returncode != 0
        assert "ready" not in done.stderr
    finally:
        reloading.policy_file.write_text(good)


def test_no_rules_allow_nothing(started: Callable[..., Stack], pg: Server) -> None:
    stack = started(pg, policy="version = 1\n")
    with enter(stack) as wire:
        for text in ("SELECT 1", "SHOW server_version", "BEGIN", "SET geqo = on", "COMMIT"):
            answer = wire.ask(text)
            assert answer.code == "42501", text
            assert "default" in str(answer.error)
