"""recorder grep: find commands and events by their text."""

from __future__ import annotations

import argparse

from recorder.commands.filters import add_filters, answer
from recorder.commands.opening import add_json, complain
from recorder.index.wanted import Pattern
from recorder.render import Printer, one_line

_FOUND, _NONE, _TROUBLE = 0, 1, 2


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "grep",
        help="find commands and events by their text",
        description="Searches the text of commands, their parameters, rules and reasons, and "
        "events (not payload bytes; but of git-ssh, the text that a push or fetch showed: "
        "progress, messages, errors, reports). The pattern is an RE2 regular expression "
        "(linear time); it may be left out where --text, --verdict or --rule is given. "
        "Exit code 0: found, 1: nothing found, 2: trouble.",
    )
    parser.add_argument("pattern", metavar="PATTERN", nargs="?")
    parser.add_argument("-i", "--ignore-case", action="store_true")
    parser.add_argument("-F", "--fixed", action="store_true", help="a plain string, no pattern")
    parser.add_argument("-l", "--sessions", action="store_true", help="only the sessions' ids")
    add_filters(parser, patterns=False)
    add_json(parser)
    parser.set_defaults(do=run, pages=True)


def run(args: argparse.Namespace) -> int:
    """Search what the filters choose."""
    out = Printer()
    searched = None
    if args.pattern is not None:
        try:
            searched = Pattern(args.pattern, ignore_case=args.ignore_case, fixed=args.fixed)
        except ValueError as error:
            complain(str(error))
            return _TROUBLE
    elif args.text is None and args.verdict is None and args.rule is None:
        complain("name a PATTERN, or give --text, --verdict or --rule")
        return _TROUBLE
    try:
        answers = answer(args, searched)
    except FileNotFoundError as error:
        complain(str(error))
        return _TROUBLE
    code = _NONE
    if args.sessions:
        for line in answers.lines(args.limit):
            code = _FOUND
            out.line(line.session)
    else:
        for line, item in answers.items(args.limit):
            code = _FOUND
            if args.json:
                out.json("match", {"session": line.session, **item.as_dict()})
            else:
                out.line(f"{one_line(line.session)}  {item.at / 1e9:10.3f}  {item.shown()}")
    for session, why in answers.breaks.items():
        complain(f"{one_line(session)}: {one_line(why)}")
    return _TROUBLE if answers.breaks else code
