"""A page as a tree of elements, for tests: it is refused unless it is well-formed."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "hr", "img", "link", "wbr"}
PHRASING = {"p", "span", "button", "td", "summary", "figcaption", "h1", "h2", "h3", "label", "a"}
BLOCK = {"p", "div", "table", "ul", "dl", "pre", "figure", "section", "h1", "h2", "h3", "details"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None = field(default=None, repr=False)
    children: list[Element] = field(default_factory=list, repr=False)
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def all(self, tag: str) -> list[Element]:
        """The elements below this one that are called `tag`, in order."""
        return [e for c in self.children for e in ([c] if c.tag == tag else []) + c.all(tag)]

    def having(self, attribute: str) -> list[str]:
        """The values of `attribute` here and below."""
        own = [self.attributes[attribute]] if attribute in self.attributes else []
        return own + [value for child in self.children for value in child.having(attribute)]


class Tree(HTMLParser):
    """Elements of a page in which every one that is opened is closed, in turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Element("", {})
        self.feed(text)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_startendtag(self, tag, attrs):
        assert tag not in BLOCK | PHRASING, f"<{tag}/> does not close in HTML"
        self._open(tag, attrs)

    def handle_starttag(self, tag, attrs):
        element = self._open(tag, attrs)
        if tag not in VOID:
            self.here = element

    def _open(self, tag, attrs) -> Element:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        assert not (tag in BLOCK and self.here.tag in PHRASING - {"td"}), f"<{tag}> within <{self.here.tag}>"
        element = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(element)
        return element

    def handle_endtag(self, tag):
        assert tag == self.here.tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data):
        element: Element | None = self.here
        while element is not None:
            element.words.append(data)
            element = element.parent


def parsed(text: str) -> Element:
    assert text.startswith("<!DOCTYPE html>")
    return Tree(text).root
