"""One relay with its console for all tests of a module; on each store."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.console.browsing import (
    FLAGS,
    PATIENCE,
    PROGRAM,
    Site,
    confirmed,
    running_site,
)
from tests.console.visiting import PASSWORD
from tests.running import RunningRelay, running_relay

STORES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=STORES)
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The setting for a database of a module's own: none for a file. No variable of this process, which other relays would read."""
    if request.param == "sqlite":
        return {}
    cluster = request.getfixturevalue("cluster")
    return {"RELAY_DATABASE": cluster.url(cluster.new_database(with_tables=True))}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    database: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningRelay]:
    folder = tmp_path_factory.mktemp("console")
    async with running_relay(
        folder, RELAY_CONSOLE_PASSWORD=PASSWORD, RELAY_CONSOLE_EDIT="yes", **database
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def program() -> AsyncIterator[Browser]:
    """Chromium, started once for a module."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=PROGRAM, args=FLAGS, timeout=PATIENCE
        )
        yield running
        await confirmed(running.close())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    database: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, program: Browser
) -> AsyncIterator[Site]:
    """A relay whose servers answer, for all tests of a module; on each store."""
    folder = tmp_path_factory.mktemp("site")
    async with running_site(folder, program, RELAY_CONSOLE_EDIT="yes", **database) as running:
        yield running
