"""Row 68: a masked column inside of an expression is not let out by it.

With ``unresolved = "block"`` a result whose columns can't be traced is refused;
what is traced to a masked column is masked or refused whole, never shown.
"""

from __future__ import annotations

import pytest
from stack import Stack
from test_067_masks_everywhere import leaks
from wire import bind, enter, execute, parse

EXPRESSIONS = [
    "reverse(ssn)", "encode(ssn::bytea, 'base64')", "encode(ssn::bytea, 'hex')",
    "encode(ssn::bytea, 'escape')", "substr(ssn, 1, 11)", "left(ssn, 11)", "ssn || ''",
    "ssn::text", "ssn::char(11)", "ssn::bytea", "ssn::json IS NULL, ssn", "upper(email)",
    "concat(ssn)", "concat_ws('', ssn)", "format('%s', ssn)", "lpad(ssn, 11)", "trim(ssn)",
    "replace(ssn, 'x', 'y')", "translate(ssn, 'x', 'y')", "regexp_replace(ssn, 'x', 'y')",
    "split_part(ssn, '+', 1)", "string_to_array(ssn, '+')", "regexp_split_to_array(ssn, '+')",
    "regexp_matches(ssn, '.*')", "substring(ssn from '.*')", "array_agg(ssn)",
    "string_agg(ssn, ',')", "max(ssn)", "min(email)", "json_agg(ssn)", "jsonb_agg(email)",
    "to_json(ssn)", "row_to_json(row(ssn))", "json_build_object('a', ssn)", "row(ssn)", "(ssn)",
    "ARRAY[ssn]", "coalesce(ssn, '')", "CASE WHEN true THEN ssn END", "nullif(ssn, '')",
    "greatest(ssn)", "first_value(ssn) OVER ()", "lag(ssn, 0) OVER ()", "(SELECT u.ssn)",
    "quote_literal(ssn)", "quote_ident(ssn)", "initcap(email)", "ssn COLLATE \"C\"",
    "xmlelement(name a, ssn)", "xmlforest(ssn)", "to_tsvector('simple', email)", "u::text",
    "hstore(u)", "jsonb_path_query(to_jsonb(u), '$.*')", "to_jsonb(u) -> 'ssn'",
    "(u).ssn", "u.*", "ascii(ssn)", "convert_to(ssn, 'UTF8')", "ssn::name", "ssn::varchar(11)[]",
    "(array_agg(ssn))[1]", "percentile_disc(0) WITHIN GROUP (ORDER BY ssn)", "mode() WITHIN"
    " GROUP (ORDER BY email)",
]  # fmt: skip
EXPRESSIONS = [e for e in EXPRESSIONS if e]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_it_is_masked_or_refused(masked: Stack, expression: str) -> None:
    text = f"SELECT {expression} AS harmless FROM persons u"
    with enter(masked) as wire:
        simple = wire.ask(text)
        extended = wire.say(parse("", text), bind("", "", results=(1,)), execute())
        assert leaks(wire.seen) == []
        plain = {value for r in simple.rows + extended.rows for value in r if value}
        assert b"50" not in plain, "the code of its first digit"
        assert wire.ask("SELECT 1").rows == [[b"1"]]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM (SELECT reverse(ssn) AS name FROM users) x",
        "SELECT * FROM users NATURAL JOIN (SELECT ssn AS other, id FROM users) y",
        "SELECT o.id, u.ssn FROM orders o JOIN users u ON u.id = o.user_id",
        "SELECT users.* FROM users, orders",
        "SELECT ssn FROM users GROUP BY ssn",
        "SELECT DISTINCT ON (ssn) ssn FROM users",
        "SELECT ssn, count(*) FROM users GROUP BY ROLLUP (ssn)",
        "SELECT name FROM (SELECT ssn AS name FROM users OFFSET 0) x",
        "WITH RECURSIVE r(a, n) AS (SELECT ssn, 1 FROM users UNION ALL SELECT a, n + 1 FROM r"
        " WHERE n < 2) SELECT a FROM r",
        "SELECT ssn FROM users UNION SELECT name FROM users",
        "SELECT name FROM users EXCEPT SELECT ssn FROM users WHERE false",
        "SELECT (SELECT string_agg(ssn, ',') FROM users)",
        "SELECT id FROM users ORDER BY ssn; SELECT ssn FROM users",
        "TABLE users",
        "SELECT email AS ssn, ssn AS email FROM users",
        "SELECT a.email FROM users a, users b",
        "SELECT x FROM (SELECT ssn, email FROM users) AS t (y, x)",
        "SELECT x FROM users CROSS JOIN LATERAL unnest(ARRAY[ssn]) x",
        "SELECT x.* FROM users, json_each_text(row_to_json(users)) x",
        "SELECT d.ssn FROM users d TABLESAMPLE bernoulli (100)",
        "DELETE FROM users WHERE id = -1 RETURNING ssn",
    ],
)
def test_shapes(masked: Stack, text: str) -> None:
    with enter(masked) as wire:
        wire.ask("BEGIN")
        wire.ask(text.replace("users", "persons"))
        wire.ask("ROLLBACK")
        assert leaks(wire.seen) == []


def test_what_is_no_secret_is_shown(masked: Stack) -> None:
    """Else an all-blocking gateway would pass the tests above."""
    with enter(masked) as wire:
        assert wire.ask("SELECT name FROM users ORDER BY id").rows[0] == [b"Ada"]
        assert wire.ask("SELECT count(*) FROM users").rows == [[b"3"]]
        ssn = wire.ask("SELECT ssn FROM users ORDER BY id").rows[0][0]
        assert ssn is not None
        assert ssn.endswith(b"9999")
