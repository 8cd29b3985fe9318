"""The templates of the HTML pages: every page escapes its content, and no name may be missing."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def load_templates(package: str, **options: Any) -> Environment:
    """The templates in the folder `templates/` of a package.

    Names of classes, defects and files may hold anything, so all content is escaped.

    Args:
        package: the dotted name of the package.
        options: further options of `jinja2.Environment`.
    """
    return Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, **options
    )
