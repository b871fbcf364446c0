"""What the wire needs to know of statements."""

from __future__ import annotations

import pytest

from protocols.sql import CopyShape, Statement, analyse, resolve


def only(text: str) -> Statement:
    (statement,) = analyse(text).statements
    return statement


def test_spans_are_in_characters() -> None:
    text = "select 'é', '\U0001f600'; begin ;\n/* ü */ select 2"
    found = [text[s.text_span[0] : s.text_span[1]] for s in analyse(text).statements]
    assert [f.strip() for f in found] == [
        "select 'é', '\U0001f600'", "begin", "select 2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("select a, u.b, 1, 'x', count(*), lower(a), $1, now(), 1 + 2 from u",
         "column column constant constant count expression constant constant constant"),
        ("select a::text, (select 1), array_agg(a), current_setting('x'), evil() from u",
         "expression expression expression expression expression"),
        ("select count(*) filter (where a), count(a), count(distinct a) from u",
         "expression expression expression"),
        ("insert into t values (1) returning id, id + 1", "column expression"),
        ("copy (select a, 1 from u) to stdout", "column constant"),
        ("declare c cursor for select a from u", "column"),
        ("explain select a from u", "constant"),
        ("show x", "constant"),
    ],
)  # fmt: skip
def test_outputs(text: str, kinds: str) -> None:
    outputs = only(text).outputs
    assert outputs is not None
    assert [o.kind for o in outputs] == kinds.split()


@pytest.mark.parametrize(
    "text",
    [
        "select * from t", "select a, t.* from t", "select (t).* from t",
        "select a from t union select b from t", "values (1)", "insert into t values (1)",
        "delete from t returning *", "create table x as select 1", "begin", "copy t to stdout",
    ],
)  # fmt: skip
def test_outputs_that_cannot_be_told(text: str) -> None:
    assert only(text).outputs is None


def test_copy_shapes() -> None:
    assert only("copy t to stdout").copy == CopyShape(
        "out", "stdio", "text", "\t", "", "", "\\N", False, "", '"t"', (), ""
    )
    assert only(
        'copy "S".t (a, "B") from stdin with (format csv, header match, delimiter \';\', '
        "quote '''', escape '\\', null 'x', encoding 'latin1', force_null (a))"
    ).copy == CopyShape(
        "in", "stdio", "csv", ";", "'", "\\", "x", True, "latin1", '"S"."t"', ("a", "B"), ""
    )
    assert only("copy t to stdout (format csv)").copy == CopyShape(
        "out", "stdio", "csv", ",", '"', '"', "", False, "", '"t"', (), ""
    )
    assert only("copy t to stdout with binary").copy == CopyShape(
        "out", "stdio", "binary", "", "", "", "", False, "", '"t"', (), ""
    )
    assert only("copy t from '/x' csv header").copy == CopyShape(
        "in", "file", "csv", ",", '"', '"', "", True, "", '"t"', (), ""
    )
    assert only("copy t from program 'x' (header false)").copy == CopyShape(
        "in", "program", "text", "\t", "", "", "\\N", False, "", '"t"', (), ""
    )


def test_the_query_of_a_copy() -> None:
    text = "select 1; copy /* ( é */ (select ')' as \"(\", (1 + (2)) from t -- )\n) to stdout"
    shape = analyse(text).statements[1].copy
    assert shape is not None
    assert shape.query.strip() == "select ')' as \"(\", (1 + (2)) from t -- )"
    assert shape.relation == ""


def test_copy_options_that_are_not_known_are_told() -> None:
    shape = only("copy t to stdout (format parquet, format csv, compress on)").copy
    assert shape is not None
    assert "compress" in shape.odd
    assert "format" in shape.odd


def test_prepare_and_execute() -> None:
    statement = only("prepare p (int) as delete from t where id = $1 returning a, 1")
    prepared = statement.prepare
    assert prepared is not None
    assert prepared.name == "p"
    assert statement.outputs is None
    assert [p.action for p in prepared.parts] == ["sql.delete", "sql.select"]
    assert [o.kind for o in prepared.outputs or ()] == ["column", "constant"]

    run = only("execute p(1)")
    assert run.execute == "p"
    assert not run.parts[0].complete
    parts = resolve(run, prepared)
    assert [p.action for p in parts] == ["sql.execute", "sql.delete", "sql.select"]
    assert all(p.complete for p in parts)
    assert {p.facts["verbs"] for p in parts[1:]} == {("execute", "delete", "select")}


def test_resolving_keeps_what_else_is_unknown() -> None:
    prepared = only("prepare p as select evil()").prepare
    assert prepared is not None
    parts = resolve(only("execute p(worse())"), prepared)
    assert [p.complete for p in parts] == [False, False]
    assert "worse" in parts[0].why_incomplete
    assert "evil" in parts[1].why_incomplete


@pytest.mark.parametrize("text", ["explain analyze execute p", "create table x as execute p"])
def test_execute_inside(text: str) -> None:
    assert only(text).execute == "p"


def test_names_and_kinds() -> None:
    assert only("deallocate p").deallocate == "p"
    assert only("deallocate all").deallocate == ""
    assert only("select 1").deallocate is None
    assert only("discard all").discard == "all"
    assert only("discard temp").discard == "temp"
    assert only("declare c cursor with hold for select 1").name == "c"
    assert only("fetch c").name == "c"
    assert only("close all").name == ""
    assert only("with x as (delete from t) select 1").verb == "select"
    assert only("explain analyze delete from t").verb == "explain"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("begin", "begin"), ("start transaction", "begin"), ("commit", "commit"), ("end", "commit"),
        ("rollback", "rollback"), ("abort", "rollback"), ("savepoint x", "savepoint"),
        ("release x", "release"), ("rollback to x", "rollback_to"),
        ("prepare transaction 'x'", "prepare"), ("commit prepared 'x'", "commit_prepared"),
        ("rollback prepared 'x'", "rollback_prepared"), ("select 1", ""),
    ],
)  # fmt: skip
def test_transactions(text: str, kind: str) -> None:
    assert only(text).transaction == kind


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("set client_encoding = utf8", (("client_encoding", "utf8"),)),
        ("set search_path = a, b", (("search_path", "a, b"),)),
        ("set x to default", (("x", None),)),
        ("begin read write", (("transaction_read_only", "off"),)),
        ("alter role r set x = 1", (("x", "1"),)),
    ],
)
def test_settings(text: str, settings: tuple[tuple[str, str | None], ...]) -> None:
    assert only(text).settings == settings
