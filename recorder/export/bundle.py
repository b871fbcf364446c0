"""A recording with everything that is needed to check it elsewhere, as a tar file.

The same session gives the same bytes: names, order, modes and times are fixed.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Protocol

_README = """\
One recorded session of a Wirewarden gateway: {session}

    {session}.agr     the Log, as it lies in the gateway's state directory
{proof}    commands.ndjson                    its commands as OCSF events (derived: no evidence)
    SHA256SUMS                         of these files: against accidents, not against forgers

Check it with the gateway's root public key (ROOT.pub), which must reach you another way:

    recorder verify{trust} {session}.agr
{second}
Look at it:

    recorder play {session}.agr
    recorder events {session}.agr
"""
_PROOF = "    {session}.proof   its leaves of the ledger, a signed checkpoint, the chain of keys\n"
_SECOND = """
or with the second verifier, which shares no code with the recorder:

    python independent_verifier.py ROOT.pub {session}.agr {session}.proof
"""


class Source(Protocol):
    """A file that may not be there."""

    def is_file(self) -> bool: ...

    def read_bytes(self) -> bytes: ...


def bundle(  # noqa: PLR0917
    session: str, log: bytes, proof: bytes | None, events: bytes, second: Source, when: int
) -> bytes:
    """The tar file. ``proof`` None: the ledger has none. ``when``: Unix seconds."""
    parts = {f"{session}.agr": log, "commands.ndjson": events}
    if proof is not None:
        parts[f"{session}.proof"] = proof
        if second.is_file():
            parts["independent_verifier.py"] = second.read_bytes()
    parts["README.txt"] = _README.format(
        session=session,
        proof=_PROOF.format(session=session) if proof is not None else "",
        trust=f" --trust ROOT.pub --proof {session}.proof" if proof is not None else "",
        second=_SECOND.format(session=session) if "independent_verifier.py" in parts else "",
    ).encode()
    sums = "".join(f"{hashlib.sha256(parts[n]).hexdigest()}  {n}\n" for n in sorted(parts))
    parts["SHA256SUMS"] = sums.encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(parts):
            about = tarfile.TarInfo(f"{session}/{name}")
            about.size, about.mode, about.mtime = len(parts[name]), 0o644, when
            tar.addfile(about, io.BytesIO(parts[name]))
    return out.getvalue()
