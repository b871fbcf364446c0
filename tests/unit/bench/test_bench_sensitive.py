"""The generated values are what the detectors look for, and the filler isn't."""

from __future__ import annotations

import pytest

from bench.scenarios.masking import values
from bench.sensitive import FORMS, mixed
from gateway.policy.detectors import DETECTORS, SEPARATOR, screen


def test_there_is_a_form_of_every_kind() -> None:
    assert set(FORMS) == DETECTORS


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_nearly_every_value_of_a_kind_is_found(kind: str) -> None:
    data = SEPARATOR.join(FORMS[kind](n) for n in range(200)) + SEPARATOR
    assert len(screen([kind]).spans(data)) >= 190


def test_the_filler_has_none() -> None:
    assert not screen(DETECTORS).spans(values(0, mixed))
