"""``gateway approvals``: see what waits for people, and decide it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime

from gateway.approval_store import approval_store, approvals_file
from gateway.approval_text import inert, refusal, render
from gateway.approvals import Approval, ApprovalError, Approvals, ApprovalState
from gateway.commands import CommandError, Run, add_config, guarded, read_config
from gateway.commands.proof import add_proof, prove
from gateway.identity.authority import Authority
from gateway.store import StoreError
from gateway.world import World


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "approvals",
        help="list, show, approve or deny held commands",
        description="Held commands wait here for people. An approval is bound to exactly what "
        "was asked for, counts once, and is never the requester's own.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="what waits (--all: everything), the newest first")
    add_config(listing)
    listing.add_argument("--all", action="store_true", help="decided ones too")
    listing.add_argument("--target", help="only for this target")
    listing.add_argument("--limit", type=int, default=50, metavar="N")
    listing.add_argument("--json", action="store_true", help="one object per line")
    listing.set_defaults(run=_guarded(_list))

    showing = actions.add_parser("show", help="all of one request, made safe for your terminal")
    add_config(showing)
    showing.add_argument("id", metavar="AP-N")
    showing.add_argument("--whole", action="store_true", help="however long it is")
    showing.add_argument("--json", action="store_true")
    showing.set_defaults(run=_guarded(_show))

    for name, verb in (("approve", "let it run, once"), ("deny", "refuse it")):
        deciding = actions.add_parser(name, help=verb, description=f"{verb.capitalize()}.")
        add_config(deciding)
        deciding.add_argument("id", metavar="AP-N")
        deciding.add_argument("--reason", "-m", default="", help="why; goes on record")
        deciding.add_argument(
            "--read-whole", action="store_true", help="print all of a long request first"
        )
        add_proof(deciding)
        deciding.set_defaults(run=_guarded(_decide), approve=name == "approve")


def _guarded(run: Run) -> Run:
    def told(arguments: argparse.Namespace) -> int:
        try:
            code = run(arguments)
        except ApprovalError as error:
            print(f"gateway: {error}", file=sys.stderr)
            return 3
        except StoreError as error:
            print(f"gateway: the approvals can't be read: {error}", file=sys.stderr)
            return 1
        return code

    return guarded(told)


def _open(arguments: argparse.Namespace) -> Approvals:
    config = read_config(arguments.config)
    path = approvals_file(config)
    if not config.store.index and not path.exists():
        raise CommandError(f"nothing was ever held here ({path} does not exist)")
    if config.store.index and path.exists():
        # What was decided is never rewritten, so it is not copied into another store either.
        told = "approvals from before the store was shared are not in it: they stay in"
        print(f"gateway: {told} {path}", file=sys.stderr)
    return Approvals(approval_store(config, time.time))


def _list(arguments: argparse.Namespace) -> int:
    approvals = _open(arguments)
    state = None if arguments.all else ApprovalState.PENDING
    found = approvals.list(state=state, target=arguments.target, limit=arguments.limit)
    if arguments.json:
        for approval in found:
            print(json.dumps(as_dict(approval)))
        return 0
    if not found:
        print("nothing waits for approval" if state else "no approvals", file=sys.stderr)
    for approval in found:
        print(_row(approval))
    return 0


def _row(approval: Approval) -> str:
    request = approval.request
    words = inert(request.text)
    shown = words if len(words) <= 60 else words[:59] + "…"
    left = approval.expires - time.time()
    when = f"{left / 60:.0f} min left" if approval.state is ApprovalState.PENDING else ""
    return (
        f"{approval.id:8} {approval.state.value:9} {inert(request.target):14} "
        f"{inert(request.subject):20} {shown}  {when}".rstrip()
    )


def _show(arguments: argparse.Namespace) -> int:
    approval = _open(arguments).get(arguments.id)
    if arguments.json:
        print(json.dumps(as_dict(approval)))
        return 0
    card = render(approval, whole=arguments.whole)
    print(card.text, end="")
    if not card.whole:
        print("see all of it: --whole", file=sys.stderr)
    return 0


def _decide(arguments: argparse.Namespace) -> int:
    config = read_config(arguments.config)
    approvals = _open(arguments)
    approval = approvals.get(arguments.id)
    why_not = refusal(approval, arguments.read_whole)
    if arguments.approve and why_not:
        raise CommandError(f"{why_not} (--read-whole prints it)", 3)
    if arguments.read_whole:
        print(render(approval, whole=True).text, end="")
    approver = prove(Authority(config, World()), arguments)
    decided = approvals.decide(approval.id, approver, arguments.approve, arguments.reason)
    said = "approved" if arguments.approve else "denied"
    more = "; it needs more people" if decided.state is ApprovalState.PENDING else ""
    print(f"{decided.id} {said} by {inert(approver.subject)}{more}")
    return 0


def as_dict(approval: Approval) -> dict[str, object]:
    """One approval as JSON carries it; ``schema`` names the shape."""
    request = approval.request
    return {
        "schema": "wirewarden.approval/1",
        "id": approval.id,
        "state": approval.state.value,
        "target": request.target,
        "protocol": request.protocol,
        "subject": request.subject,
        "issuer": request.issuer,
        "run": request.run,
        "session": request.session,
        "rules": list(request.rules),
        "reason": request.reason,
        "text": request.text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        "parameters": [
            None if p.value is None else p.value.decode("utf-8", "backslashreplace")
            for p in request.parameters
        ],
        "needs": [
            {"rule": n.rule, "groups": list(n.groups), "count": n.count} for n in request.needs
        ],
        "digest": request.digest,
        "policy": request.policy,
        "created": _time(approval.created),
        "expires": _time(approval.expires),
        "why": approval.why,
        "decisions": [
            {
                "subject": d.subject,
                "issuer": d.issuer,
                "approve": d.approve,
                "reason": d.reason,
                "at": _time(d.at),
            }
            for d in approval.decisions
        ],
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
