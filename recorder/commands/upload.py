"""recorder upload: copies of Logs in an object store."""

from __future__ import annotations

import argparse

from recorder import recordings
from recorder.commands.opening import DAMAGED, ERROR, OK, USAGE, complain
from recorder.index.answer import home_of, opened
from recorder.index.upkeep import day_folders
from recorder.recordings import RecordingsError, recordings_store
from recorder.render import Printer, amount
from recorder.state import LOG_SUFFIX, sessions_directory
from recorder.verify import CORRUPT, TAMPERED, verify_file


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "upload",
        help="copy finished Logs to an object store, and new ones into the index",
        description=f"Copies every finished Log that is not there yet to {recordings.URL} "
        "(s3://bucket/prefix), reads it back and compares. First it sees that the store refuses to "
        "write over an object. Local copies stay. Run it from a timer: with a shared index it "
        "also takes in what is new.",
    )
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Copy what is new; exit code 4 if a Log that does not verify was left out."""
    code, count, size = OK, 0, 0
    if not args.dir.is_dir():
        complain(f"no such directory: {args.dir}")
        return ERROR
    index = opened(args.dir, complain)
    if index is not None:
        index.database.close()
    try:
        store = recordings_store()
        if store is None:
            complain(f"{recordings.URL} names no store")
            return USAGE
        store.probe()
        home = home_of(args.dir)
        root = sessions_directory(args.dir)
        for folder in day_folders(root):
            prefix = f"{home}/{folder.relative_to(args.dir).as_posix()}"
            there = store.names(prefix)
            for path in sorted(folder.glob(f"[!.]*{LOG_SUFFIX}")):
                key = f"{prefix}/{path.name}"
                if there.get(key) == path.stat().st_size:
                    continue
                if verify_file(path).status in (CORRUPT, TAMPERED):
                    complain(f"{path.name} does not verify, and is not copied")
                    code = DAMAGED
                    continue
                count += store.upload(path, key)
                size += path.stat().st_size
    except RecordingsError as error:
        complain(str(error))
        code = ERROR
    Printer().line(f"copied {count} Logs, {amount(size)}")
    return code
