"""One statement: its kind picks how it is told, as parts and for the wire."""

from __future__ import annotations

from collections.abc import Callable

from protocols.contract import EffectKind
from protocols.sql.beyond import beyond
from protocols.sql.change import CHANGES
from protocols.sql.copying import shape_of
from protocols.sql.ddl import ROWS, define, drop, names
from protocols.sql.findings import Findings, not_prepared, verbs_of
from protocols.sql.nodes import Json, names_of, one, range_name, text_of
from protocols.sql.outputs import CONSTANT, outputs_of
from protocols.sql.settings import change
from protocols.sql.walk import Walker, limited, row_limit
from protocols.sql.words import CopyShape, Output, Prepared, Statement

_TRANSACTIONS = {
    "TRANS_STMT_BEGIN": "begin",
    "TRANS_STMT_START": "begin",
    "TRANS_STMT_COMMIT": "commit",
    "TRANS_STMT_ROLLBACK": "rollback",
    "TRANS_STMT_SAVEPOINT": "savepoint",
    "TRANS_STMT_RELEASE": "release",
    "TRANS_STMT_ROLLBACK_TO": "rollback_to",
    "TRANS_STMT_PREPARE": "prepare",
    "TRANS_STMT_COMMIT_PREPARED": "commit_prepared",
    "TRANS_STMT_ROLLBACK_PREPARED": "rollback_prepared",
}
_FALSE = frozenset({"off", "false", "no", "0"})


class Telling:
    """A statement while it is being told. ``heads`` are the parts of the
    statement itself and of what wraps it, outermost first."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = Findings("select")
        self.walker = Walker(self.root)
        self.heads: list[Findings] = []
        self.copy: CopyShape | None = None
        self.prepare = ""
        self.execute: str | None = None
        self.deallocate: str | None = None
        self.discard = ""
        self.transaction = ""
        self.name = ""
        self.verb = ""
        self.outputs: tuple[Output, ...] | None = None
        self.settings: list[tuple[str, str | None]] = []

    def head(self, verb: str) -> Findings:
        found = Findings(verb)
        self.heads.append(found)
        return found

    def tell(self, kind: str, node: Json) -> None:
        """Tell a statement, or the one inside a wrapper."""
        told = _TOLD.get(kind)
        if not self.verb and (kind == "SelectStmt" or kind in CHANGES):
            self.verb = kind.removesuffix("Stmt").lower()
        if kind == "SelectStmt" or kind in CHANGES:
            self.query(kind, node)
        elif told is not None:
            told(self, node)
        elif kind in ROWS:
            row = ROWS[kind]
            found = self.head(row.verb)
            define(found, kind, node, row)
            self.inside(found, node)
        else:
            self.head("unparsed").unknown(f"a statement of a kind that is not known ({kind})")

    def query(self, kind: str, node: Json) -> None:
        self.walker.found = self.root
        self.outputs = outputs_of(kind, node)
        if kind == "SelectStmt":
            self.root.has_limit = limited(node)
            self.root.limit = row_limit(node)
            into = _into(node)
            if into:
                found = self.head("create")
                created = range_name(into.get("rel", {}))
                found.touches[created] = None
                found.effect(EffectKind.DEFINE, created, "relation")
                self.outputs = None
            self.walker.selects = True
        self.walker.visit({kind: node})

    def inside(self, found: Findings, node: Json) -> None:
        """Walk what is inside of a statement that is no query. What it reads
        is told of the statement, and of a select."""
        self.walker.found = found
        self.walker.visit(node)
        for inner in self.walker.done:
            found.absorb(inner)
        if self.walker.selects:
            self.root.absorb(found)

    def findings(self) -> list[Findings]:
        every = [*self.heads, *self.walker.done]
        if self.walker.selects or not every:
            every.append(self.root)
        return every

    def statement(self, span: tuple[int, int], count: int) -> Statement:
        every = self.findings()
        verbs = verbs_of(every)
        own = tuple(f.part(verbs, count) for f in every)
        prepared = None
        if self.prepare:
            prepared = Prepared(self.prepare, self.text, beyond(own[1:]), self.outputs)
        parts = beyond(own)
        return Statement(
            text_span=span,
            verb=self.heads[0].verb if self.heads else self.verb,
            parts=parts,
            copy=self.copy,
            prepare=prepared,
            execute=self.execute,
            deallocate=self.deallocate,
            discard=self.discard,
            transaction=self.transaction,
            name=self.name,
            outputs=None if prepared else self.outputs,
            settings=tuple(self.settings),
            unqualified=frozenset(self.walker.unqualified),
        )


def _into(node: Json) -> Json:
    """INTO of a SELECT; of a set operation it hangs on the leftmost arm."""
    while "intoClause" not in node and "larg" in node:
        node = node["larg"]
    into = node.pop("intoClause", {})
    return into if isinstance(into, dict) else {}


def _explain(t: Telling, node: Json) -> None:
    analyze = False
    for wrapped in node.get("options", ()):
        option = one(wrapped)[1]
        if option.get("defname") == "analyze":
            value = text_of(option["arg"]) if "arg" in option else "on"
            analyze = analyze or value is None or value.lower() not in _FALSE
    found = t.head("explain")
    kind, inner = one(node.get("query", {}))
    if analyze:
        t.tell(kind, inner)
        touched = t.findings()
    else:  # planned, not run: but planning calls functions
        planned = Telling(t.text)
        planned.tell(kind, inner)
        for part in planned.findings():
            found.absorb(part)
            found.touches.update({**part.writes, **part.touches})
            found.why.update(part.why)
            found.dynamic = found.dynamic or part.dynamic
            for effect in part.effects:
                if effect.of in ("function", "file", "setting"):
                    found.effects[effect] = None
        t.execute = planned.execute
        t.walker.unqualified.update(planned.walker.unqualified)
        touched = [found]
    for part in touched:
        part.explain = True
        part.analyze = analyze
    t.outputs = (CONSTANT,)


def _copy(t: Telling, node: Json) -> None:
    into = bool(node.get("is_from"))
    found = t.head("copy_in" if into else "copy_out")
    found.uses_copy = True
    t.copy = shape_of(node, t.text)
    if t.copy.via != "stdio":
        found.copies_program = t.copy.via == "program"
        file = str(node.get("filename", ""))
        found.effect(EffectKind.CONTROL, file, t.copy.via)
        kind = EffectKind.READ if into else EffectKind.WRITE
        found.effect(kind, file, t.copy.via)
    if "query" in node:
        t.tell(*one(node["query"]))
        for inner in t.findings():
            inner.uses_copy = True
            inner.copies_program = found.copies_program
        return
    relation = range_name(node.get("relation", {}))
    columns = [f"{relation}.{c}" for c in names_of(node.get("attlist")) or ("*",)]
    # PostgreSQL asks for INSERT or SELECT on the table; so do we.
    plain = t.head("insert") if into else t.root
    t.walker.selects = not into
    for part in (found, plain):
        part.uses_copy = True
        part.copies_program = found.copies_program
        if into:
            part.write(relation)
            part.writes_columns.update(dict.fromkeys(columns))
        else:
            part.read(relation)
            part.columns.update(dict.fromkeys(columns))
    t.walker.found = found
    t.walker.scope.add(relation.rpartition(".")[2], (relation,))
    t.walker.visit(node.get("whereClause"))


def _create_as(t: Telling, node: Json) -> None:
    found = t.head("create")
    name = range_name(node.get("into", node).get("rel", node.get("view", {})))
    found.touches[name] = None
    found.effect(EffectKind.DEFINE, name, "relation")
    if node.get("replace"):  # what the name meant before is gone
        found.effect(EffectKind.DESTROY, name, "relation")
    t.tell(*one(node.get("query", {})))
    t.outputs = None


def _create_function(t: Telling, node: Json) -> None:
    found = t.head("create")
    name = ".".join(names_of(node.get("funcname")))
    found.effect(EffectKind.DEFINE, name, "function")
    if node.get("replace"):
        found.effect(EffectKind.DESTROY, name, "function")
    found.dynamic = "sql_body" not in node
    for wrapped in node.get("options", ()):
        option = one(wrapped)[1]
        if option.get("defname") == "security" and text_of(option.get("arg")) == "on":
            found.effect(EffectKind.GRANT, name, "function")
        kind, value = one(option.get("arg", {}))
        if kind == "VariableSetStmt":
            settings(t, found, value)
    t.inside(found, node)


def _create_rule(t: Telling, node: Json) -> None:
    found = t.head("create")
    name = range_name(node.get("relation", {}))
    found.touches[name] = None
    found.effect(EffectKind.DEFINE, name, "relation")
    found.effect(EffectKind.DEFINE, str(node.get("rulename", "")), "rule")
    t.inside(found, node)


def _create_schema(t: Telling, node: Json) -> None:
    found = t.head("create")
    define(found, "CreateSchemaStmt", node, ROWS["CreateSchemaStmt"])
    for wrapped in node.get("schemaElts", ()):
        t.tell(*one(wrapped))


def _drop(t: Telling, node: Json) -> None:
    drop(t.head("drop"), node)


def _truncate(t: Telling, node: Json) -> None:
    found = t.head("truncate")
    found.cascade = node.get("behavior") == "DROP_CASCADE"
    for name in names(node.get("relations", [])):
        found.writes[name] = None
        found.effect(EffectKind.DESTROY, name, "relation")


def _set(t: Telling, node: Json) -> None:
    settings(t, t.head("set"), node)


def settings(t: Telling, found: Findings, node: Json) -> None:
    """SET and RESET, alone or in ALTER ROLE, ALTER FUNCTION and the like."""
    kind = node.get("kind", "")
    name = str(node.get("name", "")).lower()
    pairs: list[tuple[str, str | None]] = []
    if kind == "VAR_RESET_ALL":
        pairs.append(("*", None))
    elif kind == "VAR_SET_MULTI":
        session = name.startswith("session")
        for wrapped in node.get("args", ()):
            option, value = _mode(wrapped)
            pairs.append((("default_" if session else "") + option, value))
    elif kind == "VAR_SET_VALUE":
        values = [text_of(a) for a in node.get("args", ())]
        whole = None if None in values else ", ".join(v or "" for v in values)
        pairs.append((name, whole))
    else:
        pairs.append((name, None))
    for setting, value in pairs:
        change(found, setting, value)
        t.settings.append((setting, value))


def _mode(wrapped: Json) -> tuple[str, str | None]:
    """A transaction mode: ("transaction_read_only", "on")."""
    option = one(wrapped)[1]
    value = text_of(option.get("arg"))
    name = option.get("defname", "")
    if name in ("transaction_read_only", "transaction_deferrable"):
        value = {"0": "off", "1": "on"}.get(value or "", value)
    return name, value


def _settings_inside(kind: str) -> Callable[[Telling, Json], None]:
    def told(t: Telling, node: Json) -> None:
        row = ROWS[kind]
        found = t.head(row.verb)
        define(found, kind, node, row)
        settings(t, found, node.get("setstmt", {}))

    return told


def _transaction(t: Telling, node: Json) -> None:
    found = t.head("transaction")
    t.transaction = _TRANSACTIONS.get(node.get("kind", ""), "")
    for wrapped in node.get("options", ()):
        name, value = _mode(wrapped)
        if name == "transaction_read_only":
            change(found, name, value)
            t.settings.append((name, value))
    if t.transaction not in ("begin", "commit", "rollback", "savepoint", "release", "rollback_to"):
        # Two-phase commit outlives the session, and its effects with it.
        found.effect(EffectKind.CONTROL, str(node.get("gid", "")), "transaction")


def _call(t: Telling, node: Json) -> None:
    found = t.head("call")
    t.walker.found = found
    t.walker.function(node.get("funccall", {}))
    name = ".".join(names_of(node.get("funccall", {}).get("funcname")))
    found.unknown(f"what procedure {name} does is not known")
    found.dynamic = True
    if t.walker.selects:
        t.root.absorb(found)


def _do(t: Telling, node: Json) -> None:
    found = t.head("do")
    found.dynamic = True
    found.unknown("DO runs code that is not judged here")


def _prepare(t: Telling, node: Json) -> None:
    t.head("prepare")
    t.prepare = t.name = str(node.get("name", ""))
    t.tell(*one(node.get("query", {})))


def _execute(t: Telling, node: Json) -> None:
    found = t.head("execute")
    t.execute = str(node.get("name", ""))
    found.unknown(not_prepared(t.execute))
    t.inside(found, {"params": node.get("params", [])})


def _deallocate(t: Telling, node: Json) -> None:
    t.head("deallocate")
    t.deallocate = "" if node.get("isall") else str(node.get("name", ""))


def _discard(t: Telling, node: Json) -> None:
    found = t.head("admin")
    t.discard = str(node.get("target", "")).removeprefix("DISCARD_").lower()
    if t.discard == "all":
        change(found, "*", None)
        t.settings.append(("*", None))


def _declare(t: Telling, node: Json) -> None:
    t.head("declare")
    t.name = str(node.get("portalname", ""))
    t.tell(*one(node.get("query", {})))


def _named(verb: str) -> Callable[[Telling, Json], None]:
    def told(t: Telling, node: Json) -> None:
        t.head(verb)
        t.name = str(node.get("portalname", ""))

    return told


def _show(t: Telling, node: Json) -> None:
    found = t.head("show")
    found.effect(EffectKind.READ, str(node.get("name", "")).lower(), "setting")
    t.outputs = (CONSTANT,)


def _alter_function(t: Telling, node: Json) -> None:
    found = t.head("alter")
    define(found, "AlterFunctionStmt", node, ROWS["AlterFunctionStmt"])
    for wrapped in node.get("actions", ()):
        option = one(wrapped)[1]
        kind, value = one(option.get("arg", {}))
        if kind == "VariableSetStmt":
            settings(t, found, value)


_TOLD: dict[str, Callable[[Telling, Json], None]] = {
    "ExplainStmt": _explain,
    "CopyStmt": _copy,
    "CreateTableAsStmt": _create_as,
    "ViewStmt": _create_as,
    "CreateFunctionStmt": _create_function,
    "AlterFunctionStmt": _alter_function,
    "RuleStmt": _create_rule,
    "CreateSchemaStmt": _create_schema,
    "DropStmt": _drop,
    "TruncateStmt": _truncate,
    "VariableSetStmt": _set,
    "AlterRoleSetStmt": _settings_inside("AlterRoleSetStmt"),
    "AlterDatabaseSetStmt": _settings_inside("AlterDatabaseSetStmt"),
    "AlterSystemStmt": _settings_inside("AlterSystemStmt"),
    "TransactionStmt": _transaction,
    "CallStmt": _call,
    "DoStmt": _do,
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "DeallocateStmt": _deallocate,
    "DiscardStmt": _discard,
    "DeclareCursorStmt": _declare,
    "FetchStmt": _named("fetch"),
    "ClosePortalStmt": _named("close"),
    "VariableShowStmt": _show,
}
