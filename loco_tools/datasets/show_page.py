"""The contact sheet as a page of HTML that needs no other file and no network."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from loco_tools.datasets.images import data_url
from loco_tools.datasets.summary import DEFECT_COLUMNS, Summary
from loco_tools.wording import printable

if TYPE_CHECKING:
    from loco_tools.datasets.show import Row, Tile

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5c5c5c; --paper: #fff; --line: #ddd;
  --structural: #b35f00; --logical: #006ba6; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --soft: #aaa; --paper: #16181b;
  --line: #3a3d42; --structural: #ff9d2e; --logical: #3cc4ff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem auto; max-width: 92rem; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 0; }
p, figcaption { color: var(--soft); margin: 0 0 1rem; } figcaption { font-size: .8rem; margin: 0; }
.tables { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
section.structural h2 { color: var(--structural); } section.logical h2 { color: var(--logical); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; max-width: 220px; overflow-wrap: anywhere; } img { display: block; }
"""


def page(summary: Summary, rows: Sequence["Row"]) -> str:
    """The whole page; every name in it is escaped."""
    title = escape(printable(summary.name))
    total = sum(summary.images.values())
    parts = f" of {summary.parts} parts" if summary.parts else ""
    sizes = "; ".join(escape(line) for line in summary.size_lines())
    counts = _table(("folder", "images"), ([k, str(v)] for k, v in summary.images.items()))
    defects = _table(DEFECT_COLUMNS, summary.defect_rows()) if summary.defects else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: contact sheet</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p>{total} images{parts} in layout {escape(summary.origin)}; {sizes}</p>
<div class="tables">
{counts}
{defects}
</div>
{"".join(map(_section, rows))}</body>
</html>
"""


def _section(row: "Row") -> str:
    tiles = "".join(map(_figure, row.tiles))
    return (
        f'<section class="{escape(row.kind)}">\n<h2>{escape(row.title)}</h2>\n'
        f'<p>{escape("; ".join(row.details))}</p>\n<div class="tiles">\n{tiles}</div>\n</section>\n'
    )


def _figure(tile: "Tile") -> str:
    height, width = tile.pixels.shape[:2]
    return (
        f'<figure><img src="{data_url(tile.pixels)}" width="{width}" height="{height}" '
        f'alt="{escape(tile.alt)}"><figcaption>{escape(tile.caption)}</figcaption></figure>\n'
    )


def _table(head: Iterable[str], rows: Iterable[list[str]]) -> str:
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f"<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _cell(text: str) -> str:
    kind = ' class="number"' if text.isdigit() else ""
    return f"<td{kind}>{escape(printable(text))}</td>"
