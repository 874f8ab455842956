"""What tests of several folders share."""

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresCluster, postgres_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgresCluster]:
    """One server for all tests that ask for it; each takes a database of its own."""
    with postgres_cluster() as running:
        yield running
