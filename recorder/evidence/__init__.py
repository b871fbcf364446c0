"""Evidence: one append-only, signed log of what was recorded (the *ledger*),
so that a Log that was altered, cut, replaced or removed can be shown to be."""
