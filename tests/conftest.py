"""What tests of several folders share."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import PostgresCluster, postgres_cluster
from tests.running import STORE

# How long an example takes says nothing on a machine that is busy with other tests.
settings.register_profile("relay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A suite that runs often has the same examples each time; `make proof` has new ones.
settings.register_profile("same", settings.get_profile("relay"), derandomize=True, database=None)
settings.load_profile("relay")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--proof"):
        settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--proof",
        action="store_true",
        help="the long form of the suites that docs/reliability.md tells of, as `make proof` runs them",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--proof"):
        return
    long = [item for item in items if item.get_closest_marker("proof")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was counted, of every test that counts something."""
    counted = [
        (report.nodeid, name, value)
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, value in report.user_properties
    ]
    if counted and terminalreporter.config.getoption("--proof"):
        terminalreporter.section("counted")
        for nodeid, name, value in counted:
            terminalreporter.write_line(f"{nodeid.rpartition('::')[2]}: {name}: {value}")


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether `make proof` runs it, and time is no matter."""
    return bool(request.config.getoption("--proof"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgresCluster]:
    """One server for all tests that ask for it; each takes a database of its own."""
    with postgres_cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def each_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relays keep what they know in a file, and then, all over again, on a server."""
    _take(request, monkeypatch)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.proof)])
def each_store_at_length(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same; on a server by `make proof` only, which is not pressed for time."""
    _take(request, monkeypatch)


def _take(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "postgresql":
        cluster: PostgresCluster = request.getfixturevalue("cluster")
        monkeypatch.setenv(STORE, cluster.url(cluster.new_database(with_tables=True)))
    else:  # a relay that a whole module shares may have set it
        monkeypatch.delenv(STORE, raising=False)
