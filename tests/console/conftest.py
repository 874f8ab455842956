"""One relay with its console for all tests of a module; on each store."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.console.browsing import FLAGS, PROGRAM, Site, running_site
from tests.console.visiting import PASSWORD
from tests.running import STORE, RunningRelay, running_relay


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)],
)
async def relay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningRelay]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "postgresql":
            cluster = request.getfixturevalue("cluster")
            patch.setenv(STORE, cluster.url(cluster.new_database(with_tables=True)))
        folder = tmp_path_factory.mktemp("console")
        async with running_relay(folder, RELAY_CONSOLE_PASSWORD=PASSWORD) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def program() -> AsyncIterator[Browser]:
    """Chromium, started once for a module."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield running
        await running.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, program: Browser) -> AsyncIterator[Site]:
    """A relay whose servers answer, for all tests of a module."""
    folder = tmp_path_factory.mktemp("site")
    async with running_site(folder, program) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def site_on_each_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Browser
) -> AsyncIterator[Site]:
    """As `site`, with a file and then with a server for its database."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "postgresql":
            cluster = request.getfixturevalue("cluster")
            patch.setenv(STORE, cluster.url(cluster.new_database(with_tables=True)))
        async with running_site(tmp_path_factory.mktemp("site"), program) as running:
            yield running
