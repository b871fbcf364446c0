"""The page: what is asked first stands first."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bench.page import plots
from bench.page.section import anchor, ratio_of, section, sign
from bench.page.style import COLOURS, css
from bench.page.svg import tag

Found = Mapping[str, Any]
READING = (
    "Contenders take turns, round after round, and the first round is dropped. A mark is the "
    "median over the rounds, the pale bar their spread from lowest to highest. A ratio compares "
    "what ran in the same round, so that what drifts cancels out: believe ratios before "
    "absolute numbers. Client, server and contender share this machine's cores."
)
SHOWN_WARNINGS = 3
ABOUT = {
    "direct": "no gateway",
    "bare relay": "bytes only, same runtime as the gateway",
    "haproxy": "TCP",
    "pgbouncer": "session pooling",
    "proxyjump": "ssh -J",
    "gateway os": "policy, masks, recording: the product as it comes",
    "gateway disk": "recorded on disk before bytes move",
    "gateway no masks": "policy without rules that mask",
    "gateway unrecorded": "bench only: records are thrown away",
}


def page(document: Found) -> str:
    """A self-contained HTML page that is well-formed XML as well: no scripts,
    nothing from elsewhere."""
    scenarios = document["scenarios"]
    body = [
        _head(document),
        _targets(document),
        _overview(scenarios),
        *(section(scenario) for scenario in scenarios),
        _machine(document),
    ]
    head = tag(
        "head",
        '<meta charset="utf-8"/>',
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", escape(_title(document))),
        f"<style>{css()}</style>",
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', tag('main', *body)), lang='en')}\n"


def _title(document: Found) -> str:
    return f"Wirewarden bench, {document['machine'].get('date', '')}"


def _head(document: Found) -> str:
    facts, settings = document["machine"], document["settings"]
    told = [
        facts.get("date", ""),
        f"{facts.get('cores', '?')} cores {facts.get('processor', '')}",
        f"Linux {facts.get('kernel', '?')}",
        str(facts.get("gateway", "")),
        f"commit {facts['commit']}" if facts.get("commit") else "",
    ]
    failures = [each for s in document["scenarios"] for each in s.get("failures", [])]
    checks = [check for s in document["scenarios"] for check in s["checks"]]
    chips = [
        tag(
            "span",
            f"{len(failures)} thing{'s' * (len(failures) > 1)} went wrong",
            class_="chip bad",
        )
        if failures
        else tag("span", f"all work verified ({len(checks)} checks)", class_="chip good")
    ]
    if document.get("interrupted"):
        chips.append(tag("span", "interrupted: not all of it ran", class_="chip warn"))
    if settings.get("smoke"):
        chips.append(tag("span", "a smoke test: its figures say nothing", class_="chip warn"))
    if document["warnings"]:
        chips.append(tag("span", "noisy machine", class_="chip warn"))
    targets = document.get("targets", [])
    if targets:
        met = sum(target["met"] for target in targets)
        chips.append(tag("a", f"{met} of {len(targets)} targets met", href="#targets",
                         class_="chip plain"))  # fmt: skip
    missing = sorted({name for s in document["scenarios"] for name in s.get("skipped", {})})
    if missing:
        chips.append(tag("span", f"not run: {escape(', '.join(missing))}", class_="chip plain"))
    parts = [
        tag("h1", "What Wirewarden costs on this machine"),
        tag("p", escape(" · ".join(word for word in told if word)), class_="sub"),
        tag("div", *chips, class_="chips"),
    ]
    if failures:
        items = [
            tag("li", tag("a", escape(s["name"]), href=f"#{anchor(s['name'])}"), ": ", escape(each))
            for s in document["scenarios"]
            for each in s.get("failures", [])
        ]
        parts.append(tag("div", tag("b", "What failed"), tag("ul", *items), class_="box bad"))
    if document["warnings"]:
        items = [tag("li", escape(each)) for each in document["warnings"]]
        words = tag("b", "Believe ratios with care, absolute numbers not at all:")
        rest = ""
        if len(items) > SHOWN_WARNINGS + 1:
            more = tag("summary", f"and {len(items) - SHOWN_WARNINGS} more")
            rest = tag("details", more, tag("ul", *items[SHOWN_WARNINGS:]))
            items = items[:SHOWN_WARNINGS]
        parts.append(tag("div", words, tag("ul", *items), rest, class_="box warn"))
    links = [
        tag("a", escape(s["name"]), href=f"#{anchor(s['name'])}") for s in document["scenarios"]
    ]
    parts.append(tag("nav", *links, tag("a", "the machine", href="#machine")))
    return tag("header", *parts)


def _targets(document: Found) -> str:
    targets = document.get("targets", [])
    if not targets:
        return ""
    return tag(
        "section",
        tag("h2", "Targets", id="targets"),
        tag("p", "How many times as good as asked for: right of the line is met. Of each, the "
            "worst case that ran.", class_="sub"),
        tag("div", tag("div", plots.bullets(targets), class_="scroll"), class_="card"),
    )  # fmt: skip


def _overview(scenarios: list[Found]) -> str:
    rows, names = [], set()
    for scenario in scenarios:
        first = scenario["metrics"][0]
        for case in scenario["cases"]:
            found = {
                name: ratio
                for name, told in case["entrants"].items()
                if (ratio := ratio_of(told, first["name"], "direct")) is not None
                and ratio["median"] > 0
            }
            if found and first["better"]:
                names |= set(found)
                label = f"{scenario['name']}, {case['name']}"
                rows.append((label, found, first["better"] == "less"))
    if not rows:
        return ""
    legend = [
        tag("span", sign(name), escape(f"{name}: {ABOUT[name]}"))
        for name in COLOURS
        if name in names
    ]
    return tag(
        "section",
        tag("h2", "At a glance"),
        tag("p", "How fast each is next to a direct connection (1×): right is faster, or sooner. ",
            escape(READING), class_="sub"),
        tag("div", tag("div", *legend, class_="legend"),
            tag("div", plots.overview(rows), class_="scroll"), class_="card"),
    )  # fmt: skip


def _machine(document: Found) -> str:
    def listed(title: str, found: Mapping[str, object]) -> str:
        items = "".join(
            tag("dt", escape(name.replace("_", " "))) + tag("dd", escape(_plain(value)))
            for name, value in found.items()
            if value not in ("", None)
        )
        return tag("div", tag("h3", title), tag("dl", items), class_="card")

    noise = {
        s["name"]: ", ".join(f"{k.partition('_')[0]} {v:g} %" for k, v in s["noise"].items())
        for s in document["scenarios"]
        if s.get("noise")
    }
    return tag(
        "section",
        tag("h2", "The machine, and how it was run", id="machine"),
        listed("Machine", document["machine"]),
        listed("Settings", document["settings"]),
        listed("CPU time by scenario: stolen by the host, used by others, idle", noise),
    )


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
