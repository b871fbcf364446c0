"""A libFuzzer binary: ``fuzz_forever.py TARGET [libFuzzer's options]``. Needs atheris."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["recorder", "protocols"]):
    import fuzz_targets


def main() -> None:
    name, *options = sys.argv[1:]
    target = fuzz_targets.TARGETS[name]
    corpus = fuzz_targets.HOME / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
