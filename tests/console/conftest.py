"""One relay with its console for all tests of a module; on each store."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

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
