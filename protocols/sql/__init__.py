"""PostgreSQL text to what it does, with PostgreSQL's own parser."""

from protocols.sql.adjust import distrust, resolve, trust
from protocols.sql.analyse import analyse
from protocols.sql.trace import trace_view
from protocols.sql.words import (
    ACTIONS,
    FACTS,
    Analysis,
    CopyShape,
    Output,
    Prepared,
    Statement,
)

__all__ = [
    "ACTIONS",
    "FACTS",
    "Analysis",
    "CopyShape",
    "Output",
    "Prepared",
    "Statement",
    "analyse",
    "distrust",
    "resolve",
    "trace_view",
    "trust",
]
