"""The words that PostgreSQL statements are told in: actions, facts, shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from protocols.contract import FactKind, Part
from protocols.sql.nodes import listed

VERBS: tuple[str, ...] = listed(
    "select insert update delete merge truncate copy_in copy_out create alter drop grant revoke "
    "set show transaction call do prepare execute deallocate declare fetch close listen "
    "notify unlisten explain maintain lock comment admin function_call unparsed"
)

ACTIONS: frozenset[str] = frozenset("sql." + verb for verb in VERBS)
"""``maintain``: VACUUM, ANALYZE, REINDEX, CLUSTER, REFRESH. ``admin``: CHECKPOINT,
LOAD, DISCARD, ALTER SYSTEM, SECURITY LABEL and what else belongs to operators."""

FACTS: Mapping[str, FactKind] = {
    "verb": FactKind.TEXT,
    "verbs": FactKind.NAMES,
    "tables": FactKind.NAMES,
    "reads_tables": FactKind.NAMES,
    "writes_tables": FactKind.NAMES,
    "functions": FactKind.NAMES,
    "columns": FactKind.NAMES,
    "reads_columns": FactKind.NAMES,
    "writes_columns": FactKind.NAMES,
    "has_where": FactKind.FLAG,
    "where_is_constant": FactKind.FLAG,
    "has_limit": FactKind.FLAG,
    "limit": FactKind.NUMBER,
    "is_ddl": FactKind.FLAG,
    "statement_count": FactKind.NUMBER,
    "uses_copy": FactKind.FLAG,
    "copies_program": FactKind.FLAG,
    "sets": FactKind.NAMES,
    "explain": FactKind.FLAG,
    "analyze": FactKind.FLAG,
    "cascade": FactKind.FLAG,
    "dynamic": FactKind.FLAG,
}
"""Facts of a part; all are always there.

``verb``: the part's own (``delete``); ``verbs``: of all parts of its statement.
``tables``: all relations of the part, as written (``users``, ``public.users``; an
unqualified ``pg_*`` is ``pg_catalog.pg_*``).  ``columns`` = ``reads_columns`` and
``writes_columns``: ``public.users.email``, ``users.*`` for all; a name that may
belong to one of several relations gives one entry per candidate and ``*.email``.
``functions``: bare names; one that is qualified with ``pg_catalog`` is there with
and without it, other schemas only with.
``has_where``: False only for an UPDATE, DELETE or MERGE that is bound by nothing.
``where_is_constant``: the condition of an UPDATE, DELETE or MERGE does not depend on the row.
``has_limit``: the outermost SELECT has a LIMIT; ``limit``: its number, None where there
is none or it is not a constant.  ``sets``: settings changed, lower case,
``*`` for all or unknown.  ``dynamic``: text that is not here may run (DO, functions).
In ``sql.unparsed`` names and ``verb``s are None where unknown."""


@dataclass(frozen=True, slots=True)
class Output:
    """One column of what a statement returns. ``constant`` reads no table,
    ``count`` is ``count(*)``, ``expression`` anything that computes."""

    kind: Literal["column", "constant", "count", "expression"]


@dataclass(frozen=True, slots=True)
class CopyShape:
    """What a COPY moves, and in which form.

    ``direction``: ``in`` is FROM, ``out`` is TO. ``via``: ``stdio`` is the
    client, else ``file`` or ``program`` on the server.  ``relation`` is the
    table as SQL text, quoted where needed (``public."Users"``), and
    ``columns`` its columns as plain names (() is all); or ``query`` is the
    inner statement's text and ``relation`` is "".  ``delimiter``, ``quote``,
    ``escape`` and ``null`` are PostgreSQL's defaults for the format where the
    text says nothing; "" where the format has none.  ``encoding`` "" is the
    client's.  ``header`` is True for ``match`` too.  ``odd`` names options that
    are none of these: whoever masks should refuse what it does not know.
    """

    direction: Literal["in", "out"]
    via: Literal["stdio", "file", "program"]
    format: Literal["text", "csv", "binary"]
    delimiter: str
    quote: str
    escape: str
    null: str
    header: bool
    encoding: str
    relation: str
    columns: tuple[str, ...]
    query: str
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What PREPARE keeps: the statement's name and what it will do."""

    name: str
    text: str
    """The whole PREPARE statement."""
    parts: tuple[Part, ...]
    outputs: tuple[Output, ...] | None


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement of a text, with what the wire needs to know of it.

    ``text_span``: start and end in characters of the text (leading blanks and
    comments left out).  ``verb``: the outermost one.  ``parts``: what
    rules judge, one per verb and written relation.  ``name``: of the cursor
    in DECLARE, FETCH, CLOSE, "" for CLOSE ALL.  ``execute``: the prepared
    statement that it runs (also inside EXPLAIN and CREATE TABLE AS).
    ``deallocate``: the name, "" for ALL, None if it is no DEALLOCATE.
    ``discard``: ``all``, ``plans``, ``sequences``, ``temp`` or "".
    ``transaction``: ``begin``, ``commit``, ``rollback``, ``savepoint``,
    ``release``, ``rollback_to``, ``prepare``, ``commit_prepared``,
    ``rollback_prepared`` or "".  ``outputs``: of a query, RETURNING, or the
    query of COPY, DECLARE, PREPARE; None where positions are not known or
    nothing comes back.  ``settings``: (name, value) for each
    setting changed, value None where it is not a constant or is the default.
    ``unqualified``: function names used without a schema, and field names
    that may be functions: what a function in the search path could shadow.
    """

    text_span: tuple[int, int]
    verb: str
    parts: tuple[Part, ...]
    copy: CopyShape | None = None
    prepare: Prepared | None = None
    execute: str | None = None
    deallocate: str | None = None
    discard: str = ""
    transaction: str = ""
    name: str = ""
    outputs: tuple[Output, ...] | None = None
    settings: tuple[tuple[str, str | None], ...] = ()
    unqualified: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Analysis:
    """A text, understood. ``parts`` are those of all statements, in order."""

    parts: tuple[Part, ...]
    statements: tuple[Statement, ...]
