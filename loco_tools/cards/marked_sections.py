"""Markdown texts that people and a program write together.

The program owns the text between `<!-- generated: NAME -->` and `<!-- /generated -->`; in the YAML
front matter it owns the lines between `# generated: NAME` and `# /generated`. It never changes any
other text.
"""

import re
from collections.abc import Mapping

from loco_tools.errors import DefinitionError

_BODY = ("<!-- generated: {} -->", "<!-- /generated -->")
_YAML = ("# generated: {}", "# /generated")


def with_sections(text: str, sections: Mapping[str, str], *, origin: str) -> str:
    """Replace the generated sections of a Markdown text; missing ones are appended.

    Args:
        text: the existing text.
        sections: content by name; a missing section "limits" is appended with the heading
            "## Limits".
        origin: the file, for error messages.

    Raises:
        DefinitionError: a section is not closed, or occurs twice.
    """
    is_open = False
    for number, line in enumerate(text.splitlines(), start=1):
        opens, closes = "<!-- generated:" in line, _BODY[1] in line
        if (opens and is_open) or (closes and not is_open):
            expected = _BODY[1] if opens else _BODY[0].format("NAME")
            raise DefinitionError(f"{origin}, line {number}: expected {expected} before {line!r}")
        is_open = (is_open or opens) and not closes
    if is_open:
        raise DefinitionError(f"{origin}: expected {_BODY[1]} after the last generated section")
    for name, content in sections.items():
        block = _block(_BODY, name, content)
        matches = list(re.finditer(_pattern(_BODY, name), text, re.DOTALL))
        if len(matches) > 1:
            raise DefinitionError(f"{origin}: expected one section {name!r}, got {len(matches)}")
        if matches:
            text = text[: matches[0].start()] + block + text[matches[0].end() :]
        else:
            heading = name.replace("_", " ").capitalize()
            text = f"{text.rstrip()}\n\n## {heading}\n\n{block}\n"
    return text


def with_front_matter(text: str, written_once: str, generated: Mapping[str, str]) -> str:
    """Set generated keys in the YAML front matter of a Markdown text.

    Args:
        text: the existing text.
        written_once: YAML lines for a text without front matter; people may change them later.
        generated: YAML by key, each ending with a line break; keys that people wrote are kept.
    """
    match = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    front, body = (match[1], text[match.end() :]) if match else (written_once, f"\n{text}")
    front = re.sub(_pattern(_YAML, "front") + r"\n", "", front, flags=re.DOTALL)
    own = "".join(
        lines for key, lines in generated.items() if not re.search(rf"^{key}:", front, re.MULTILINE)
    )
    block = f"{_block(_YAML, 'front', own.rstrip())}\n" if own else ""
    return f"---\n{front}{block}---\n{body}"


def _block(marks: tuple[str, str], name: str, content: str) -> str:
    return f"{marks[0].format(name)}\n{content}\n{marks[1]}"


def _pattern(marks: tuple[str, str], name: str) -> str:
    return f"{re.escape(marks[0].format(name))}.*?{re.escape(marks[1])}"
