"""What statements define, destroy, grant and control, kind by kind.

One table: kind of node -> verb, effects, and the field that names the object.
Expressions inside (defaults, checks, USING) are walked like any other, and
relations named anywhere inside are told as touched.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from protocols.contract import EffectKind
from protocols.sql.findings import Findings
from protocols.sql.nodes import Json, dotted, listed, names_of, one, range_name, text_of

D, X, G, C = EffectKind.DEFINE, EffectKind.DESTROY, EffectKind.GRANT, EffectKind.CONTROL


class Row(NamedTuple):
    verb: str
    kinds: tuple[EffectKind, ...]
    of: str
    field: str = ""


ROWS: dict[str, Row] = {
    "CreateStmt": Row("create", (D,), "relation", "relation"),
    "CreateForeignTableStmt": Row("create", (D, C), "relation", "base"),
    "IndexStmt": Row("create", (D,), "relation", "relation"),
    "CreateSeqStmt": Row("create", (D,), "sequence", "sequence"),
    "AlterSeqStmt": Row("alter", (D,), "sequence", "sequence"),
    "CreateSchemaStmt": Row("create", (D,), "schema", "schemaname"),
    "CreateDomainStmt": Row("create", (D,), "type", "domainname"),
    "CreateEnumStmt": Row("create", (D,), "type", "typeName"),
    "AlterEnumStmt": Row("alter", (D,), "type", "typeName"),
    "CreateRangeStmt": Row("create", (D,), "type", "typeName"),
    "CompositeTypeStmt": Row("create", (D,), "type", "typevar"),
    "AlterTypeStmt": Row("alter", (D,), "type", "typeName"),
    "AlterDomainStmt": Row("alter", (D,), "type", "typeName"),
    "DefineStmt": Row("create", (D,), "object", "defnames"),
    "CreateCastStmt": Row("create", (D,), "cast"),
    "CreateConversionStmt": Row("create", (D,), "conversion", "conversion_name"),
    "CreateTransformStmt": Row("create", (D,), "transform"),
    "CreateOpClassStmt": Row("create", (D,), "operator class", "opclassname"),
    "CreateOpFamilyStmt": Row("create", (D,), "operator family", "opfamilyname"),
    "AlterOpFamilyStmt": Row("alter", (D,), "operator family", "opfamilyname"),
    "AlterOperatorStmt": Row("alter", (D,), "operator", "opername"),
    "CreateStatsStmt": Row("create", (D,), "statistics", "defnames"),
    "AlterStatsStmt": Row("alter", (D,), "statistics", "defnames"),
    "CreateTrigStmt": Row("create", (D,), "trigger", "trigname"),
    "CreateEventTrigStmt": Row("create", (D, C), "event trigger", "trigname"),
    "AlterEventTrigStmt": Row("alter", (D, C), "event trigger", "trigname"),
    "CreatePolicyStmt": Row("create", (D, G), "policy", "policy_name"),
    "AlterPolicyStmt": Row("alter", (D, G), "policy", "policy_name"),
    "CreateAmStmt": Row("create", (D, C), "access method", "amname"),
    "CreatePLangStmt": Row("create", (D, C), "language", "plname"),
    "CreateExtensionStmt": Row("create", (D, C), "extension", "extname"),
    "AlterExtensionStmt": Row("alter", (D, C), "extension", "extname"),
    "AlterExtensionContentsStmt": Row("alter", (D, C), "extension", "extname"),
    "CreateFdwStmt": Row("create", (D, C), "foreign data wrapper", "fdwname"),
    "AlterFdwStmt": Row("alter", (D, C), "foreign data wrapper", "fdwname"),
    "CreateForeignServerStmt": Row("create", (D, C), "server", "servername"),
    "AlterForeignServerStmt": Row("alter", (D, C), "server", "servername"),
    "CreateUserMappingStmt": Row("create", (D, C), "user mapping", "servername"),
    "AlterUserMappingStmt": Row("alter", (D, C), "user mapping", "servername"),
    "DropUserMappingStmt": Row("drop", (X, C), "user mapping", "servername"),
    "ImportForeignSchemaStmt": Row("create", (D, C), "schema", "local_schema"),
    "CreatePublicationStmt": Row("create", (D, C), "publication", "pubname"),
    "AlterPublicationStmt": Row("alter", (D, C), "publication", "pubname"),
    "CreateSubscriptionStmt": Row("create", (D, C), "subscription", "subname"),
    "AlterSubscriptionStmt": Row("alter", (D, C), "subscription", "subname"),
    "DropSubscriptionStmt": Row("drop", (X, C), "subscription", "subname"),
    "CreateTableSpaceStmt": Row("create", (D, C), "tablespace", "tablespacename"),
    "AlterTableSpaceOptionsStmt": Row("alter", (D, C), "tablespace", "tablespacename"),
    "AlterTableMoveAllStmt": Row("alter", (D, C), "tablespace", "orig_tablespacename"),
    "DropTableSpaceStmt": Row("drop", (X,), "tablespace", "tablespacename"),
    "CreatedbStmt": Row("create", (D,), "database", "dbname"),
    "AlterDatabaseStmt": Row("alter", (D, C), "database", "dbname"),
    "AlterDatabaseRefreshCollStmt": Row("alter", (D,), "database", "dbname"),
    "AlterDatabaseSetStmt": Row("alter", (D, C), "database", "dbname"),
    "DropdbStmt": Row("drop", (X,), "database", "dbname"),
    "CreateRoleStmt": Row("create", (D, G), "role", "role"),
    "AlterRoleStmt": Row("alter", (G,), "role", "role"),
    "AlterRoleSetStmt": Row("alter", (G, C), "role", "role"),
    "DropRoleStmt": Row("drop", (X, G), "role", "roles"),
    "DropOwnedStmt": Row("drop", (X, G), "role", "roles"),
    "ReassignOwnedStmt": Row("alter", (G,), "role", "roles"),
    "GrantStmt": Row("grant", (G,), "object", "objects"),
    "GrantRoleStmt": Row("grant", (G,), "role", "granted_roles"),
    "AlterDefaultPrivilegesStmt": Row("grant", (G,), "default privileges"),
    "AlterOwnerStmt": Row("alter", (G,), "object", "object"),
    "AlterTableStmt": Row("alter", (D,), "relation", "relation"),
    "AlterFunctionStmt": Row("alter", (D, C), "function", "func"),
    "AlterCollationStmt": Row("alter", (D,), "collation", "collname"),
    "AlterObjectDependsStmt": Row("alter", (D,), "object", "object"),
    "AlterObjectSchemaStmt": Row("alter", (D,), "object", "object"),
    "AlterTSConfigurationStmt": Row("alter", (D,), "text search configuration", "cfgname"),
    "AlterTSDictionaryStmt": Row("alter", (D,), "text search dictionary", "dictname"),
    "RenameStmt": Row("alter", (D,), "object", "object"),
    "CommentStmt": Row("comment", (D,), "object", "object"),
    "SecLabelStmt": Row("admin", (G,), "object", "object"),
    "AlterSystemStmt": Row("admin", (C,), "server"),
    "CheckPointStmt": Row("admin", (C,), "server"),
    "LoadStmt": Row("admin", (C,), "library", "filename"),
    "ConstraintsSetStmt": Row("set", (C,), "constraints"),
    "ReindexStmt": Row("maintain", (C,), "relation", "relation"),
    "ClusterStmt": Row("maintain", (C,), "relation", "relation"),
    "VacuumStmt": Row("maintain", (C,), "relation", "rels"),
    "RefreshMatViewStmt": Row("maintain", (EffectKind.WRITE,), "relation", "relation"),
    "LockStmt": Row("lock", (C,), "relation", "relations"),
    "ListenStmt": Row("listen", (C,), "channel", "conditionname"),
    "UnlistenStmt": Row("unlisten", (C,), "channel", "conditionname"),
    "NotifyStmt": Row("notify", (C,), "channel", "conditionname"),
}

_RELATIONS = frozenset(
    listed("OBJECT_TABLE OBJECT_VIEW OBJECT_MATVIEW OBJECT_FOREIGN_TABLE OBJECT_INDEX")
)
_ON_RELATION = frozenset(listed("OBJECT_TRIGGER OBJECT_POLICY OBJECT_RULE OBJECT_TABCONSTRAINT"))
_ROWS_SECURITY = frozenset(
    listed("AT_EnableRowSecurity AT_DisableRowSecurity AT_ForceRowSecurity AT_NoForceRowSecurity")
)
_DROPS = frozenset(listed("AT_DropColumn AT_DropConstraint AT_DropInherit AT_DetachPartition"))


def names(value: Any) -> list[str]:
    """The object names in a field: text, name lists, RangeVars, RoleSpecs,
    ObjectWithArgs, TypeNames, bare or wrapped."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        if value and all(text_of(v) is not None for v in value):
            return [dotted(names_of(value))]
        return [n for v in value for n in names(v)]
    if not isinstance(value, dict):
        return []
    if "relname" in value:
        return [range_name(value)]
    if "relation" in value and "relname" in value.get("relation", {}):
        return [range_name(value["relation"])]
    for key in ("objname", "names"):
        if key in value:
            return [dotted(names_of(value[key]))]
    for key in ("rolename", "priv_name", "sval"):
        if key in value:
            return [str(value[key])]
    if "roletype" in value:
        return [str(value["roletype"]).removeprefix("ROLESPEC_").lower()]
    kind, fields = one(value)
    if kind == "List":
        return names(fields.get("items", []))
    return names(fields) if isinstance(fields, dict) and kind[:1].isupper() else []


def define(found: Findings, kind: str, node: Json, row: Row) -> None:
    """Write down the effects of a statement of the table."""
    objects: list[str] = []
    if row.field == "objects":
        objects = [n for wrapped in node.get("objects", ()) for n in names(wrapped)]
    elif row.field:
        objects = names(node.get(row.field))
    if not objects and "relation" in node:
        objects = names(node["relation"])
    if node.get("targtype") == "ACL_TARGET_ALL_IN_SCHEMA":
        objects = [f"{schema}.*" for schema in objects]
    of = row.of
    if of == "object":
        of = _kind_of(node)
    for effect in row.kinds:
        for name in objects or [""]:
            found.effect(effect, name, of)
    if of == "relation":
        found.touches.update(dict.fromkeys(objects))
    found.cascade = node.get("behavior") == "DROP_CASCADE"
    if kind == "AlterTableStmt":
        _alter_table(found, node, objects[0] if objects else "")
    elif kind in ("GrantStmt", "GrantRoleStmt") and not node.get("is_grant"):
        found.verb = "revoke"
    elif kind == "AlterDefaultPrivilegesStmt":
        action = node.get("action", {})
        found.cascade = action.get("behavior") == "DROP_CASCADE"
        if not action.get("is_grant"):
            found.verb = "revoke"
    elif kind == "CreateExtensionStmt":
        found.cascade = any(one(o)[1].get("defname") == "cascade" for o in node.get("options", ()))
    elif kind == "CreateTrigStmt":
        found.functions[dotted(names_of(node.get("funcname")))] = None


def _alter_table(found: Findings, node: Json, relation: str) -> None:
    for wrapped in node.get("cmds", ()):
        command = one(wrapped)[1]
        subtype = command.get("subtype", "")
        column = command.get("name", "")
        if column:
            found.writes_columns[f"{relation}.{column}"] = None
        if command.get("behavior") == "DROP_CASCADE":
            found.cascade = True
        if subtype == "AT_ChangeOwner" or subtype in _ROWS_SECURITY:
            found.effect(EffectKind.GRANT, relation, "relation")
        elif subtype in _DROPS:
            found.effect(EffectKind.DESTROY, f"{relation}.{column}", "column")
        elif "Trig" in subtype or "Rule" in subtype:
            found.effect(EffectKind.CONTROL, relation, "relation")


def drop(found: Findings, node: Json) -> None:
    """DROP of anything that has no node of its own."""
    removed = node.get("removeType", "")
    of = _object_word(removed)
    found.cascade = node.get("behavior") == "DROP_CASCADE"
    for wrapped in node.get("objects", ()):
        kind, fields = one(wrapped)
        if removed in _ON_RELATION and kind == "List":
            parts = names_of(fields.get("items"))
            relation = dotted(parts[:-1])
            found.touches[relation] = None
            found.effect(EffectKind.DESTROY, f"{relation}.{parts[-1]}", of)
            if removed == "OBJECT_POLICY":
                found.effect(EffectKind.GRANT, relation, "relation")
            continue
        for name in names(wrapped) or [""]:
            found.effect(EffectKind.DESTROY, name, of)
            if removed in _RELATIONS:
                found.touches[name] = None


def _kind_of(node: Json) -> str:
    for key in ("objectType", "objtype", "renameType", "kind"):
        value = node.get(key)
        if isinstance(value, str) and value.startswith("OBJECT_"):
            return _object_word(value)
    return "object"


def _object_word(kind: str) -> str:
    if kind in _RELATIONS:
        return "relation"
    return kind.removeprefix("OBJECT_").lower().replace("_", " ") or "object"
