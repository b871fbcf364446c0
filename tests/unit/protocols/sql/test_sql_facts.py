"""Facts of parts: relations, columns, functions, settings."""

from __future__ import annotations

import pytest

from protocols.contract import Part
from protocols.sql import ACTIONS, FACTS, analyse, distrust, trust


def part(text: str, action: str = "sql.select") -> Part:
    (found,) = [p for p in analyse(text).parts if p.action == action]
    return found


def names(text: str, fact: str, action: str = "sql.select") -> set[str]:
    value = part(text, action).facts[fact]
    assert isinstance(value, tuple)
    assert len(set(value)) == len(value)
    return set(value)


READS = [
    ("select email from users", "users.email"),
    ("select u.email from public.users as u", "public.users.email"),
    ("select users.email from public.users", "public.users.email"),
    ("select public.users.email from public.users", "public.users.email"),
    ("select db.public.users.email from public.users", "public.users.email"),
    ("select * from users", "users.*"),
    ("select u.* from users u, orders o", "users.*"),
    ("select * from users u, orders o", "users.* orders.*"),
    ("table users", "users.*"),
    ("select email from users, orders", "users.email orders.email *.email"),
    ("select u from users u", "users.* users.u"),
    ("select row_to_json(u) from users u", "users.* users.u"),
    ("select u.row_to_json from users u", "users.* users.row_to_json"),
    ("select (u).email from users u", "users.* users.u"),
    ("select b from users as u(a, b)", "users.*"),
    ("select u.b from users as u(a, b)", "users.*"),
    ("select s.e from (select email as e from users) s", "users.email"),
    ("select * from (select email from users) s", "users.email"),
    ("with c as (select email from users) select * from c", "users.email"),
    ("with users as (select 1 as email) select email from users", ""),
    ("with recursive c as (select id from t union select id from c) select id from c", "t.id"),
    ("select 1 from a join b using (id)", "a.id b.id"),
    ("select 1 from a natural join b", "a.* b.*"),
    ("select j.x from (a join b on true) as j", "a.x b.x *.x"),
    ("select (select email from orders limit 1) from users",
     "orders.email users.email *.email"),
    ("select 1 from users where ssn = 'x' order by dob", "users.ssn users.dob"),
    ("select 1 from a, lateral (select a.x) l", "a.x"),
    ("select 1 from (select email from orders) l, users", "orders.email"),
    ("select x.y from f() as x(y)", ""),
    ("select count(*) from users", ""),
    ("select email from users union select name from staff", "users.email staff.name"),
    ("copy users (email) to stdout", "users.email"),
    ("copy users to stdout", "users.*"),
    ("delete from users returning email", "users.email"),
    ("update users set a = 1 returning old.ssn", "users.ssn"),
    ("update users set a = 1 returning *", "users.*"),
    ("update users u set a = o.x from orders o returning *", "users.* orders.* orders.x"),
    ("insert into t (a) values (1) returning with (new as n) n.b", "t.b"),
    ("with d as (delete from users returning ssn) select ssn from d", "users.ssn"),
    ("explain analyze select email from users", "users.email"),
    ("create view v as select email from users", "users.email"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "columns"), READS)
def test_columns_read(text: str, columns: str) -> None:
    assert names(text, "reads_columns") == set(columns.split())


WRITES = [
    ("insert into t (a, b) values (1, 2)", "insert", "t.a t.b"),
    ("insert into t values (1)", "insert", "t.*"),
    ("update s.t set a = 1, (b, c) = (1, 2), d[1] = 3", "update", "s.t.a s.t.b s.t.c s.t.d"),
    ("insert into t values (1) on conflict (a) do update set b = excluded.c", "update", "t.b"),
    ("merge into t using s on t.i = s.i when matched then update set a = 1", "update", "t.a"),
    ("copy t (a) from stdin", "insert", "t.a"),
]


@pytest.mark.parametrize(("text", "verb", "columns"), WRITES)
def test_columns_written(text: str, verb: str, columns: str) -> None:
    assert names(text, "writes_columns", "sql." + verb) == set(columns.split())
    assert names(text, "columns", "sql." + verb) >= set(columns.split())


def test_each_write_is_a_part_with_its_own_relation() -> None:
    text = "with a as (delete from logs), b as (delete from users where id = 1) select 1"
    deletes = [p for p in analyse(text).parts if p.action == "sql.delete"]
    assert [p.facts["tables"] for p in deletes] == [("logs",), ("users",)]
    assert [p.facts["has_where"] for p in deletes] == [False, True]


def test_tables() -> None:
    text = "insert into a.t select * from u join v on true"
    assert names(text, "writes_tables", "sql.insert") == {"a.t"}
    assert names(text, "reads_tables", "sql.insert") == {"u", "v"}
    assert names(text, "tables", "sql.insert") == {"a.t", "u", "v"}
    assert names(text, "tables") == {"u", "v"}
    assert names("alter table t attach partition p for values in (1)", "tables", "sql.alter") == {
        "t", "p"
    }  # fmt: skip
    assert names("create table x (like secrets, a int references r)", "tables", "sql.create") == {
        "x", "secrets", "r"
    }  # fmt: skip
    assert names("vacuum full t", "tables", "sql.maintain") == {"t"}


def test_functions() -> None:
    assert names("select lower(pg_catalog.upper(a)), x.f(1)", "functions") == {
        "lower", "upper", "pg_catalog.upper", "x.f"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("set a.b = 1", "a.b"),
        ("set TimeZone = 'utc'", "timezone"),
        ("set time zone 'utc'", "timezone"),
        ("reset all", "*"),
        ("set transaction isolation level serializable, read only",
         "transaction_isolation transaction_read_only"),
    ],
)  # fmt: skip
def test_settings(text: str, settings: str) -> None:
    assert names(text, "sets", "sql.set") == set(settings.split())


def test_flags() -> None:
    assert part("select 1 limit 1").facts["has_limit"] is True
    assert part("select 1 limit 1").facts["limit"] == 1
    assert part("select 1 limit 0").facts["limit"] == 0
    assert part("select 1 fetch first 3 rows only").facts["limit"] == 3
    assert part("select a from t order by a fetch first 3 rows with ties").facts["limit"] is None
    assert part("select 1 limit $1").facts["limit"] is None
    assert part("select 1 limit 5 + 5").facts["limit"] is None
    assert part("select 1 from t where a = 7 limit 100").facts["limit"] == 100
    assert part("select 1").facts["limit"] is None
    assert part("select 1 fetch first 3 rows only").facts["has_limit"] is True
    assert part("select 1 limit all").facts["has_limit"] is False
    assert part("select * from (select 1 limit 1) s").facts["has_limit"] is False
    assert part("drop table t cascade", "sql.drop").facts["cascade"] is True
    assert part("drop table t", "sql.drop").facts["cascade"] is False
    assert part("truncate t cascade", "sql.truncate").facts["cascade"] is True
    assert part("drop table t", "sql.drop").facts["is_ddl"] is True
    assert part("select 1").facts["is_ddl"] is False
    assert part("copy t from program 'x'", "sql.copy_in").facts["copies_program"] is True
    assert part("copy t from stdin", "sql.insert").facts["uses_copy"] is True
    explained = part("explain analyze delete from t", "sql.delete").facts
    assert explained["explain"] is True
    assert explained["analyze"] is True
    planned = part("explain delete from t", "sql.explain").facts
    assert planned["tables"] == ("t",)
    assert planned["analyze"] is False
    assert [p.facts["statement_count"] for p in analyse("select 1; select 2").parts] == [2, 2]


def test_every_fact_of_every_kind_of_statement_has_its_type() -> None:
    kinds = {"text": str, "number": int, "flag": bool, "names": tuple}
    for text in ("select 1", "drop table t", "call f()", "listen x", "copy t to stdout"):
        for found in analyse(text).parts:
            assert found.action in ACTIONS
            for name, kind in FACTS.items():
                bounded = name != "limit" or found.facts[name] is not None
                assert not bounded or type(found.facts[name]) is kinds[kind.value]


def test_a_shadowed_function_is_not_trusted() -> None:
    (statement,) = analyse("select lower(a), pg_catalog.upper(a) from t").statements
    assert distrust(statement, frozenset({"upper", "other"})) == statement.parts
    (found,) = distrust(statement, frozenset({"lower"}))
    assert not found.complete
    assert "lower" in found.why_incomplete
    assert found.facts["dynamic"] is True
    for text in ("select u.lower from users u", "select (u).lower from users u"):
        (statement,) = analyse(text).statements
        assert not distrust(statement, frozenset({"lower"}))[0].complete


def test_a_function_that_is_vouched_for() -> None:
    parts = analyse("select public.f(1), g(2)").parts
    assert not trust(parts, frozenset({"g", "f"}))[0].complete
    (found,) = trust(parts, frozenset({"g", "public.f"}))
    assert found.complete
    assert found.facts["dynamic"] is False
    forged = analyse('select "g does is not known; what function g"()').parts
    assert not trust(forged, frozenset({"g"}))[0].complete
    do = analyse("do 'x'").parts
    assert trust(do, frozenset({"g"})) == do


def test_no_text_no_parts() -> None:
    for text in ("", " ;; ", "-- nothing", "/* nothing */"):
        assert analyse(text).parts == ()
        assert analyse(text).statements == ()


def test_the_limit_is_an_argument() -> None:
    assert analyse("select 12345", limit=12).parts[0].action == "sql.select"
    assert analyse("select 123456", limit=12).parts[0].action == "sql.unparsed"
    assert analyse("select 123456").parts[0].action == "sql.select"
