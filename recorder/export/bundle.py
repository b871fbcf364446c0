"""A recording with everything that is needed to check it elsewhere, as a tar file.

The same session gives the same bytes: names, order, modes and times are fixed.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from typing import IO, Protocol

_README = """\
One recorded session of a Wirewarden gateway: {session}

{logs}
{proof}    commands.ndjson                    its commands as OCSF events (derived: no evidence)
    SHA256SUMS                         of these files: against accidents, not against forgers

Check it with the gateway's root public key (ROOT.pub), which must reach you another way:

    recorder verify{trust} {log}
{second}
Look at it:

    recorder play {log}
    recorder events {log}
"""
_PROOF = "    {session}.proof   its leaves of the ledger, a signed checkpoint, the chain of keys\n"
_SECOND = """
or with the second verifier, which shares no code with the recorder:

    python independent_verifier.py ROOT.pub {log} {session}.proof
"""


class Source(Protocol):
    """A file that may not be there."""

    def is_file(self) -> bool: ...

    def read_bytes(self) -> bytes: ...


def bundle(  # noqa: PLR0917
    out: IO[bytes],
    session: str,
    logs: Mapping[str, int],
    proof: bytes | None,
    events: bytes,
    second: Source,
    when: int,
) -> None:
    """Write the tar file. ``logs``: names and descriptors of the Log's files, its first part
    first. ``proof`` None: the ledger has none. ``when``: Unix seconds."""
    log = next(iter(logs))
    made = {"commands.ndjson": events}
    if proof is not None:
        made[f"{session}.proof"] = proof
        if second.is_file():
            made["independent_verifier.py"] = second.read_bytes()
    about = "the Log, as it lies in the gateway's state directory"
    every = log if len(logs) == 1 else f"{log} {session}.p*.agr"
    listed = [f"    {name:33}  {'and its further parts' if n else about}"
              for n, name in enumerate(logs)]  # fmt: skip
    made["README.txt"] = _README.format(
        session=session,
        log=log,
        logs="\n".join(listed),
        proof=_PROOF.format(session=session) if proof is not None else "",
        trust=f" --trust ROOT.pub --proof {session}.proof" if proof is not None else "",
        second=_SECOND.format(session=session, log=every)
        if "independent_verifier.py" in made
        else "",
    ).encode()
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    for name, descriptor in logs.items():
        with open(descriptor, "rb", closefd=False) as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    made["SHA256SUMS"] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    # As a stream: parts of a long session are not to be in memory, nor OUT to be sought in.
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted({*made, *logs}):
            info = tarfile.TarInfo(f"{session}/{name}")
            info.mode, info.mtime = 0o644, when
            if name in made:
                info.size = len(made[name])
                tar.addfile(info, io.BytesIO(made[name]))
                continue
            os.lseek(logs[name], 0, os.SEEK_SET)
            info.size = os.fstat(logs[name]).st_size
            with open(logs[name], "rb", closefd=False) as file:
                tar.addfile(info, file)
