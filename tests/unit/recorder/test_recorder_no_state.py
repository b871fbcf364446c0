"""Where there is no state directory, "nothing found" would be no answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.cli import main


@pytest.mark.parametrize(
    ("command", "code"), [(["list"], 1), (["grep", "x"], 2), (["verify", "--all"], 1)]
)
def test_a_state_directory_that_is_not_there(
    command: list[str], code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dir", str(tmp_path / "none"), *command]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert "no state directory" in err
    assert "--dir or WIREWARDEN_STATE" in err
    (tmp_path / "none").mkdir()
    assert main(["--dir", str(tmp_path / "none"), *command]) < 2
