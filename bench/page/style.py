"""How the page looks, by day and by night."""

from __future__ import annotations

COLOURS = {
    # name: (by day, by night)
    "direct": ("#6b7280", "#9ca3af"),
    "bare relay": ("#9d6bc4", "#c39be6"),
    "haproxy": ("#c8641b", "#f0985a"),
    "pgbouncer": ("#0f8a7a", "#3fc7b4"),
    "proxyjump": ("#a07d00", "#dcb83c"),
    "gateway os": ("#1d5fd6", "#6ea5ff"),
    "gateway disk": ("#15356f", "#b7cdfb"),
    "gateway no masks": ("#2aa3dc", "#7fd3f7"),
    "gateway unrecorded": ("#d1358b", "#f58bc2"),
}
OTHERS = (
    ("#1d5fd6", "#6ea5ff"),
    ("#0f8a7a", "#3fc7b4"),
    ("#c8641b", "#f0985a"),
    ("#9d6bc4", "#c39be6"),
    ("#a07d00", "#dcb83c"),
    ("#d1358b", "#f58bc2"),
    ("#2aa3dc", "#7fd3f7"),
    ("#4d7c0f", "#a3d15c"),
    ("#6b7280", "#9ca3af"),
    ("#b91c1c", "#f28b82"),
)
"""For what is no contender, in turn."""
SHAPES = {"direct": "square", "bare relay": "diamond", "haproxy": "diamond",
          "pgbouncer": "diamond", "proxyjump": "diamond", "gateway unrecorded": "ring",
          "gateway no masks": "ring"}  # fmt: skip
"""So that colour is not all that tells them apart; a disc where nothing is said."""


def css_class(name: str) -> str:
    """The class that gives a contender its colour."""
    return "c-" + "".join(letter if letter.isalnum() else "-" for letter in name)


def colour_rules(night: bool) -> str:
    rules = [f".{css_class(name)}{{--c:{pair[night]}}}" for name, pair in COLOURS.items()] + [
        f".o{at}{{--c:{pair[night]}}}" for at, pair in enumerate(OTHERS)
    ]
    return "".join(rules)


DAY = (
    "--paper:#fbfbfa;--card:#fff;--ink:#1b1f24;--soft:#5d6672;--faint:#9aa3ae;--rule:#e4e6e9;"
    "--band:#f3f4f6;--good:#177245;--bad:#b42318;--warn:#8a5a00;--good-bg:#e6f4ec;"
    "--bad-bg:#fdecea;--warn-bg:#fff4dc;--zone:#eef4ff"
)
NIGHT = (
    "--paper:#111418;--card:#191d23;--ink:#e8eaed;--soft:#a4adb8;--faint:#727c88;--rule:#2c323a;"
    "--band:#20252c;--good:#6fd39b;--bad:#ff9d92;--warn:#f2c46b;--good-bg:#15301f;"
    "--bad-bg:#3a1a17;--warn-bg:#35290f;--zone:#18233a"
)

RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1400px;margin:0 auto;padding:28px 24px 80px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:20px;margin:44px 0 4px;letter-spacing:-.01em}
h3{font-size:16px;margin:0}
p{margin:4px 0 12px;max-width:100ch}
.soft,.sub{color:var(--soft)} .sub{font-size:13.5px;margin:0}
a{color:inherit}
.chips{display:flex;flex-wrap:wrap;gap:8px;margin:14px 0 6px}
.chip{border-radius:99px;padding:3px 12px;font-size:13.5px;font-weight:600;text-decoration:none}
.good{background:var(--good-bg);color:var(--good)} .bad{background:var(--bad-bg);color:var(--bad)}
.warn{background:var(--warn-bg);color:var(--warn)} .plain{background:var(--band);color:var(--soft)}
.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:16px 18px;
 margin:14px 0}
.box{border-radius:8px;padding:10px 14px;margin:12px 0;font-size:14px}
 .box details summary{color:inherit;margin:0} .box ul{margin:4px 0;padding-left:20px}
nav{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:13.5px;margin:10px 0 0}
nav a{color:var(--soft)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13.5px;width:100%;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--soft);text-align:right;padding:2px 8px 4px;vertical-align:bottom;
 font-size:12.5px;white-space:nowrap}
td{padding:0 8px;text-align:right;white-space:nowrap;vertical-align:middle}
th:first-child,td:first-child{text-align:left;padding-left:2px}
tr:not(.case) td:first-child:not(.failed){position:sticky;left:0;background:var(--card)}
th small{display:block;font-weight:400;font-size:11.5px;min-height:1.2em}
td.plot,th.plot{padding:0 4px;width:330px;text-align:left;line-height:0}
td.plot svg{display:block}
tr.case td{padding:12px 2px 3px;font-weight:650;text-align:left}
tr.ours td{font-weight:600} tr.ours td.num small{font-weight:400}
td small{color:var(--faint);display:block;line-height:1.05;font-size:11px;margin-top:-2px}
td.failed{color:var(--bad);white-space:normal;text-align:left}
.swatch{display:inline-block;width:14px;height:14px;vertical-align:-2px;margin-right:6px}
.charts{display:flex;flex-wrap:wrap;gap:18px;margin-top:14px}
.charts figure{margin:0;flex:1 1 460px;max-width:560px}
figcaption{font-size:13px;color:var(--soft);margin-bottom:2px}
svg{display:block;max-width:100%;height:auto} .scroll>svg{min-width:860px}
 svg.inline{display:inline-block;max-width:none}
svg text{font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
 fill:var(--soft)}
svg text.ink{fill:var(--ink)} svg text.strong{fill:var(--ink);font-weight:600}
svg text.goodt{fill:var(--good);font-weight:600} svg text.badt{fill:var(--bad);font-weight:600}
.grid{stroke:var(--rule);stroke-width:1} .one{stroke:var(--soft);stroke-width:1.4}
.whisker{stroke:var(--c);stroke-width:5;opacity:.32;stroke-linecap:round}
.mark{fill:var(--c);stroke:var(--card);stroke-width:1} .hollow{fill:var(--card);stroke:var(--c);
 stroke-width:2}
.curve{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round}
.curve.ours{stroke-width:2.8} .bar{fill:var(--c)} .zone{fill:var(--zone)}
.tick{stroke:var(--card);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:13px;color:var(--soft);margin:6px 0}
.checks{font-size:13px;color:var(--soft);margin:10px 0 0;padding:0;list-style:none;
 columns:2;column-gap:28px} .checks li{break-inside:avoid}
.checks li:before{content:"✓ ";color:var(--good)} .checks li.no{color:var(--bad)}
.checks li.no:before{content:"✗ ";color:var(--bad)}
details summary{cursor:pointer;color:var(--soft);font-size:13px;margin-top:8px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;font-size:13.5px;margin:0}
dt{color:var(--soft)} dd{margin:0;overflow-wrap:anywhere}
@media (max-width:720px){.checks{columns:1} main{padding:18px 12px 60px}}
@media print{.card{break-inside:avoid}}
"""


def css() -> str:
    """All of it."""
    return (
        f":root{{color-scheme:light dark;{DAY}}}{colour_rules(False)}"
        f"@media (prefers-color-scheme:dark){{:root{{{NIGHT}}}{colour_rules(True)}}}{RULES}"
    )
