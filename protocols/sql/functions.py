"""What a function call does, by the function's name.

A bare name means PostgreSQL's own function as long as nothing in the search
path shadows it: an overload for more exact argument types wins over
``pg_catalog``'s.  The conversation can learn from the server's catalog which
names are taken elsewhere and pass them to ``distrust``.
"""

from __future__ import annotations

from protocols.contract import EffectKind
from protocols.sql.findings import Findings, not_known
from protocols.sql.harmless import HARMLESS, HARMLESS_SCHEMA
from protocols.sql.nodes import Json, listed, one, text_of
from protocols.sql.settings import change, change_some

ROW_FUNCTIONS = frozenset(
    listed("""
to_json to_jsonb row_to_json json_agg jsonb_agg json_agg_strict jsonb_agg_strict array_agg any_value
quote_literal quote_nullable json_build_array jsonb_build_array concat record_out record_send
array_append max min hash_record
""")
)
"""Functions of one argument that take a whole row: ``u.row_to_json`` is a call."""

_RUNS_TEXT = frozenset(
    listed("""
query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema
schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema database_to_xml
database_to_xmlschema database_to_xml_and_xmlschema ts_stat ts_rewrite
dblink dblink_exec dblink_connect dblink_connect_u dblink_open dblink_send_query dblink_fetch
xpath_table crosstab crosstab2 crosstab3 crosstab4 connectby
""")
)

_TABLE_TEXT = frozenset(listed("table_to_xml table_to_xmlschema table_to_xml_and_xmlschema"))

_SEQUENCES = {
    "nextval": EffectKind.WRITE,
    "setval": EffectKind.WRITE,
    "currval": EffectKind.READ,
    "lastval": EffectKind.READ,
    "pg_sequence_last_value": EffectKind.READ,
    "pg_get_sequence_data": EffectKind.READ,
}

_FILES = {
    "pg_read_file": EffectKind.READ,
    "pg_read_file_old": EffectKind.READ,
    "pg_read_binary_file": EffectKind.READ,
    "pg_stat_file": EffectKind.READ,
    "pg_ls_dir": EffectKind.READ,
    "pg_file_write": EffectKind.WRITE,
    "pg_file_rename": EffectKind.WRITE,
    "pg_file_unlink": EffectKind.DESTROY,
    "pg_hba_file_rules": EffectKind.READ,
    "pg_ident_file_mappings": EffectKind.READ,
    "pg_show_all_file_settings": EffectKind.READ,
    "pg_current_logfile": EffectKind.READ,
    "lo_import": EffectKind.READ,
    "lo_export": EffectKind.WRITE,
}

_LARGE_OBJECTS = {
    "lo_get": EffectKind.READ,
    "loread": EffectKind.READ,
    "lo_open": EffectKind.READ,
    "lo_close": EffectKind.READ,
    "lo_lseek": EffectKind.READ,
    "lo_lseek64": EffectKind.READ,
    "lo_tell": EffectKind.READ,
    "lo_tell64": EffectKind.READ,
    "lo_creat": EffectKind.WRITE,
    "lo_create": EffectKind.WRITE,
    "lo_from_bytea": EffectKind.WRITE,
    "lo_put": EffectKind.WRITE,
    "lowrite": EffectKind.WRITE,
    "lo_truncate": EffectKind.WRITE,
    "lo_truncate64": EffectKind.WRITE,
    "lo_import": EffectKind.WRITE,
    "lo_export": EffectKind.READ,
    "lo_unlink": EffectKind.DESTROY,
}

_CONTROL = frozenset(
    listed("""
brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list
pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_backup_start
pg_backup_stop pg_cancel_backend pg_clear_attribute_stats pg_clear_relation_stats
pg_copy_logical_replication_slot pg_copy_physical_replication_slot
pg_create_logical_replication_slot pg_create_physical_replication_slot pg_create_restore_point
pg_drop_replication_slot pg_export_snapshot pg_import_system_collations
pg_log_backend_memory_contexts pg_log_standby_snapshot pg_logical_emit_message
pg_logical_slot_get_binary_changes pg_logical_slot_get_changes pg_logical_slot_peek_binary_changes
pg_logical_slot_peek_changes pg_ls_archive_statusdir pg_ls_logdir pg_ls_logicalmapdir
pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir pg_nextoid
pg_notify pg_promote pg_reload_conf pg_replication_origin_advance pg_replication_origin_create
pg_replication_origin_drop pg_replication_origin_progress pg_replication_origin_session_is_setup
pg_replication_origin_session_progress pg_replication_origin_session_reset
pg_replication_origin_session_setup pg_replication_origin_xact_reset
pg_replication_origin_xact_setup pg_replication_slot_advance pg_restore_attribute_stats
pg_restore_relation_stats pg_rotate_logfile pg_rotate_logfile_old pg_sleep pg_sleep_for
pg_sleep_until pg_stat_force_next_flush pg_stat_reset pg_stat_reset_backend_stats
pg_stat_reset_replication_slot pg_stat_reset_shared pg_stat_reset_single_function_counters
pg_stat_reset_single_table_counters pg_stat_reset_slru pg_stat_reset_subscription_stats
pg_switch_wal pg_sync_replication_slots pg_terminate_backend pg_try_advisory_lock
pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
pg_wal_replay_pause pg_wal_replay_resume
""")
)

_LOOKS = {
    "pg_stat_get_activity": "pg_catalog.pg_stat_activity",
    "pg_stat_get_backend_activity": "pg_catalog.pg_stat_activity",
}


def call(found: Findings, names: tuple[str, ...], args: list[Json]) -> None:
    """Write down a call of the function ``names`` (schema, name)."""
    name = names[-1] if names else ""
    schema = names[-2] if len(names) > 1 else ""
    if schema and schema != "pg_catalog":
        whole = f"{schema}.{name}"
        found.functions[whole] = None
        if whole not in HARMLESS_SCHEMA:
            if name in _RUNS_TEXT:
                found.effect(EffectKind.CONTROL, whole, "function")
            _unknown(found, whole)
        return
    found.functions[name] = None
    if schema:
        found.functions[f"pg_catalog.{name}"] = None
    if name in HARMLESS:
        return
    first = text_of(args[0]) if args else None
    known = False
    if name in _SEQUENCES:
        found.effect(_SEQUENCES[name], first or "", "sequence")
        known = True
    if name in _FILES:
        path = text_of(args[1]) if name == "lo_export" and len(args) > 1 else first
        found.effect(_FILES[name], path or "", "file")
        found.effect(EffectKind.CONTROL, name, "function")
        known = True
    if name in _LARGE_OBJECTS:
        new = name in ("lo_creat", "lo_create", "lo_from_bytea", "lo_import")
        found.effect(_LARGE_OBJECTS[name], "" if new else first or "", "large object")
        if name == "lo_open":  # the mode may ask for writing
            found.effect(EffectKind.WRITE, first or "", "large object")
        known = True
    if name == "set_config":
        _set_config(found, args)
        known = True
    if name in _TABLE_TEXT and first is not None:
        found.read(first)
        found.columns[f"{first}.*"] = None
        known = True
    if name in _LOOKS:
        found.read(_LOOKS[name])
        known = True
    if name in _CONTROL:
        found.effect(EffectKind.CONTROL, name, "function")
        known = True
    if name in _RUNS_TEXT or (name in _TABLE_TEXT and first is None):
        found.effect(EffectKind.CONTROL, name, "function")
        found.dynamic = True
        found.unknown(f"function {name} runs text that is not judged here")
    elif not known:
        _unknown(found, name)


def _given(wrapped: Json) -> bool:
    """Whether a value is what the client itself sent."""
    kind, node = one(wrapped)
    while kind == "TypeCast":
        kind, node = one(node.get("arg", {}))
    return kind in ("A_Const", "ParamRef")


def _unknown(found: Findings, name: str) -> None:
    found.dynamic = True
    found.unknown(not_known(name))


def _set_config(found: Findings, args: list[Json]) -> None:
    name = text_of(args[0]) if args else None
    value = text_of(args[1]) if len(args) > 1 else None
    if name is None:
        change_some(found)
        found.unknown("set_config changes a setting whose name is not a constant")
        return
    change(found, name.lower(), value)
    if len(args) > 1 and value is None and not _given(args[1]):
        # A value taken from a table could be read back unmasked later.
        found.unknown("set_config keeps a value that is not a constant")
