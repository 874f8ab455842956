"""A saved rules file is noticed, however it is saved; the watch outlives everything that happens to it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from relay.rules import RuleBook, RulesError, read_rules
from relay.rules.reading.rules_file import read_bytes
from relay.runtime.file_watch import watch_files
from relay.transports.registry import TRANSPORTS
from tests.rules.books import TEMPLATES
from tests.servers import DEADLINE

Next = Callable[[], Awaitable[RuleBook | Exception]]


def rules(name: str) -> str:
    """A file with one rule."""
    return (
        "destinations: {desk: {email: {to: desk@example.com}}}\n"
        f"rules: [{{name: {name}, when: always, send_to: desk}}]\n"
    )


def load(path: Path) -> RuleBook:
    return read_rules(read_bytes(path), str(path), transports=TRANSPORTS, templates=TEMPLATES)


@asynccontextmanager
async def watching(path: Path, in_force: str | None = None) -> AsyncIterator[Next]:
    """Watches the file, from the rules that stand in it now; gives the next news of it."""
    hashed = load(path).hash if in_force is None else in_force
    news = watch_files(lambda: load(path), in_force=lambda: {path: hashed}, refusals=(RulesError,))
    async with aclosing(news):

        async def following() -> RuleBook | Exception:
            return await asyncio.wait_for(anext(news), DEADLINE)

        yield following


async def names(news: Next) -> list[str]:
    """The rules that came into force."""
    book = await news()
    assert isinstance(book, RuleBook), book
    return [rule.name for rule in book.rules]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(rules("first"), "utf-8")
    return path


async def test_a_file_written_in_place_takes_effect(path: Path) -> None:
    async with watching(path) as news:
        path.write_text(rules("second"), "utf-8")
        assert await names(news) == ["second"]
        path.write_text(rules("third"), "utf-8")
        assert await names(news) == ["third"]


async def test_a_file_moved_into_place_takes_effect(path: Path) -> None:
    async with watching(path) as news:
        draft = path.with_name(".rules.yaml.swp")
        draft.write_text(rules("second"), "utf-8")
        draft.rename(path)
        assert await names(news) == ["second"]


async def test_a_broken_file_is_told_and_a_mended_one_takes_effect(path: Path) -> None:
    async with watching(path) as news:
        path.write_text("rules: 1", "utf-8")
        assert "`rules:` takes a list" in str(await news())
        path.write_text(rules("first"), "utf-8")  # what it was before: the trouble is over
        assert await names(news) == ["first"]


async def test_a_file_that_is_deleted_is_told_and_comes_back(path: Path) -> None:
    async with watching(path) as news:
        path.unlink()
        assert "there is no such file" in str(await news())
        path.write_text(rules("second"), "utf-8")
        assert await names(news) == ["second"]


async def test_a_pipe_in_the_file_s_place_is_told_and_not_waited_for(path: Path) -> None:
    async with watching(path) as news:
        path.unlink()
        os.mkfifo(path)
        assert "the file can't be read: it is a named pipe, not a file" in str(await news())
        path.unlink()
        path.write_text(rules("second"), "utf-8")
        assert await names(news) == ["second"]


async def test_a_folder_that_is_deleted_comes_back(path: Path) -> None:
    async with watching(path) as news:
        shutil.rmtree(path.parent)
        assert "there is no such file" in str(await news())
        path.parent.mkdir()
        path.write_text(rules("second"), "utf-8")
        assert await names(news) == ["second"]


async def test_a_file_that_is_half_written_is_waited_for(path: Path) -> None:
    async with watching(path) as news:
        with path.open("w", encoding="utf-8") as file:
            # In many pieces, each a valid file of its own up to the last.
            for number in range(10):
                file.write(f"# {number}\n")
                file.flush()
            file.write(rules("second"))
        assert await names(news) == ["second"]


async def test_a_change_made_before_the_watch_began_takes_effect(path: Path) -> None:
    before = load(path).hash
    path.write_text(rules("second"), "utf-8")
    async with watching(path, before) as news:
        assert await names(news) == ["second"]


async def test_a_file_that_says_the_same_is_no_news(path: Path) -> None:
    async with watching(path) as news:
        path.write_text(rules("first"), "utf-8")
        path.touch()
        (path.parent / "relay.db-wal").write_text("busy", "utf-8")
        path.write_text(rules("second"), "utf-8")
        assert await names(news) == ["second"]


def mount(folder: Path, version: int, text: str) -> None:
    """As Kubernetes puts a ConfigMap into a folder: a new folder, and one link that is swapped."""
    made = folder / f"..2026_{version}"
    made.mkdir(parents=True)
    (made / "rules.yaml").write_text(text, "utf-8")
    link = folder / "..data_tmp"
    link.symlink_to(made.name)
    link.rename(folder / "..data")
    if not (folder / "rules.yaml").is_symlink():
        (folder / "rules.yaml").symlink_to("..data/rules.yaml")


async def test_a_config_map_that_is_swapped_takes_effect(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    mount(folder, 1, rules("first"))
    async with watching(folder / "rules.yaml") as news:
        mount(folder, 2, rules("second"))
        assert await names(news) == ["second"]
        shutil.rmtree(folder / "..2026_1")
        mount(folder, 3, rules("third"))
        shutil.rmtree(folder / "..2026_2")
        assert await names(news) == ["third"]


async def test_a_link_to_a_file_elsewhere_is_followed(tmp_path: Path) -> None:
    real = tmp_path / "etc" / "relay.yaml"
    real.parent.mkdir()
    real.write_text(rules("first"), "utf-8")
    link = tmp_path / "rules.yaml"
    link.symlink_to(real)
    async with watching(link) as news:
        real.write_text(rules("second"), "utf-8")
        assert await names(news) == ["second"]


async def test_anything_else_that_goes_wrong_ends_the_watch(path: Path) -> None:
    def fail() -> RuleBook:
        raise ZeroDivisionError

    news = watch_files(fail, in_force=lambda: {path: "other"}, refusals=(RulesError,))
    with pytest.raises(ZeroDivisionError):
        await anext(news)
