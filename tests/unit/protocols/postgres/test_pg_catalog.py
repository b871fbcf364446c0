"""Origins of columns: by hand-made relations, and from a real server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.adapt import Transformer
from psycopg.pq import Format

from protocols.contract import Column, Destined, Mask, Opening, Plan, Talk
from protocols.errors import WireError
from protocols.postgres import lookup
from protocols.postgres.catalog import CatalogErrand, Missing, forget, learn, resolve
from protocols.postgres.copyout import CopyMasker, columns_errand, copied
from protocols.postgres.fields import Field, parse_row_description
from protocols.postgres.kinds import BUILTIN, Kind, Shape
from protocols.postgres.lookup import Snapshot
from protocols.postgres.relations import CHILD, PARENT, WHOLE, Relation, Relations
from protocols.postgres.rows import RowMasker
from protocols.sql import CopyShape, analyse
from protocols.sql.words import Output
from protocols.wire import Move, Side

BIN = Path("/usr/lib/postgresql/15/bin")
REDACT = Mask("redact", lambda value: b"[redacted]")


def field(table: int, attnum: int = 1, type_oid: int = 25) -> Field:
    return Field("c", table, attnum, type_oid, -1, -1, 0)


def table(oid: int, name: str, *columns: str, **more: Any) -> Relation:
    kind = more.pop("kind", "r")
    numbered = dict(enumerate(columns, 1))
    return Relation(oid, "public", name, kind, more.pop("extent", WHOLE), columns=numbered, **more)


def teach(memory: dict[object, object], *relations: Relation) -> None:
    asked = resolve(memory, [field(relations[0].oid)])
    assert isinstance(asked, Missing)
    learn(memory, Snapshot(relations, {}, asked.token))


def origins(memory: dict[object, object], *fields: Field, **how: Any) -> list[Any]:
    columns = resolve(memory, fields, **how)
    assert not isinstance(columns, Missing)
    return [column.origins for column in columns]


def test_what_is_missing_is_asked_for_once() -> None:
    memory: dict[object, object] = {}
    asked = resolve(memory, [field(20000), field(20001), field(0), field(20000, 2, 30000)])
    assert asked == Missing(frozenset({20000, 20001}), frozenset({30000}))
    assert origins(memory, field(20000), last=True) == [None]
    teach(memory, table(20000, "users", "id", "email"))
    assert origins(memory, field(20000, 2)) == [("public.users.email",)]


def test_columns_without_a_table() -> None:
    memory: dict[object, object] = {}
    fields = [field(0)] * 4
    outputs = [Output("constant"), Output("count"), Output("expression"), Output("column")]
    assert origins(memory, *fields) == [None] * 4
    assert origins(memory, *fields, outputs=outputs) == [(), (), None, None]
    assert origins(memory, *fields, outputs=outputs[:3]) == [None] * 4


def test_whole_rows_system_columns_and_dropped_ones() -> None:
    memory: dict[object, object] = {}
    teach(memory, table(20000, "users", "id", "email"))
    assert origins(memory, field(20000, 0), field(20000, -1), field(20000, 9)) == [
        ("public.users.id", "public.users.email"),
        ("public.users.ctid",),
        None,
    ]


def test_what_is_learnt_later_counts() -> None:
    """What was resolved is remembered only until something new is known."""
    memory: dict[object, object] = {}
    teach(memory, table(20000, "users", "id"))
    fields = [field(20000), field(0)]
    assert origins(memory, *fields) == [("public.users.id",), None]
    assert origins(memory, *fields, outputs=[Output("column"), Output("count")]) == [
        ("public.users.id",),
        (),
    ]
    assert origins(memory, *fields, dirty=True) == [None, None]
    assert origins(memory, field(20001), last=True) == [None]
    teach(memory, table(20001, "later", "id"), table(20000, "renamed", "id"))
    assert origins(memory, *fields) == [("public.renamed.id",), None]
    assert origins(memory, field(20001)) == [("public.later.id",)]
    forget(memory)
    assert isinstance(resolve(memory, fields), Missing)


def test_temporary_tables_are_unknown() -> None:
    memory: dict[object, object] = {}
    teach(memory, replace(table(20000, "mine", "id"), schema="pg_temp_3"))
    assert origins(memory, field(20000)) == [None]


def test_uncommitted_ddl_makes_all_unknown() -> None:
    memory: dict[object, object] = {}
    teach(memory, table(20000, "users", "id"))
    assert origins(memory, field(20000), dirty=True) == [None]


def test_families_share_their_names() -> None:
    memory: dict[object, object] = {}
    teach(
        memory,
        table(20000, "parent", "id", "email", children=(20001,)),
        table(20001, "child", extent=CHILD, parents=(20000, 20002)),
        table(20002, "other", "email", extent=PARENT),
    )
    assert origins(memory, field(20000, 1), field(20000, 2)) == [
        ("public.parent.id", "public.child.id"),
        ("public.parent.email", "public.child.email", "public.other.email"),
    ]
    # What is known only as a child or a parent must be asked for.
    assert isinstance(resolve(memory, [field(20001)]), Missing)
    assert origins(memory, field(20002), last=True) == [None]


def test_a_child_that_is_not_known_makes_the_column_unknown() -> None:
    memory: dict[object, object] = {}
    teach(memory, table(20000, "parent", "id", children=(20001,)))
    assert origins(memory, field(20000)) == [None]


def test_views_upon_views_and_their_depth() -> None:
    memory: dict[object, object] = {}
    chain = [table(20000, "t0", "email")]
    for i in range(1, 20):
        reads = "email" if i == 1 else f"c{i - 1}"
        chain.append(
            table(
                20000 + i,
                f"t{i}",
                f"c{i}",
                kind="v",
                definition=f"SELECT {reads} AS c{i} FROM public.t{i - 1};",
            )
        )
    teach(memory, *chain)
    assert origins(memory, field(20002)) == [
        ("public.t2.c2", "public.t1.c1", "public.t0.email"),
    ]
    assert origins(memory, field(20019)) == [None]


def test_a_view_that_reads_itself_ends() -> None:
    memory: dict[object, object] = {}
    teach(memory, table(20000, "v", "a", kind="v", definition="SELECT a FROM public.v;"))
    assert origins(memory, field(20000)) == [None]


def test_forgetting_drops_what_is_under_way_too() -> None:
    memory: dict[object, object] = {}
    asked = resolve(memory, [field(20000)])
    assert isinstance(asked, Missing)
    forget(memory)
    learn(memory, Snapshot((table(20000, "users", "id"),), {}, asked.token))
    assert isinstance(resolve(memory, [field(20000)]), Missing)
    learn(memory, None)
    with pytest.raises(TypeError):
        learn(memory, "rows")


def test_learnt_types_have_names_and_shapes() -> None:
    memory: dict[object, object] = {}
    asked = resolve(memory, [field(0, 0, 30000)])
    assert asked == Missing(frozenset(), frozenset({30000}))
    assert isinstance(asked, Missing)
    learn(memory, Snapshot((), {30000: ("citext", Shape(Kind.TEXT))}, asked.token))
    columns = resolve(memory, [field(0, 0, 30000), field(0, 0, 25)])
    assert columns == (Column("c", "citext", None), Column("c", "text", None))


def test_the_systems_columns_that_quote_users_data_are_unknown() -> None:
    relations = Relations(lambda view, names: (None,) * len(names))
    relations.merge(
        [
            Relation(
                3456,
                "pg_catalog",
                "pg_stats",
                "v",
                WHOLE,
                columns={1: "tablename", 2: "most_common_vals"},
            ),
            Relation(1260, "pg_catalog", "pg_authid", "r", WHOLE, columns={1: "rolpassword"}),
        ]
    )
    assert relations.origins(3456, 1) == ("pg_catalog.pg_stats.tablename",)
    assert relations.origins(3456, 2) is None
    assert relations.origins(1260, 1) is None


def test_a_lying_catalog_is_the_upstreams_fault() -> None:
    errand = CatalogErrand.__new__(CatalogErrand)
    errand._bytes, errand._relations, errand._types = 0, [], {}
    for cell in (
        b"",
        b"{",
        b"[]",
        b'["relation"]',
        b'["relation",1,"s","n","r",2,1,[],[],null]',
        b'["type",true,"n","b","S",0,0]',
        b"[" * 5000,
    ):
        with pytest.raises(WireError) as caught:
            errand.message(b"D", b"\0\1" + len(cell).to_bytes(4, "big") + cell)
        assert caught.value.side is Side.UPSTREAM
    with pytest.raises(WireError):
        errand.message(b"D", b"\0\2")


def test_shapes_of_learnt_types() -> None:
    rows = {
        1: ("citext", "b", "S", 0, 0),
        2: ("_citext", "b", "A", 1, 0),
        3: ("mail", "d", "S", 0, 1),
        4: ("slug", "b", "S", 0, 0),
        5: ("mood", "e", "E", 0, 0),
        6: ("loop", "d", "S", 0, 6),
    }
    known = {oid: shape for oid, (_, shape) in lookup._shapes(rows).items()}
    assert known == {
        1: Shape(Kind.TEXT),
        2: Shape(Kind.TEXT, 1),
        3: Shape(Kind.TEXT),
        4: Shape(Kind.LABEL),
        5: Shape(Kind.OTHER),
        6: Shape(Kind.OTHER),
    }


# A real server

SETUP = """
CREATE TABLE users (id int, email text, name varchar(20),
  secret text GENERATED ALWAYS AS (email || '!') STORED,
  tags text[], doc jsonb, born date, balance numeric);
INSERT INTO users VALUES (1, 'ann@example.org', 'Ann', DEFAULT,
  '{a,"b c",NULL}', '{"a": 1}', '2001-02-03', 12.50);
CREATE VIEW plain AS SELECT id, email AS mail FROM users;
CREATE VIEW upon AS SELECT mail AS m, upper(mail) AS loud, 1 AS one FROM plain;
ALTER VIEW upon RENAME COLUMN m TO renamed;
CREATE MATERIALIZED VIEW kept AS SELECT email, count(*) AS n FROM users GROUP BY email;
CREATE VIEW twain AS SELECT u.email, p.relname FROM users u JOIN pg_class p ON p.oid = u.id;
CREATE SCHEMA "Odd";
CREATE TABLE "Odd"."T.t" ("A b" text);
CREATE VIEW "Odd".v AS SELECT "A b" AS "x.y" FROM "Odd"."T.t";
CREATE TABLE parts (id int, email text) PARTITION BY RANGE (id);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (10) PARTITION BY LIST (id);
CREATE TABLE parts_a1 PARTITION OF parts_a FOR VALUES IN (1);
CREATE TABLE parts_b (pad int, email text, id int); ALTER TABLE parts_b DROP COLUMN pad;
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES FROM (10) TO (20);
CREATE DOMAIN mail AS text; CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE typed (a mail, b mail[], c mood, d users);
INSERT INTO typed VALUES ('m@example.org', '{n@example.org}', 'good', NULL);
CREATE TABLE gone (a int, b text); ALTER TABLE gone DROP COLUMN a;
"""


def _port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a new cluster with SETUP done in its database postgres."""
    if not (BIN / "postgres").exists():
        pytest.skip("PostgreSQL 15 is not installed")
    home = Path(tempfile.mkdtemp(prefix="pgcat"))
    user: str | None = None
    if os.geteuid() == 0:
        user = "postgres"
        owner = pwd.getpwnam(user)
        os.chown(home, owner.pw_uid, owner.pw_gid)
    port = _port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": user, "cwd": home}
    subprocess.run(
        [BIN / "initdb", "-D", home / "d", "-U", "postgres", "-A", "trust", "-N"],
        check=True,
        **quiet,
    )  # type: ignore[call-overload]
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
    command = [str(BIN / "postgres"), "-D", str(home / "d"), "-p", str(port)]
    process = subprocess.Popen(
        [*command, *(word for one in settings for word in ("-c", one))], **quiet
    )  # type: ignore[call-overload]
    try:
        for _ in range(100):
            try:
                with psycopg.connect(
                    f"host=127.0.0.1 port={port} user=postgres", autocommit=True
                ) as c:
                    c.execute(SETUP)
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(20)
        shutil.rmtree(home, ignore_errors=True)


def destined(**more: Any) -> Destined:
    return Destined("postgres", "postgres", "disable", b"", settings={"auth": ("trust",)}, **more)


OPENING = Opening("s", bytes)


def drive(talk: Talk, port: int) -> Any:
    """Run an errand over a blocking socket."""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        while True:
            for span in talk.moves():
                if span.move is Move.SEND:
                    s.sendall(span.raw)
            if talk.closing:
                assert talk.result is not None, getattr(talk, "error", "")
                return talk.result
            assert talk.receive(Side.UPSTREAM, s.recv(65536)) == []


class Wire:
    """The least of a client: simple queries, and their raw frames."""

    def __init__(self, port: int) -> None:
        self.s = socket.create_connection(("127.0.0.1", port), 10)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.f = self.s.makefile("rb")
        body = b"\0\3\0\0user\0postgres\0database\0postgres\0\0"
        self.s.sendall((len(body) + 4).to_bytes(4, "big") + body)
        self.until_ready()

    def frame(self) -> tuple[bytes, bytes]:
        head = self.f.read(5)
        return head[:1], self.f.read(int.from_bytes(head[1:], "big") - 4)

    def until_ready(self) -> list[tuple[bytes, bytes]]:
        got = []
        while True:
            got.append(self.frame())
            assert got[-1][0] != b"E", got[-1][1]
            if got[-1][0] == b"Z":
                return got

    def send(self, kind: bytes, body: bytes) -> None:
        self.s.sendall(kind + (len(body) + 4).to_bytes(4, "big") + body)

    def query(self, sql: str) -> list[tuple[bytes, bytes]]:
        self.send(b"Q", sql.encode() + b"\0")
        return self.until_ready()

    def rows(self, sql: str, form: int = 0) -> tuple[tuple[Field, ...], bytes]:
        """Fields, and the run of DataRow frames, in the given form."""
        self.send(b"P", b"\0" + sql.encode() + b"\0\0\0")
        self.send(b"B", b"\0\0\0\0\0\0\0\1" + form.to_bytes(2, "big"))
        self.send(b"D", b"P\0")
        self.send(b"E", b"\0\0\0\0\0")
        self.send(b"S", b"")
        got = self.until_ready()
        described = next(body for kind, body in got if kind == b"T")
        run = b"".join(k + (len(b) + 4).to_bytes(4, "big") + b for k, b in got if k == b"D")
        return parse_row_description(described), run

    def close(self) -> None:
        self.f.close()
        self.s.close()


@pytest.fixture
def wire(server: int) -> Iterator[Wire]:
    wire = Wire(server)
    yield wire
    wire.close()


def known(memory: dict[object, object], fields: Sequence[Field], port: int) -> tuple[Column, ...]:
    columns = resolve(memory, fields)
    if isinstance(columns, Missing):
        learn(memory, drive(CatalogErrand(OPENING, destined(), columns), port))
        columns = resolve(memory, fields, last=True)
    assert not isinstance(columns, Missing)
    return columns


@pytest.mark.clients
@pytest.mark.parametrize(
    ("sql", "want"),
    [
        ("SELECT email, id FROM users", [("public.users.email",), ("public.users.id",)]),
        ("SELECT x.email FROM (SELECT * FROM users) x", [("public.users.email",)]),
        ("WITH w AS (SELECT email AS q FROM users) SELECT q FROM w", [("public.users.email",)]),
        ("SELECT lower(email), email || '' FROM users", [None, None]),
        ("SELECT name FROM users UNION SELECT email FROM users", [None]),
        ("SELECT q FROM (SELECT name AS q FROM users UNION ALL SELECT email FROM users) x", [None]),
        ("SELECT mail FROM plain", [("public.plain.mail", "public.users.email")]),
        (
            "SELECT renamed, loud, one FROM upon",
            [
                ("public.upon.renamed", "public.plain.mail", "public.users.email"),
                None,
                ("public.upon.one",),
            ],
        ),
        ("SELECT * FROM kept", [("public.kept.email", "public.users.email"), ("public.kept.n",)]),
        (
            "SELECT * FROM twain",
            [
                ("public.twain.email", "public.users.email"),
                ("public.twain.relname", "pg_catalog.pg_class.relname"),
            ],
        ),
        ('SELECT * FROM "Odd".v', [("Odd.v.x.y", "Odd.T.t.A b")]),
        ("SELECT b FROM gone", [("public.gone.b",)]),
        ("SELECT relname FROM pg_class", [("pg_catalog.pg_class.relname",)]),
        ("SELECT most_common_vals FROM pg_stats", [None]),
        (
            "SELECT table_name FROM information_schema.tables",
            [("information_schema.tables.table_name",)],
        ),
        ("SELECT tableoid FROM users", [("public.users.tableoid",)]),
    ],
)
def test_origins_of_a_real_server(server: int, wire: Wire, sql: str, want: list[Any]) -> None:
    fields, _ = wire.rows(sql)
    assert [column.origins for column in known({}, fields, server)] == want


@pytest.mark.clients
def test_partitions_of_a_real_server(server: int, wire: Wire) -> None:
    memory: dict[object, object] = {}
    every = {
        "public.parts.email",
        "public.parts_a.email",
        "public.parts_a1.email",
        "public.parts_b.email",
    }
    for name, want in (
        ("parts", every),
        ("parts_a", every - {"public.parts_b.email"}),
        ("parts_a1", every - {"public.parts_b.email"}),
        ("parts_b", {"public.parts_b.email", "public.parts.email"}),
    ):
        for kept in ({}, memory):
            (column,) = known(kept, wire.rows(f"SELECT email FROM {name}")[0], server)
            assert set(column.origins or ()) == want


@pytest.mark.clients
@pytest.mark.parametrize("name", ["users", "plain"])
def test_a_whole_row_goes_by_all_its_columns(server: int, wire: Wire, name: str) -> None:
    fields, run = wire.rows(f"SELECT {name} FROM {name}")
    memory: dict[object, object] = {}
    (column,) = known(memory, fields, server)
    assert column.origins is not None
    assert "public.users.email" in column.origins
    assert b"ann@" not in RowMasker(fields, Plan((REDACT,)), memory).rows(run)


@pytest.mark.clients
@pytest.mark.parametrize("form", [0, 1])
def test_types_of_a_real_server(server: int, wire: Wire, form: int) -> None:
    fields, run = wire.rows("SELECT a, b, c, d FROM typed", form)
    memory: dict[object, object] = {}
    columns = known(memory, fields, server)
    assert [column.type for column in columns] == ["text", "_mail", "mood", "users"]
    masked = RowMasker(fields, Plan((REDACT,) * 4), memory).rows(run)
    assert masked.count(b"[redacted]") == 2
    assert b"example" not in masked
    assert b"good" not in masked


@pytest.mark.clients
@pytest.mark.parametrize("form", [0, 1])
def test_masked_values_still_load(server: int, wire: Wire, form: int) -> None:
    """psycopg's own loaders read what is shown, and find no secret in it."""
    samples = [
        "'t3xt'::text",
        "'c'::\"char\"",
        "'n'::name",
        "4711::int2",
        "4711::int4",
        "4711::int8",
        "4711.25::numeric",
        "4711.5::float4",
        "4711.5::float8",
        "true",
        "'2001-02-03'::date",
        "'04:05:06'::time",
        "'04:05:06+02'::timetz",
        "'2001-02-03 04:05:06.789'::timestamp",
        "'2001-02-03 04:05:06+00'::timestamptz",
        "'3 days'::interval",
        "'6f1ed002-ab59-43c4-8a4f-6f1ed002ab59'::uuid",
        "'\\x4711'::bytea",
        "'10.1.2.3'::inet",
        "'10.1.2.0/24'::cidr",
        "'{\"a\": 4711}'::json",
        "'{\"a\": 4711}'::jsonb",
        "ARRAY['x','y z',NULL]",
        "ARRAY[4711,NULL]",
        "ARRAY[[1.5,2.5]]::numeric[]",
        "ARRAY['2001-02-03'::date]",
        "'{}'::text[]",
        "ARRAY['{\"a\":1}'::jsonb]",
        "4711::oid",
        "point(1,2)",
        "row(1,'x')",
        "int4range(1,5)",
    ]
    for mask in (REDACT, Mask("m", lambda v: b"0"), Mask("keep-last", lambda v: b"**" + v[-2:])):
        for sql in samples:
            fields, run = wire.rows(f"SELECT {sql}", form)
            oid = fields[0].type_oid
            shown = RowMasker(fields, Plan((mask,))).rows(run)
            length = int.from_bytes(shown[7:11], "big", signed=True)
            assert len(shown) == 11 + max(length, 0)
            if BUILTIN[oid][1].kind is Kind.OTHER:
                assert length == -1
                continue
            assert length >= 0, sql
            loader = Transformer().get_loader(oid, Format(form))
            loader.load(shown[11:])
            assert b"4711" not in shown


@pytest.mark.clients
def test_copy_from_a_real_server(server: int, wire: Wire) -> None:
    for sql, want in (
        ("COPY users TO STDOUT", [b"1", b"[redacted]", b"Ann"]),
        ("COPY users (name, email) TO STDOUT (FORMAT csv, HEADER)", [b"name", b"Ann"]),
        ("COPY users TO STDOUT (FORMAT binary)", [b"PGCOPY"]),
        ("COPY (SELECT id, email FROM users) TO STDOUT", [b"1\t[redacted]\n"]),
    ):
        shape = analyse(sql).statements[0].copy
        assert isinstance(shape, CopyShape)
        memory: dict[object, object] = {}
        described = drive(columns_errand(OPENING, destined(), shape, "public"), server)
        known(memory, described, server)
        fields = copied(memory, shape, described)
        columns = known(memory, fields, server)
        got = wire.query(sql)
        (answer,) = [body for kind, body in got if kind == b"H"]
        assert int.from_bytes(answer[1:3], "big") == len(fields)
        plan = Plan(
            tuple(REDACT if "public.users.email" in (c.origins or ()) else None for c in columns)
        )
        masker = CopyMasker(shape, fields, plan, memory)
        shown = b"".join(masker.feed(body) for kind, body in got if kind == b"d") + masker.end()
        assert b"ann@" not in shown
        assert b"[redacted]" in shown
        assert sum(masker.masked) == 1
        for piece in want:
            assert piece in shown


@pytest.mark.clients
def test_a_locked_view_does_not_hold_the_errand(server: int, wire: Wire) -> None:
    """The client's own open transaction holds the lock that pg_get_viewdef
    needs: the errand must give up, and the column be unknown."""
    fields, _ = wire.rows("SELECT mail FROM plain")
    missing = resolve({}, fields)
    assert isinstance(missing, Missing)
    wire.query(
        "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE; "
        "LOCK TABLE plain IN ACCESS EXCLUSIVE MODE"
    )
    talk = CatalogErrand(OPENING, destined(), missing)
    with socket.create_connection(("127.0.0.1", server), 10) as s:
        while not talk.closing:
            for span in talk.moves():
                if span.move is Move.SEND:
                    s.sendall(span.raw)
            talk.receive(Side.UPSTREAM, s.recv(65536))
    assert talk.result is None
    assert "lock timeout" in talk.error
    memory: dict[object, object] = {}
    learn(memory, talk.result)
    assert resolve(memory, fields, last=True) == (Column("mail", "text", None),)
