"""A museum of bypasses: each row is a text that once slipped past a gateway
that looked at SQL, and what must be seen in it. Rows are only ever added."""

from __future__ import annotations

import pytest

from protocols.contract import Effect, EffectKind
from protocols.sql import ACTIONS, FACTS, analyse

# Text, then the actions that must all be there.
HIDDEN_WRITES = [
    ("with x as (delete from t returning *) select * from x", "delete select"),
    ("with x as (insert into t values (1)) select 1", "insert select"),
    ("with x as (with y as (update t set a=1) select 1) select 1", "update select"),
    ("select * from a where id in (with d as (delete from t returning id) select id from d)",
     "delete select"),
    ("explain analyze delete from t", "explain delete"),
    ("explain (analyze) delete from t", "explain delete"),
    ("explain (analyze off, analyze on) delete from t", "explain delete"),
    ("explain (analyze 1, verbose) update t set a=1", "explain update"),
    ("EXPLAIN ANALYZE VERBOSE WITH x AS (DELETE FROM t) SELECT 1", "explain delete select"),
    ("explain analyze create table x as select 1", "explain create select"),
    ("copy (delete from t returning *) to stdout", "copy_out delete select"),
    ("copy (with x as (update t set a=1 returning a) select * from x) to stdout",
     "copy_out update select"),
    ("copy t from stdin", "copy_in insert"),
    ("copy t to stdout", "copy_out select"),
    ("prepare x as delete from t", "prepare delete"),
    ("prepare x (int) as with d as (delete from t where a=$1) select 1", "prepare delete select"),
    ("declare c cursor for select pg_terminate_backend(1)", "declare select admin"),
    ("create table x as select * from t", "create select"),
    ("create materialized view x as select * from t", "create select"),
    ("create view x as select * from t", "create select"),
    ("select * into x from t", "create select"),
    ("select 1 into x union select 2", "create select"),
    ("create table x as execute p", "create execute"),
    ("explain analyze execute p", "explain execute"),
    ("insert into t values (1) on conflict (a) do update set b = 2", "insert update"),
    ("insert into t select * from secrets", "insert select"),
    ("insert into t values ((select max(x) from secrets))", "insert select"),
    ("update t set a = s.a from secrets s", "update select"),
    ("delete from t returning email", "delete select"),
    ("merge into t using s on t.i=s.i when matched then delete", "merge delete select"),
    ("merge into t using s on t.i=s.i when not matched then insert values (1)",
     "merge insert select"),
    ("with m as (merge into t using s on true when matched then update set a=1 returning *) "
     "select * from m", "merge update select"),
    ("create rule r as on select to t do instead delete from x", "create delete"),
    ("create function f() returns void language sql begin atomic delete from t; end",
     "create delete"),
    ("create schema s create table t(a int) grant select on t to public", "create grant"),
    ("do $$ begin delete from t; end $$", "do"),
    ("/* x */ delete /* /* nested */ */ from t -- end", "delete"),
    ("select 1; delete from t", "select delete"),
    ("select 1;;;\n--x\rdelete from t", "select delete"),
    ("select ';--'; drop table t", "select drop"),
    ("select $$;$$; drop table t", "select drop"),
    ("select E'\\''; drop table t; --'", "select drop"),
    ("select U&'\\0027'; drop table t", "select drop"),
    ('select 1 as U&"\\0022;"; drop table t', "select drop"),
    ("table t", "select"),
    ("values (1)", "select"),
    ("truncate a, b", "truncate"),
    ("drop owned by x", "drop"),
    ("revoke all on t from x", "revoke"),
    ("alter default privileges grant select on tables to public", "grant"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "verbs"), HIDDEN_WRITES)
def test_every_verb_is_seen(text: str, verbs: str) -> None:
    parts = analyse(text).parts
    assert {p.action for p in parts} == {"sql." + v for v in verbs.split()}
    for part in parts:
        assert part.action in ACTIONS
        assert part.facts.keys() == FACTS.keys()
        statement = {p.action for p in parts if p.facts["verbs"] == part.facts["verbs"]}
        assert {"sql." + v for v in part.facts["verbs"]} <= statement  # type: ignore[union-attr]


# Text, then whether every UPDATE and DELETE in it is bound by its own WHERE.
UNBOUND = [
    ("delete from t", False),
    ("update t set a = 1", False),
    ("delete from only t", False),
    ("delete from t using u", False),
    ("update t set a = 1 from u", False),
    ("with x as (delete from t) select 1 where true", False),
    ("with x as (delete from t where id = 1), y as (delete from u) select 1", False),
    ("explain analyze delete from t", False),
    ("prepare x as update t set a = 1", False),
    ("copy (delete from t returning 1) to stdout", False),
    ("merge into t using s on true when matched then delete", False),
    ("merge into t using s on 1=1 when matched then update set a = 1", False),
    ("merge into t using s on t.i = s.i when not matched by source then delete", False),
    ("delete from t where id = 1", True),
    ("delete from t where current of c", True),
    ("merge into t using s on t.i = s.i when matched then delete", True),
    ("merge into t using s on true when matched and t.a = 1 then delete", True),
    ("insert into t values (1) on conflict (a) do update set b = 1", True),
    ("select * from t", True),
]


@pytest.mark.parametrize(("text", "bound"), UNBOUND)
def test_has_where(text: str, bound: bool) -> None:
    assert all(p.facts["has_where"] for p in analyse(text).parts) is bound


CONSTANT_WHERE = [
    "1=1", "true", "not false", "1 < 2", "id = id", "t.id = t.id", "a is null or a is not null",
    "true or id = 3", "id = 3 or 1=1", "id = 3 or (2 > 1 and true)", "not (1 = 2)", "'t'::bool",
    "'x' = 'x'", "name like '%'", "name ilike '%%'", "id is not distinct from id", "id in (1, id)",
    "id between id and id", "case when id = 3 then true else true end", "coalesce(true, id = 3)",
    "(select true)", "exists (select 1)", "exists (select * from u)", "now() > '2000-01-01'",
    "length('a') = 1", "id = 3 or 'a' < 'b'", "(1=1) is true", "null is null", "$1", "$1 = 1",
    "1 = any(array[1])", "exists (select 1 from u where u.id = 1)", "false", "id = 1 or not id = 1",
    "(id = 1 or 2 = 2) and 1 = 1", "id >= id",
]  # fmt: skip
REAL_WHERE = [
    "id = 1", "id = 1 and 1=1", "id = $1", "id > 0", "a is null", "id = 1 or id = 2",
    "name like 'a%'", "id in (1, 2)", "id in (select id from u)", "active", "not active",
    "exists (select 1 from u where u.id = t.id)", "exists (select 1 from u where uid = id)",
    "$1 is null or id = $1", "coalesce(active, true)", "id between 1 and 2", "lower(name) = 'x'",
    "current_date > created", "(a, b) = (1, 2)", "a is true", "case when a then true else b end",
]  # fmt: skip


@pytest.mark.parametrize("statement", ["delete from t where ", "update t set a = 1 where "])
@pytest.mark.parametrize("condition", CONSTANT_WHERE)
def test_a_condition_that_ignores_the_row(statement: str, condition: str) -> None:
    assert analyse(statement + condition).parts[0].facts["where_is_constant"] is True


@pytest.mark.parametrize("statement", ["delete from t where ", "update t set a = 1 where "])
@pytest.mark.parametrize("condition", REAL_WHERE)
def test_a_condition_that_looks_at_the_row(statement: str, condition: str) -> None:
    assert analyse(statement + condition).parts[0].facts["where_is_constant"] is False


def test_a_condition_on_another_relation_only_ignores_the_row() -> None:
    text = "delete from t using (select 1 as a) s where s.a = 1"
    assert analyse(text).parts[0].facts["where_is_constant"] is True
    text = "delete from t using s where s.id = t.id"
    assert analyse(text).parts[0].facts["where_is_constant"] is False


# Text, and an effect that must be told.
EFFECTS = [
    ("copy t from program 'curl x'", "control", "curl x", "program"),
    ("copy t to program 'sh'", "write", "sh", "program"),
    ("copy t to '/tmp/x'", "write", "/tmp/x", "file"),
    ("copy t from '/etc/passwd'", "read", "/etc/passwd", "file"),
    ("select pg_read_file('/etc/passwd')", "read", "/etc/passwd", "file"),
    ("select pg_catalog.pg_read_file('/etc/passwd')", "read", "/etc/passwd", "file"),
    ("select pg_ls_dir('.')", "read", ".", "file"),
    ("select * from pg_read_binary_file('x')", "read", "x", "file"),
    ("select lo_export(1, '/tmp/x')", "write", "/tmp/x", "file"),
    ("select lo_import('/etc/passwd')", "read", "/etc/passwd", "file"),
    ("select lo_unlink(16)", "destroy", "16", "large object"),
    ("select lo_creat(-1)", "write", "", "large object"),
    ("create extension dblink", "control", "dblink", "extension"),
    ("create language plpython3u", "control", "plpython3u", "extension"),
    ("create server s foreign data wrapper f", "control", "s", "server"),
    ("create subscription s connection 'x' publication p", "control", "s", "subscription"),
    ("import foreign schema a from server s into b", "control", "b", "schema"),
    ("load 'x.so'", "control", "x.so", "library"),
    ("alter system set x = 1", "control", "x", "setting"),
    ("set standard_conforming_strings = off", "control", "standard_conforming_strings", "setting"),
    ("set client_encoding to sjis", "control", "client_encoding", "setting"),
    ("set names 'sjis'", "control", "client_encoding", "setting"),
    ("set local backslash_quote = on", "control", "backslash_quote", "setting"),
    ("reset standard_conforming_strings", "control", "standard_conforming_strings", "setting"),
    ("reset all", "control", "*", "setting"),
    ("discard all", "control", "*", "setting"),
    ("set search_path = evil, public", "control", "search_path", "setting"),
    ("set schema 'evil'", "control", "search_path", "setting"),
    ("set role postgres", "control", "role", "setting"),
    ("set session authorization postgres", "control", "session_authorization", "setting"),
    ("set transaction read write", "control", "transaction_read_only", "setting"),
    ("begin read write", "control", "transaction_read_only", "setting"),
    ("start transaction isolation level serializable, read write",
     "control", "transaction_read_only", "setting"),
    ("set session characteristics as transaction read write",
     "control", "default_transaction_read_only", "setting"),
    ("select set_config('search_path', 'evil', false)", "control", "search_path", "setting"),
    ("select set_config('Standard_Conforming_Strings', 'off', true)",
     "control", "standard_conforming_strings", "setting"),
    ("select pg_catalog.set_config('ro' || 'le', 'x', true)", "control", "*", "setting"),
    ("update pg_settings set setting = 'off' where name = 'x'", "control", "*", "setting"),
    ("alter role x set search_path = evil", "control", "search_path", "setting"),
    ("alter database d set search_path = evil", "control", "search_path", "setting"),
    ("alter function f() set search_path = evil", "control", "search_path", "setting"),
    ("create function f() returns int language sql set search_path = evil as 'select 1'",
     "control", "search_path", "setting"),
    ("select set_config('client_' || 'encoding', 'sjis', false)",
     "control", "client_encoding", "setting"),
    ("update pg_catalog.pg_settings set setting = 'off'",
     "control", "standard_conforming_strings", "setting"),
    ("merge into pg_settings s using t on true when matched then update set setting = 'off'",
     "control", "standard_conforming_strings", "setting"),
    ("select pg_terminate_backend(1)", "control", "pg_terminate_backend", "function"),
    ("select pg_notify('c', 'x')", "control", "pg_notify", "function"),
    ("select pg_advisory_lock(1)", "control", "pg_advisory_lock", "function"),
    ("select 1 where pg_sleep(1) is null", "control", "pg_sleep", "function"),
    ("select 1 order by pg_sleep(1)", "control", "pg_sleep", "function"),
    ("values ((select pg_reload_conf()))", "control", "pg_reload_conf", "function"),
    ("select count(*) filter (where pg_reload_conf()) from t",
     "control", "pg_reload_conf", "function"),
    ("select sum(1) over (partition by pg_reload_conf())", "control", "pg_reload_conf", "function"),
    ("explain select pg_reload_conf()", "control", "pg_reload_conf", "function"),
    ("execute p(pg_reload_conf())", "control", "pg_reload_conf", "function"),
    ("select nextval('s')", "write", "s", "sequence"),
    ("select table_to_xml('secrets', true, false, '')", "read", "secrets", "relation"),
    ("truncate t", "destroy", "t", "relation"),
    ("drop table a.t", "destroy", "a.t", "relation"),
    ("drop schema s cascade", "destroy", "s", "schema"),
    ("drop policy p on t", "grant", "t", "relation"),
    ("alter table t drop column a", "destroy", "t.a", "column"),
    ("alter table t owner to x", "grant", "t", "relation"),
    ("alter table t disable row level security", "grant", "t", "relation"),
    ("alter table t disable trigger all", "control", "t", "relation"),
    ("create role x superuser", "grant", "x", "role"),
    ("alter role x superuser", "grant", "x", "role"),
    ("grant pg_read_server_files to x", "grant", "pg_read_server_files", "role"),
    ("grant usage on schema a, b to x", "grant", "b", "schema"),
    ("grant all on all tables in schema s to x", "grant", "s.*", "relation"),
    ("select * from t for update", "control", "t", "rows"),
    ("lock t", "control", "t", "relation"),
    ("listen c", "control", "c", "channel"),
    ("notify c, 'x'", "control", "c", "channel"),
    ("table pg_authid", "read", "pg_catalog.pg_authid", "relation"),
    ("select * from information_schema.tables", "read", "information_schema.tables", "relation"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "name", "of"), EFFECTS)
def test_effect(text: str, kind: str, name: str, of: str) -> None:
    effects = [e for p in analyse(text).parts for e in p.effects]
    assert Effect(EffectKind(kind), name, of) in effects


# Texts whose effects can't all be known.
INCOMPLETE = [
    "do $$ begin null; end $$",
    "select evil()",
    "select public.lower('x')",
    "select evil(lower('x'))",
    "select * from evil()",
    "select 1 operator(evil.+) 2",
    "select 1 where 1 operator(evil.=) any (array[1])",
    "select a from t order by a using operator(evil.<)",
    "call evil()",
    "execute p",
    "explain analyze execute p",
    "explain select evil()",
    "select query_to_xml('delete from t', true, false, '')",
    "select cursor_to_xml('c', 1, true, false, '')",
    "select database_to_xml(true, false, '')",
    "select ts_stat('select evil()')",
    "select ts_rewrite('a'::tsquery, 'select evil()')",
    "select * from dblink('host=x', 'select 1') as t(a int)",
    "select dblink_exec('delete from t')",
    "select extensions.dblink('x')",
    "select set_config(name, 'x', true) from t",
    "select set_config('a.b', email, false) from users",
    "select set_config('a.b', (select email from users)::text, false)",
    "with pg_settings as (select 'role' as name) select set_config(name, 'x', true) "
    "from pg_settings where name = 'role'",
    "insert into t values (evil())",
    "delete from t where evil(id)",
    "create table t (a int default evil())",
    "create index on t (evil(a))",
    "alter table t alter a type int using evil(a)",
    "select * from t tablesample evil(1)",
    "merge into t using s on evil() when matched then delete",
    "update t set a = 1 returning evil()",
    "select \"LOWER\"('x')",
    "select * from rows from (lower('x'), evil()) as t",
    "select x.* from t, lateral evil(t.a) x",
    "create view v as select evil()",
    "copy (select evil()) to stdout",
    "select pg_logical_slot_get_changesx('x')",
]


@pytest.mark.parametrize("text", INCOMPLETE)
def test_incomplete(text: str) -> None:
    parts = analyse(text).parts
    assert any(not p.complete and p.why_incomplete for p in parts)
    assert any(p.facts["dynamic"] for p in parts) or "execute" in text or "set_config" in text


UNPARSED = [
    "selec 1",
    "select 1\0; drop table t",
    "\0",
    "select '",
    "select 1; selec 2",
    "select /* 1",
    "select $a$ 1",
    "\ud800",
    "select '\udc81'",
    "(" * 100_000,
    "select " + "(" * 50_000 + "1" + ")" * 50_000,
    "/*" * 50_000 + "*/" * 50_000,
    "select " + "+" * 1_000_000,
    "select " + "+-" * 500_000,
    "select " + "not " * 5_000 + "true",
    "select 1" + " + 1" * 50_000,
    "select 1" + "::int" * 2_000,
    "select " + "(select " * 200 + "1" + ")" * 200,
    "select 1" + " union select 1" * 20_000,
    "select '" + "x" * (1 << 20) + "'",
    "begin; select 1 as; commit",
]


@pytest.mark.parametrize("text", UNPARSED, ids=range(len(UNPARSED)))
def test_unparsed_is_one_part_that_says_why(text: str) -> None:
    analysis = analyse(text)
    (part,) = analysis.parts
    assert part.action == "sql.unparsed"
    assert not part.complete
    assert part.why_incomplete
    assert part.facts.keys() == FACTS.keys()
    assert [s.parts for s in analysis.statements] == [(part,)]
    assert "drop" not in part.why_incomplete  # it quotes nothing


HARMLESS = [
    "select 1",
    "select lower(email), count(*), now() from users where id = $1 group by 1",
    "select pg_catalog.version(), current_schema(), current_user",
    "select extract(year from now()), substring('abc' from 2), position('a' in 'b'), "
    "trim('x'), coalesce(1, 2), overlay('a' placing 'b' from 1), now() at time zone 'utc'",
    "select array_agg(x) within group (order by 1) from generate_series(1, 2) x",
    "select 1 operator(pg_catalog.+) 2",
    "set standard_conforming_strings = on",
    "set client_encoding = 'UTF8'",
    "set application_name = 'x'",
    "set statement_timeout = 0",
    "select pg_catalog.set_config('search_path', '', false)",
    "begin read only",
    "begin isolation level serializable",
    "commit",
    "rollback to savepoint x",
    "savepoint x",
    "show all",
    "deallocate all",
    "discard plans",
    "fetch 10 from c",
    "close c",
    "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings "
    "WHERE name = 'restrict_nonsystem_relation_kind'",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_is_complete_and_controls_nothing(text: str) -> None:
    for part in analyse(text).parts:
        assert part.complete, part.why_incomplete
        assert not {e.kind for e in part.effects} - {EffectKind.READ}
