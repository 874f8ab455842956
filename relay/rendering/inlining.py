"""The rules of a `<style>` -> style attributes: several mail programs know nothing else.

The shipped templates write their styles where they belong and mark their own `<style>` to be left alone: it holds
what can't be inlined (dark mode, phones). So a mail pays for this only where a template's author wrote rules.
"""

import re

from css_inline import CSSInliner

_RULES = re.compile(r"<style\b(?![^>{]*\bdata-css-inline=\"ignore\")", re.IGNORECASE)
"""Only templates write tags: what a visitor typed is escaped by now."""

# Nothing is ever fetched or read from the disk. What can't be inlined (@media, :hover) stays in its <style>.
_INLINER = CSSInliner(
    load_remote_stylesheets=False, keep_style_tags=True, remove_inlined_selectors=True
)


def may_have_rules(source: str) -> bool:
    """Whether a template's file, or the document that it writes, has rules to carry."""
    return _RULES.search(source) is not None


def inlined(html: str) -> str:
    """The same document, its rules carried to the elements that they hold for."""
    return _INLINER.inline(html) if may_have_rules(html) else html
