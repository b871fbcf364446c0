"""What fuzzing found, each as the input that showed it."""

from __future__ import annotations

import base64
import json

import pytest
from fuzz_targets import CERTIFICATE, SEEDS, WORLD, log_end

from recorder import records
from recorder.evidence.leaves import DOMAIN
from recorder.evidence.proof import check_proof
from recorder.evidence.tokens import TokenError, check_response


@pytest.mark.parametrize("epoch", [1, 8, 0xFFFFFFFF])
def test_a_leaf_of_an_epoch_that_is_not_there(epoch: int) -> None:
    """An IndexError."""
    said = json.loads(WORLD.proof)
    raw = bytearray(base64.b64decode(said["leaves"][0]["leaf"]))
    at = len(DOMAIN) + 1
    assert raw[at : at + 4] == bytes(4)
    raw[at : at + 4] = epoch.to_bytes(4, "little")
    said["leaves"][0]["leaf"] = base64.b64encode(raw).decode()
    verdict = check_proof(WORLD.log, json.dumps(said).encode(), WORLD.trust)
    assert verdict.status == "TAMPERED"
    assert "epoch" in verdict.message


@pytest.mark.parametrize("number", [-1, 1 << 70, 10**400])
def test_indexes_that_no_tree_has(number: int) -> None:
    said = json.loads(WORLD.proof)
    for key in ("index", "size"):
        wrong = json.loads(json.dumps(said))
        wrong["leaves"][0][key] = number
        verdict = check_proof(WORLD.log, json.dumps(wrong).encode(), WORLD.trust)
        assert verdict.status == "TAMPERED"


@pytest.mark.parametrize("wrong", [{}, "4", 1.5, None, [1]])
def test_counts_of_verdicts_that_are_none(wrong: object) -> None:
    """A TypeError in ``recorder list``."""
    end = records.unpack(WORLD.ends[0])
    end[6] = {**end[6], "verdicts": [1, 2, 3, wrong]}
    log_end(records.packer().pack(end))


def test_a_certificate_of_no_version_in_a_token() -> None:
    """InvalidVersion, which is no ValueError."""
    raw = bytearray((SEEDS / "token.tsr").read_bytes())
    at = raw.index(bytes.fromhex("a003020102"))
    raw[at + 4] = 66
    with pytest.raises(TokenError, match="InvalidVersion"):
        check_response(bytes(raw), b"what was stamped", CERTIFICATE)
