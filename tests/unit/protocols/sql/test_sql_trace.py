"""Columns of views, traced to base columns or to nothing."""

from __future__ import annotations

import pytest

from protocols.sql import trace_view

U, O = ("", "users"), ("public", "orders")  # noqa: E741
E, N = (*U, "email"), (*U, "name")

TRACED = [
    ("SELECT users.email FROM users;", [(E,)]),
    ("SELECT email FROM users;", [(E,)]),
    (" SELECT u.email AS e, count(*) AS n, 1 AS one FROM users u GROUP BY u.email;",
     [(E,), (), ()]),
    ("SELECT o.id, u.email FROM public.orders o JOIN users u ON u.id = o.uid",
     [((*O, "id"),), (E,)]),
    ("SELECT o.id FROM ((public.orders o LEFT JOIN users u ON true) JOIN users v ON true)",
     [((*O, "id"),)]),
    ("SELECT s.e FROM (SELECT u.email AS e FROM users u) s", [(E,)]),
    ("SELECT s.x FROM (SELECT u.email AS e FROM users u) s(x)", [(E,)]),
    ("WITH c AS (SELECT u.email FROM users u) SELECT c.email FROM c", [(E,)]),
    ("WITH c(x) AS (SELECT u.email FROM users u) SELECT d.x FROM c d", [(E,)]),
    ("SELECT u.email FROM users u UNION ALL SELECT v.name FROM users v", [(E, N)]),
    ("SELECT u.email FROM users u UNION SELECT 'x'::text", [(E,)]),
    ("SELECT public.orders.id FROM public.orders", [((*O, "id"),)]),
    ("VALUES (1, 'x'::text), (2, 'y'::text)", [(), ()]),
    ("SELECT 'x'::text, now(), NULL::integer", [(), (), ()]),
    ("SELECT DISTINCT u.email FROM ONLY users u WHERE u.name = 'x' ORDER BY u.email", [(E,)]),
    # Unknown from here on.
    ("SELECT lower(u.email) FROM users u", [None]),
    ("SELECT u.email::varchar FROM users u", [None]),
    ("SELECT u.email || 'x', u.name FROM users u", [None, (N,)]),
    ("SELECT (SELECT v.email FROM users v LIMIT 1) FROM users u", [None]),
    ("SELECT u.email FROM users u UNION SELECT lower(v.name) FROM users v", [None]),
    ("SELECT email FROM users, orders", [None]),
    ("SELECT u.b FROM users u(a, b)", [None]),
    ("SELECT u FROM users u", [None]),
    ("SELECT u.* FROM users u", [None]),
    ("SELECT * FROM users u", [None]),
    ("SELECT f.x FROM f() f(x)", [None]),
    ("SELECT s.x FROM users u, LATERAL (SELECT u.email AS x) s", [None]),
    ("SELECT s.e FROM (SELECT u.email AS e, u.name AS e FROM users u) s", [None]),
    ("SELECT j.email FROM (users u JOIN orders o ON true) j", [None]),
    ("WITH RECURSIVE c AS (SELECT u.email FROM users u UNION SELECT c.email FROM c) "
     "SELECT c.email FROM c", [None]),
    ("SELECT count(*) FILTER (WHERE u.email = 'x') FROM users u", [None]),
    ("SELECT evil()", [None]),
    ("SELECT u.email, u.name FROM users u", [None]),
    ("SELECT u.email FROM users u", [None, None]),
    ("SELECT 1; SELECT 2", [None]),
    ("DELETE FROM t", [None]),
    ("nonsense", [None]),
    ("", [None]),
    ("\0", [None]),
    ("SELECT " + "(" * 100000, [None]),
    ("SELECT 1" + " UNION SELECT 1" * 5000, [None]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "origins"), TRACED, ids=range(len(TRACED)))
def test_trace(text: str, origins: list[tuple[tuple[str, str, str], ...] | None]) -> None:
    assert trace_view(text, ["c"] * len(origins)) == tuple(origins)
