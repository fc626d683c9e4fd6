"""Both storages of a gateway keep the same promises."""

from __future__ import annotations

import sqlite3
import stat

import pytest

from smolmix_web.errors import LocalProtocolError
from smolmix_web.gateway import MemoryStorage, StoredClient
from smolmix_web.gateway.registry import MESSAGE_LIFETIME
from smolmix_web.localnet.sqlite_storage import SqliteStorage

ALICE, BOB = b"\xaa" * 32, b"\xbb" * 32
KEY, OTHER_KEY = b"k" * 32, b"o" * 32


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield MemoryStorage(inbox_limit=1000, total_limit=1500)
    else:
        sqlite = SqliteStorage(tmp_path / "clients.sqlite", inbox_limit=1000, total_limit=1500)
        yield sqlite
        sqlite.close()


def test_clients(storage):
    assert storage.load_client(ALICE) is None
    storage.store_key(ALICE, KEY)
    assert storage.load_client(ALICE) == StoredClient(KEY, None)
    storage.store_last_authentication(ALICE, 1_700_000_000)
    storage.store_key(ALICE, OTHER_KEY)
    assert storage.load_client(ALICE) == StoredClient(OTHER_KEY, 1_700_000_000)
    assert storage.load_client(BOB) is None


def test_timestamp_of_an_unknown_client_creates_nothing(storage):
    storage.store_last_authentication(BOB, 5)
    storage.store_bandwidth(BOB, 5, 5)
    assert storage.load_client(BOB) is None
    assert storage.load_bandwidth(BOB) == (0, 0)


def test_bandwidth(storage):
    storage.store_key(ALICE, KEY)
    assert storage.load_bandwidth(ALICE) == (0, 0)
    storage.store_bandwidth(ALICE, 68_719_476_736, 20_000)
    storage.store_bandwidth(ALICE, 2**40, 20_001)
    assert storage.load_bandwidth(ALICE) == (2**40, 20_001)


def test_messages_come_in_order_and_in_pages(storage):
    for number in range(150):
        assert storage.store_message(ALICE, b"%d" % number, 0.0)
    storage.store_message(BOB, b"other", 0.0)
    first = storage.load_messages(ALICE)
    second = storage.load_messages(ALICE, after=first[-1][0])
    assert [content for _, content in first + second] == [b"%d" % number for number in range(150)]
    assert len(first) == 100
    assert storage.load_messages(ALICE, after=second[-1][0]) == []
    storage.delete_messages(ALICE, first[-1][0])
    assert storage.load_messages(ALICE) == second
    assert [content for _, content in storage.load_messages(BOB)] == [b"other"]


def test_inboxes_are_bounded_each_and_together(storage):
    assert storage.store_message(ALICE, bytes(900), 0.0)
    assert not storage.store_message(ALICE, bytes(200), 0.0)
    assert storage.store_message(BOB, bytes(600), 0.0)
    assert not storage.store_message(b"\xcc" * 32, bytes(1), 0.0)
    storage.delete_messages(ALICE, storage.load_messages(ALICE)[-1][0])
    assert storage.store_message(ALICE, bytes(900), 0.0)


def test_messages_go_stale_after_a_day(storage):
    storage.store_message(ALICE, b"old", 1000.0)
    storage.store_message(ALICE, b"new", 2000.0)
    assert storage.delete_stale_messages(1000.0 + MESSAGE_LIFETIME) == 0
    assert storage.delete_stale_messages(1500.0 + MESSAGE_LIFETIME) == 1
    assert [content for _, content in storage.load_messages(ALICE)] == [b"new"]
    assert storage.delete_stale_messages(9e9) == 1
    assert storage.load_messages(ALICE) == []


def test_forgotten_means_forgotten(storage):
    storage.store_key(ALICE, KEY)
    storage.store_bandwidth(ALICE, 5, 5)
    storage.store_message(ALICE, bytes(1000), 0.0)
    storage.forget_client(ALICE)
    assert storage.load_client(ALICE) is None
    assert storage.load_bandwidth(ALICE) == (0, 0)
    assert storage.load_messages(ALICE) == []
    assert storage.store_message(BOB, bytes(1000), 0.0)  # the room is free again


def test_database_survives_closing_and_is_private(tmp_path):
    path = tmp_path / "state" / "clients.sqlite"
    first = SqliteStorage(path)
    first.store_key(ALICE, KEY)
    first.store_last_authentication(ALICE, 7)
    first.store_bandwidth(ALICE, 11, 12)
    first.store_message(ALICE, b"waiting", 0.0)
    first.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = SqliteStorage(path)
    assert second.load_client(ALICE) == StoredClient(KEY, 7)
    assert second.load_bandwidth(ALICE) == (11, 12)
    assert [content for _, content in second.load_messages(ALICE)] == [b"waiting"]
    second.close()


def test_foreign_files_are_refused(tmp_path):
    text = tmp_path / "text"
    text.write_text("not a database" * 100)
    with pytest.raises(LocalProtocolError, match="not a gateway database"):
        SqliteStorage(text)
    later = tmp_path / "later"
    database = sqlite3.connect(later)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(LocalProtocolError, match="version 99"):
        SqliteStorage(later)
