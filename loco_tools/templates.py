"""The templates of the HTML pages: every page escapes its content, and no name may be missing."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loco_tools.wording import visible


def load_templates(package: str, **options: Any) -> Environment:
    """The templates in the folder `templates/` of a package.

    Names of classes, defects and files may hold anything, so all content is escaped, and its
    control characters are made visible.

    Args:
        package: the dotted name of the package.
        options: further options of `jinja2.Environment`.
    """
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_show_controls,
        **options,
    )


def _show_controls(content: Any) -> Any:
    """Text with visible control characters; markup stays markup."""
    if not isinstance(content, str):
        return content
    shown = visible(content, keep="\n\r\t")
    # the template has escaped markup before
    return Markup(shown) if isinstance(content, Markup) else shown  # noqa: S704
