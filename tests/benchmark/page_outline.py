"""A page of HTML as tests see it."""

from html.parser import HTMLParser

VOID = {"br", "col", "hr", "img", "input", "meta", "wbr"}


class Outline(HTMLParser):
    """Checks that elements close in order, and collects attributes and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [value or "" for _tag, key, value in self.attributes if key == name]
