"""Which settings change what later statements mean or may do.

The wire floor relies on two of them: the conversation must start a session
with ``standard_conforming_strings = on`` and ``client_encoding = UTF8`` and let
no statement change them, for the text is parsed here under those two.  Setting
them to those values is no change.

Which way it errs: a setting that is not listed as mild is a CONTROL effect.
"""

from __future__ import annotations

from protocols.contract import EffectKind
from protocols.sql.findings import Findings
from protocols.sql.nodes import listed

MILD = frozenset(
    listed("""
application_name array_nulls bytea_output check_function_bodies client_min_messages
cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost cursor_tuple_fraction datestyle
deadlock_timeout default_statistics_target default_table_access_method default_tablespace
default_text_search_config default_toast_compression default_transaction_deferrable
default_transaction_isolation effective_cache_size effective_io_concurrency
escape_string_warning extra_float_digits force_parallel_mode from_collapse_limit geqo
gin_fuzzy_search_limit gin_pending_list_limit hash_mem_multiplier
idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit join_collapse_limit
lc_messages lc_monetary lc_numeric
lc_time lock_timeout logical_decoding_work_mem maintenance_io_concurrency maintenance_work_mem
max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather
parallel_leader_participation parallel_setup_cost parallel_tuple_cost plan_cache_mode
quote_all_identifiers random_page_cost recursive_worktable_factor seq_page_cost
statement_timeout stats_fetch_consistency synchronize_seqscans temp_buffers temp_tablespaces
timezone timezone_abbreviations transaction_deferrable transaction_isolation
transaction_timeout vacuum_cost_delay work_mem xmlbinary xmloption
""")
)

_HARMLESS_VALUES: dict[str, frozenset[str]] = {
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1"}),
    "client_encoding": frozenset({"utf8", "utf-8", "unicode"}),
    "backslash_quote": frozenset({"off", "safe_encoding", "false", "no", "0"}),
    "transaction_read_only": frozenset({"on", "true", "yes", "1"}),
    "default_transaction_read_only": frozenset({"on", "true", "yes", "1"}),
    "row_security": frozenset({"on", "true", "yes", "1"}),
    # What pg_dump sets: it forbids more.
    "restrict_nonsystem_relation_kind": frozenset({"view, foreign-table"}),
    # Nothing but pg_catalog is searched: no name can be shadowed.
    "search_path": frozenset({"", "pg_catalog"}),
}


def is_mild(name: str, value: str | None) -> bool:
    """Whether setting ``name`` (lower case) to ``value`` (None: unknown)
    leaves the meaning of later statements as it is."""
    if name in MILD or name.startswith(("enable_", "geqo_", "jit_")):
        return True
    return value is not None and value.lower() in _HARMLESS_VALUES.get(name, ())


def change(found: Findings, name: str, value: str | None) -> None:
    """Write down that a setting changes; ``*`` is all or an unknown one."""
    found.sets[name] = None
    if not is_mild(name, value):
        found.effect(EffectKind.CONTROL, name, "setting")


LEXER = ("client_encoding", "standard_conforming_strings")
"""What the text is parsed under."""


def change_some(found: Findings) -> None:
    """A setting changes whose name is not known: any, the lexer's too."""
    for name in ("*", *LEXER):
        change(found, name, None)
