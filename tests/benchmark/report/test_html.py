from markupsafe import Markup

from loco_tools.benchmark.report.html import element, join


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    assert element("p", "<script>", title='"><img src=x>') == (
        '<p title="&#34;&gt;&lt;img src=x&gt;">&lt;script&gt;</p>'
    )
    assert element("p", element("b", "x"), None, ["a", Markup("<i>")]) == "<p><b>x</b>a<i></p>"


def test_attributes_can_be_absent_bare_or_named_like_keywords() -> None:
    made = element("rect", class_="a", data_kind="b", hidden=False, checked=True, title=None)
    assert made == '<rect class="a" data-kind="b" checked></rect>'


def test_numbers_are_short() -> None:
    assert element("rect", x=1 / 3, y=2) == '<rect x="0.333333" y="2"></rect>'
    assert join("a", ["b", ("&", None)]) == "ab&amp;"
