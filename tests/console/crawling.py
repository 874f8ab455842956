"""Finds the console's pages as people do: by their links."""

import re

from tests.console.test_roles import TABLE
from tests.console.visiting import Got, Visitor

EXAMPLES = 3
"""Pages of one kind that are looked at."""
NO_PAGES = {
    "/",
    "/chats/new",
    "/deliveries/{number:int}/look",
    "/deliveries/{number:int}/mail",
    "/previews/{name:str}",
    "/status",
}
"""What is no page of its own: parts of one, and what only leads on."""


def template_of(path: str) -> str:
    """The route that a path is answered by."""
    path = path.partition("?")[0].partition("#")[0]
    for template, method in sorted(TABLE, key=lambda each: each[0].count("{")):
        form = re.sub(r"{\w+:int}", r"\\d+", re.sub(r"{\w+:str}", r"[^/]+", template))
        if method == "GET" and re.fullmatch(form, path):
            return template
    return ""


async def crawl(visitor: Visitor, first: str = "/chats") -> dict[str, Got]:
    """Each page that links lead to, some of each kind, with its answer."""
    to_do, answers, taken = [first], {}, dict.fromkeys(TABLE, 0)
    while to_do:
        path = to_do.pop(0)
        template = template_of(path)
        if path in answers or not template or taken[template, "GET"] >= EXAMPLES:
            continue
        taken[template, "GET"] += 1
        answers[path] = got = await visitor.get(path)
        found = re.findall(r'\b(?:href|src|hx-get)="(/[^"]*)"', got.text)
        to_do += [each.replace("&amp;", "&").partition("#")[0] for each in found]
    return answers


async def pages_of(visitor: Visitor) -> list[str]:
    """One of each kind of page that this visitor finds."""
    by_template: dict[str, str] = {}
    for path, got in (await crawl(visitor)).items():
        if got.status == 200 and got.text.startswith("<!doctype"):
            by_template.setdefault(template_of(path), path)
    return [path for template, path in by_template.items() if template not in NO_PAGES]
