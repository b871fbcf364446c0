"""``[evidence]`` of ``gateway.toml``: what vouches for recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config_table import Table
from recorder.evidence.notes import COSIGNATURE, NoteError, parse_verifier_key


@dataclass(frozen=True, slots=True)
class EvidenceConfig:
    """``enabled``: keep the ledger. ``required``: serve nobody while it can't
    be written. ``heartbeat``: seconds until an idle ledger says so. ``epoch``:
    seconds that a key signs. ``witness`` cosigns checkpoints (its key is
    ``witness_key``), ``tsa`` gives RFC 3161 tokens for them (``tsa_ca``: whose
    certificates are believed), each at most every ``anchor`` seconds; "" and
    None: not asked."""

    enabled: bool = True
    required: bool = False
    heartbeat: float = 60.0
    epoch: float = 3600.0
    witness: str = ""
    witness_key: str = ""
    tsa: str = ""
    tsa_ca: Path | None = None
    anchor: float = 60.0


def read_evidence(table: Table) -> EvidenceConfig:
    """Strictly, as every table."""
    plain = EvidenceConfig()
    evidence = EvidenceConfig(
        enabled=_flag(table, "enabled", plain.enabled),
        required=_flag(table, "required", plain.required),
        heartbeat=table.duration("heartbeat", plain.heartbeat),
        epoch=table.duration("epoch", plain.epoch),
        witness=_url(table, "witness"),
        witness_key=table.text("witness_key"),
        tsa=_url(table, "tsa"),
        tsa_ca=table.path("tsa_ca"),
        anchor=table.duration("anchor", plain.anchor),
    )
    if evidence.witness and not evidence.witness_key:
        table.error("witness_key", "is missing: the witness's answers could not be checked")
    if evidence.witness_key:
        try:
            if parse_verifier_key(evidence.witness_key)[1] != COSIGNATURE:
                table.error("witness_key", "is not a key for cosignatures")
        except NoteError as error:
            table.error("witness_key", f"can't be used: {error}")
    if evidence.tsa and evidence.tsa_ca is None:
        table.error("tsa_ca", "is missing: the authority's time stamps could not be checked")
    for key in ("heartbeat", "epoch", "anchor"):
        if getattr(evidence, key) < 1:
            table.error(key, "must be 1s or more")
    if evidence.required and not evidence.enabled:
        table.error("required", "is true, but enabled is false")
    table.finish()
    return evidence


def _flag(table: Table, key: str, default: bool) -> bool:
    value = table.raw(key) if table.has(key) else default
    if not isinstance(value, bool):
        table.error(key, "must be true or false")
        return default
    return value


def _url(table: Table, key: str) -> str:
    text = table.text(key)
    if text:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            table.error(key, "must be an http or https URL without a user in it")
    return text
