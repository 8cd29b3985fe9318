"""The console commands of a page in Markdown, for the tests that check and run them."""

import re
import shlex


def console_commands(text: str, marker: str = "") -> list[list[str]]:
    """The commands of a page's console blocks as words, continued lines joined, comments left out.

    Args:
        text: the page.
        marker: the beginning of a comment; only the blocks below such a comment count.
    """
    above = rf"<!-- {marker}.*?-->\n" if marker else ""
    blocks = re.findall(rf"{above}```console\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words for words in commands if words]
