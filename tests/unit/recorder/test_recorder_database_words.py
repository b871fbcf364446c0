"""What is said of a database that can't be used: never its password."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("psycopg")

from gateway.approval_postgres import SharedApprovalStore
from gateway.store import StoreError
from recorder.index.answer import shared
from recorder.index.database import DatabaseTrouble
from recorder.shared_lines import SharedLinesError, shared_lines

MALFORMED = [
    "postgresql://u:sekret@[::1/db",
    "postgresql://u:sek%rsekret@127.0.0.1/db",
    "postgresql://u:sekret@127.0.0.1/db?sekret=x",
    "postgresql://u:sekret@127.0.0.1:x/db",
    "postgresql://u:sekret@127.0.0.1:1/db",
]


@pytest.mark.parametrize("url", MALFORMED)
def test_no_password_in_errors(url: str, tmp_path: Path) -> None:
    said = []
    with pytest.raises(DatabaseTrouble) as index:
        shared(url, tmp_path)
    said.append(str(index.value))
    with pytest.raises(SharedLinesError) as lines:
        shared_lines(url)
    said.append(str(lines.value))
    with pytest.raises(StoreError) as approvals:
        SharedApprovalStore(url).now()
    said.append(str(approvals.value))
    assert all(said)
    assert "sek" not in "".join(said)
