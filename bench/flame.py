"""Folded stacks as a flame graph: one SVG file, nothing from elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, ROW, TOP, SIDE = 1280.0, 18, 70, 10
LETTER = 6.4
"""Pixels of a letter, roughly."""
LEAST = 0.0004
"""Of the whole: what is narrower is not drawn."""
PLACE = re.compile(r"(.*) \((.*?)(?::\d+)?\)")
PARTS: Mapping[str, tuple[str, str]] = {
    # part: (by day, by night)
    "protocols": ("#8fb4f5", "#3b64b8"),
    "gateway": ("#7fd0a8", "#24784f"),
    "recorder": ("#c9a3ea", "#704a9c"),
    "bench": ("#c5cad1", "#525a65"),
    "Python": ("#f3cf7a", "#8a681c"),
    "native": ("#f2a58e", "#9c4a33"),
}
"""Whose code it is, in the order of the legend."""


OURS = ("protocols", "gateway", "recorder", "bench")
WAITING = (
    "PyThread_acquire_lock_timed", "take_gil", "_queue_SimpleQueue_get", "pthread_cond_timedwait",
    "EpollIOManager.get_events", "get_events (trio", "EpollSelector.select", "time_sleep",
)  # fmt: skip


@dataclass(slots=True)
class Node:
    """A function in the place where it was called. ``samples``: of it and of
    all that it called; ``own``: of itself."""

    name: str
    samples: int = 0
    own: int = 0
    called: dict[str, Node] = field(default_factory=dict)


def tree(stacks: Mapping[str, int]) -> Node:
    """From ``outermost;...;innermost`` and how often each was seen."""
    root = Node("all")
    for stack, count in stacks.items():
        node = root
        node.samples += count
        for name in stack.split(";"):
            node = node.called.setdefault(name, Node(name))
            node.samples += count
        node.own += count
    return root


def folded(text: str) -> Counter[str]:
    """What py-spy writes with ``--format raw``: a stack and its count a line."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if count.isdigit():
            found[stack] += int(count)
    return found


def part(name: str) -> str:
    """Whose code a function is."""
    match = PLACE.fullmatch(name)
    place = match[2] if match else ""
    if not place.endswith(".py"):
        # A module compiled from Python says its name in its functions'.
        for known in ("protocols", "gateway", "recorder"):
            if known in name:
                return known
        return "native" if place or name != "all" else "bench"
    return next((known for known in PARTS if place.startswith(f"{known}/")), "Python")


def at_work(stacks: Mapping[str, int]) -> Counter[str]:
    """Without those that wait (for a lock, a moment, or a loop for events), which a sampler
    that reads native frames can't always tell from work, and without the
    nameless frames that a thread begins with."""
    found: Counter[str] = Counter()
    for stack, count in stacks.items():
        names = stack.split(";")
        if not any(name.startswith(WAITING) for name in names):
            while len(names) > 1 and names[0].startswith("0x"):
                del names[0]
            found[";".join(names)] += count
    return found


def for_whom(stack: str) -> str:
    """The innermost function of this project in a stack, else the innermost."""
    names = stack.split(";")
    ours = (name for name in reversed(names) if part(name) in OURS)
    return next(ours, names[-1])


def shares(stacks: Mapping[str, int]) -> tuple[Counter[str], Counter[str]]:
    """Samples by function itself, with whom it works for where that is not this
    project's; and by part of this project, with what it called elsewhere."""
    functions: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    for stack, count in stacks.items():
        name, whom = stack.rpartition(";")[2], for_whom(stack)
        functions[name if name == whom else f"{name}  for {whom}"] += count
        parts[part(whom)] += count
    return functions, parts


def _boxes(node: Node, at: float, depth: int, whole: int) -> Iterator[tuple[Node, float, int]]:
    """Each node with its left edge (0 to 1) and depth, the widest first."""
    yield node, at, depth
    for child in sorted(node.called.values(), key=lambda each: -each.samples):
        if child.samples / whole >= LEAST:
            yield from _boxes(child, at, depth + 1, whole)
        at += child.samples / whole


def draw(stacks: Mapping[str, int], title: str, about: str) -> str:
    """The SVG. A click looks closer, one at the bottom row goes back; it reads
    well without scripts too."""
    root = tree(stacks)
    boxes = list(_boxes(root, 0.0, 0, max(1, root.samples)))
    deepest = max(depth for _, _, depth in boxes)
    height = TOP + ROW * (deepest + 1) + 24
    inner = WIDTH - 2 * SIDE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height}" '
        f'width="{WIDTH:g}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_style()}</style>",
        f'<rect class="paper" width="{WIDTH:g}" height="{height}"/>',
        f'<text class="head" x="{SIDE}" y="24">{escape(title)}</text>',
        f'<text class="soft" x="{SIDE}" y="42">{escape(about)}</text>',
        *_legend(shares(stacks)[1], max(1, root.samples)),
        '<g id="boxes">',
    ]
    for node, at, depth in boxes:
        y = TOP + ROW * (deepest - depth)
        parts.append(_box(node, at, y, inner, root.samples))
    parts += ["</g>", f"<script><![CDATA[{SCRIPT}]]></script>", "</svg>"]
    return "\n".join(parts) + "\n"


def _box(node: Node, at: float, y: int, inner: float, whole: int) -> str:
    wide = node.samples / max(1, whole)
    said = (
        f"{node.name}: {wide:.1%}, {node.samples:,} samples; itself {node.own / max(1, whole):.1%}"
    )
    room = int((wide * inner - 6) / LETTER)
    label = node.name if len(node.name) <= room else node.name[: max(0, room - 1)] + "…"
    return (
        f'<g class="{part(node.name)}" data-x="{at:.6f}" data-w="{wide:.6f}" data-y="{y}" '
        f'data-n="{escape(node.name)}"><title>{escape(said)}</title>'
        f'<rect x="{SIDE + at * inner:.2f}" y="{y}" width="{max(0.2, wide * inner - 0.4):.2f}" '
        f'height="{ROW - 1}" rx="1.5"/><text x="{SIDE + at * inner + 3:.2f}" y="{y + 12.5}">'
        f"{escape(label) if room > 2 else ''}</text></g>"
    )


def _legend(parts: Counter[str], whole: int) -> list[str]:
    found, x = [], float(SIDE)
    for name in PARTS:
        words = f"{name} {parts[name] / whole:.0%}"
        found.append(
            f'<g class="{name}"><rect x="{x:g}" y="50" width="11" height="11" rx="2"/></g>'
            f'<text class="soft" x="{x + 16:g}" y="60">{words}</text>'
        )
        x += 34 + LETTER * len(words)
    return found


def _style() -> str:
    day = "".join(f".{name} rect{{fill:{pair[0]}}}" for name, pair in PARTS.items())
    night = "".join(f".{name} rect{{fill:{pair[1]}}}" for name, pair in PARTS.items())
    return (
        'text{font:11px system-ui,"DejaVu Sans",sans-serif;fill:#1b1f24;pointer-events:none}'
        ".head{font-size:17px;font-weight:650}.soft{fill:#5d6672;font-size:12px}"
        ".paper{fill:#fbfbfa}#boxes g{cursor:pointer}#boxes g:hover rect{stroke:#1b1f24}"
        f"{day}@media(prefers-color-scheme:dark){{.paper{{fill:#111418}}text{{fill:#e8eaed}}"
        f".soft{{fill:#a4adb8}}#boxes g:hover rect{{stroke:#fff}}{night}}}"
    )


SCRIPT = f"""
const side={SIDE},inner={WIDTH - 2 * SIDE:g},letter={LETTER};
const all=[...document.querySelectorAll('#boxes g')];
function look(from,wide,y){{for(const g of all){{
 const x=+g.dataset.x,w=+g.dataset.w,r=g.querySelector('rect'),t=g.querySelector('text');
 const under=+g.dataset.y>y,left=under?0:(x-from)/wide,width=under?1:w/wide;
 const over=under?x<=from+1e-9&&x+w>=from+wide-1e-9:x>=from-1e-9&&x+w<=from+wide+1e-9;
 g.style.display=over?'':'none';if(!over)continue;
 r.setAttribute('x',side+left*inner);r.setAttribute('width',Math.max(.2,width*inner-.4));
 t.setAttribute('x',side+left*inner+3);const room=Math.floor((width*inner-6)/letter),n=g.dataset.n;
 t.textContent=room<3?'':n.length<=room?n:n.slice(0,room-1)+'…';}}}}
for(const g of all)g.addEventListener('click',()=>look(+g.dataset.x,+g.dataset.w,+g.dataset.y));
"""
"""Looking closer: what lies under the clicked box goes to full width."""


def told(stacks: Mapping[str, int], most: int = 15) -> Sequence[str]:
    """The same in words: by part, and the functions that are busy themselves."""
    functions, parts = shares(stacks)
    whole = max(1, sum(stacks.values()))
    lines = [
        "for " + ", ".join(f"{name} {count / whole:.0%}" for name, count in parts.most_common())
    ]
    lines += [f"  {count / whole:6.1%}  {name}" for name, count in functions.most_common(most)]
    return lines
