"""The examples of `benchmark/python.md`, for the tests that run them."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "benchmark" / "python.md"


def examples() -> dict[str, str]:
    """The Python code of each section by its heading, in the order of the page."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    code = re.compile(r"```python\n(.*?)```", re.DOTALL)
    return {section.partition("\n")[0]: "\n".join(code.findall(section)) for section in sections}
