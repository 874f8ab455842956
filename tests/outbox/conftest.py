"""The stores that the outbox may live in: what it promises holds in each."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay.outbox import Outbox
from relay.settings.database import Database
from tests.builders import NOON
from tests.postgres import PostgresCluster, server
from tests.running import rows

Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Place:
    """A database, empty at first, and a way to look into it beside the outbox."""

    database: Database
    ask: Ask


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        path = tmp_path / "relay.db"
        return Place(path, lambda question: rows(path, question))
    cluster: PostgresCluster = request.getfixturevalue("cluster")
    name = cluster.new_database()
    return Place(server(cluster.url(name)), lambda question: cluster.rows(name, question))


@pytest.fixture
def ask(place: Place) -> Ask:
    return place.ask


@pytest.fixture
async def outbox(place: Place) -> AsyncIterator[Outbox]:
    opened = await Outbox.open(place.database, now=NOON)
    yield opened
    await opened.close()
