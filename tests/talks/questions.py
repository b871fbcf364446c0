"""Questions and answers in the words of a talk."""

from __future__ import annotations

from typing import Any

import tokens

from protocols.contract import (
    Allow,
    Answer,
    Cancel,
    Challenge,
    Command,
    Credential,
    Destination,
    Destined,
    Done,
    Errand,
    Mask,
    Offer,
    Plan,
    Proof,
    Proven,
    Question,
    Refuse,
    Remark,
    Result,
    Upgrade,
    Upgraded,
)


def describe(question: Question) -> str:
    """One line: the kind, and what tells the question from others."""
    q = tokens.quote
    if isinstance(question, Command):
        actions = ",".join(part.action for part in question.parts)
        values = " ".join("NULL" if p.value is None else q(p.value) for p in question.parameters)
        line = f"Command {question.phase.value} {actions or '-'} {q(question.text.encode())}"
        return f"{line} {values}".rstrip()
    if isinstance(question, Proof):
        how = "scram" if question.scram else ""
        how = how or (f"key {q(question.key)}" if question.key else "")
        how = how or (q(question.secret) if question.secret is not None else "claim")
        return f"Proof {question.claimed} {how}"
    if isinstance(question, Destination):
        return f"Destination {q(question.requested.encode())}"
    if isinstance(question, Challenge):
        return f"Challenge {question.method}"
    if isinstance(question, Upgrade):
        return f"Upgrade {question.side.name.lower()}"
    if isinstance(question, Result):
        return "Result " + " ".join(column.name for column in question.columns)
    if isinstance(question, Errand):
        return "Errand"
    if isinstance(question, Remark):
        told = " ".join(f"{key}={value}" for key, value in question.fields.items())
        return f"Remark {question.kind} {q(told.encode())}"
    assert isinstance(question, Cancel)
    return f"Cancel {q(question.key)}"


def answer(words: list[str], question: Question, codec: Any) -> Answer:
    """``words`` as an answer to ``question``."""
    kind, *rest = words
    values = [tokens.value(word).decode() for word in rest]
    if kind == "Allow":
        return Allow(masked=rest == ["masked"])
    if kind == "Refuse":
        rule, reason, *more = values
        return Refuse(reason, "" if rule == "-" else rule, *more)
    if kind == "Plan":
        return Plan(tuple(None if w == "-" else MASKS[w] for w in rest))
    if kind == "Destined":
        given = {"user": "svc", "database": "", "tls": "disable", "auth": "none"}
        given |= dict(value.split("=", 1) for value in values)
        return Destined(
            given["user"],
            given["database"],
            given["tls"],
            codec.cancel_key,
            {"auth": tuple(given["auth"].split(","))},
            masked=given.get("masked") == "yes",
        )
    simple: dict[str, Answer] = {
        "Offer": Offer(),
        "Upgraded": Upgraded(alpn=values[0] if values else ""),
        "Done": Done(None, values[0] if values else ""),
    }
    if kind in simple:
        return simple[kind]
    if kind == "Proven":
        return Proven(values[0])
    if kind == "Credential":
        codec.credential = tokens.value(rest[0])
        return Credential(codec.credential)
    if kind == "OfferScram":
        return Offer(codec.verifier(tokens.value(rest[0])))
    raise ValueError(f"no such answer: {kind}")


MASKS = {
    "stars": Mask("stars", lambda value: b"*" * len(value), "mask-stars"),
    "null": Mask("null", lambda value: None, "mask-null"),
}
