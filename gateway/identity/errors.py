"""A proof that was refused."""

from __future__ import annotations


class Refused(Exception):
    """``reason`` is for the log; ``public`` is for the client and tells
    nothing that would help a forger. Neither quotes the evidence."""

    def __init__(self, reason: str, public: str = "the credential was not accepted") -> None:
        super().__init__(reason)
        self.reason = reason
        self.public = public
