import pytest

from loco_tools.cards.marked_sections import with_front_matter, with_sections
from loco_tools.errors import DefinitionError

CARD = """---
license: mit
---

Before.

<!-- generated: splits -->
old
<!-- /generated -->

After.
"""


def test_a_section_is_replaced_and_other_text_is_kept():
    text = with_sections(CARD, {"splits": r"new \1"}, origin="card.md")
    assert text == CARD.replace("old", r"new \1")


def test_a_missing_section_is_appended_with_its_heading():
    text = with_sections(CARD, {"known_limits": "few"}, origin="card.md")
    assert text.startswith(CARD.rstrip())
    assert text.endswith(
        "## Known limits\n\n<!-- generated: known_limits -->\nfew\n<!-- /generated -->\n"
    )


def test_doing_it_twice_changes_nothing():
    sections = {"splits": "a", "limits": "b"}
    once = with_sections(CARD, sections, origin="card.md")
    assert with_sections(once, sections, origin="card.md") == once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CARD.replace("<!-- /generated -->", ""), "card.md: expected <!-- /generated --> after"),
        (CARD.replace("<!-- generated: splits -->", ""), "card.md, line 9: expected <!-- gen"),
        (CARD.replace("old", "<!-- generated: a -->"), "card.md, line 8: expected <!-- /gen"),
        (CARD + CARD, "card.md: expected one section 'splits', got 2"),
    ],
)
def test_unpaired_markers_are_an_error(text, message):
    with pytest.raises(DefinitionError) as caught:
        with_sections(text, {"splits": "new"}, origin="card.md")
    assert str(caught.value).startswith(message)


def test_front_matter_is_added_and_updated_and_keys_of_people_are_kept():
    made = with_front_matter("# Title\n", "license: mit\n", {"tags": "tags:\n- a\n"})
    assert made == (
        "---\nlicense: mit\n# generated: front\ntags:\n- a\n# /generated\n---\n\n# Title\n"
    )
    renewed = with_front_matter(made, "license: other\n", {"tags": "tags:\n- b\n"})
    assert renewed == made.replace("- a", "- b")
    owned = "---\ntags:\n- mine\n---\nBody.\n"
    assert with_front_matter(owned, "", {"tags": "tags:\n- a\n"}) == owned
