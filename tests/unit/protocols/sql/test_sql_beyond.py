"""What a query does beyond its verb has to be permitted as that."""

from __future__ import annotations

import pytest

from protocols.sql import analyse

BEYOND = [
    ("SELECT set_config('role', 'admin', false)", {"sql.select", "sql.set"}),
    ("SELECT pg_reload_conf()", {"sql.select", "sql.admin"}),
    ("SELECT pg_terminate_backend(1)", {"sql.select", "sql.admin"}),
    ("SELECT pg_notify('c', 'x')", {"sql.select", "sql.notify"}),
    ("SELECT setval('s', 1)", {"sql.select", "sql.call"}),
    ("SELECT lo_creat(1)", {"sql.select", "sql.call"}),
    ("SELECT pg_advisory_lock(1)", {"sql.select", "sql.lock"}),
    ("INSERT INTO t SELECT pg_read_file('x')", {"sql.insert", "sql.select", "sql.admin"}),
    ("PREPARE p AS SELECT pg_reload_conf()", {"sql.prepare", "sql.select", "sql.admin"}),
    ("WITH x AS (SELECT setval('s', 1)) SELECT * FROM x", {"sql.select", "sql.call"}),
]
WITHIN = [
    ("SELECT pg_sleep(1)", {"sql.select"}),
    ("SELECT currval('s')", {"sql.select"}),
    ("SELECT * FROM t FOR UPDATE", {"sql.select"}),
    ("INSERT INTO t VALUES (nextval('s'))", {"sql.insert"}),
]


@pytest.mark.parametrize(("text", "actions"), BEYOND + WITHIN)
def test_actions(text: str, actions: set[str]) -> None:
    assert {part.action for part in analyse(text).parts} >= actions
    if (text, actions) in WITHIN:
        assert {part.action for part in analyse(text).parts} == actions


def test_the_part_has_its_own_effects_and_the_facts_of_the_query() -> None:
    select, changed = analyse("SELECT set_config('a.b', 'c', false) FROM t").parts
    assert select.action == "sql.select"
    assert changed.facts["sets"] == ("a.b",)
    assert changed.facts["tables"] == ("t",)
    assert {effect.of for effect in changed.effects} == {"setting"}
