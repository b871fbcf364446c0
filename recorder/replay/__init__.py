"""Recorded sessions against live peers: pure machines, whose bytes come and go through
their callers."""
