"""Keys and registration persist; with a passphrase only sealed; nothing that cannot be read is destroyed."""

from __future__ import annotations

import base64
import json
import secrets

import pytest

from smolmix_web.errors import MalformedError, OptionError
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.native import MemoryStorage
from smolmix_web.tunnel.keystore import BLOB, DAMAGED_BLOB, Identity, Keystore, Registration, StorageError
from smolmix_web.tunnel.seal import Argon2Cost, Sealer, WrongPassphrase

CHEAP = Argon2Cost(memory_kib=64, iterations=1)
KEYS = ClientKeys.generate(secrets.token_bytes)
IDENTITY = Identity(KEYS, Registration(bytes(range(32)), "wss://gateway.test:9001/", b"\x5a" * 32))


def keystore(storage: MemoryStorage, passphrase: str | None = None) -> Keystore:
    return Keystore(storage, passphrase, random_bytes=secrets.token_bytes, cost=CHEAP)


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
async def test_what_was_saved_is_loaded(passphrase: str | None) -> None:
    storage = MemoryStorage()
    assert await keystore(storage, passphrase).load() is None
    await keystore(storage, passphrase).save(IDENTITY)
    assert await keystore(storage, passphrase).load() == IDENTITY
    await keystore(storage, passphrase).save(Identity(KEYS))
    assert await keystore(storage, passphrase).load() == Identity(KEYS)


async def test_sealed_storage_shows_no_key() -> None:
    storage = MemoryStorage()
    store = keystore(storage, "correct horse")
    await store.save(IDENTITY)
    first = await storage.load(BLOB) or b""
    for secret in (KEYS.identity_seed, KEYS.encryption_secret, KEYS.ack_key, b"\x5a" * 32):
        assert base64.b64encode(secret)[:12] not in first
    assert b"gateway.test" not in first
    await store.save(IDENTITY)
    second = json.loads(await storage.load(BLOB) or b"")
    assert second["salt"] == json.loads(first)["salt"]
    assert second["nonce"] != json.loads(first)["nonce"]


async def test_a_wrong_or_missing_passphrase_says_so_and_destroys_nothing() -> None:
    storage = MemoryStorage()
    await keystore(storage, "correct horse").save(IDENTITY)
    before = await storage.load(BLOB)
    with pytest.raises(StorageError, match="does not open") as caught:
        await keystore(storage, "battery staple").load()
    assert "battery" not in str(caught.value)
    with pytest.raises(StorageError, match="storagePassphrase is needed"):
        await keystore(storage).load()
    assert await storage.load(BLOB) == before
    assert await keystore(storage, "correct horse").load() == IDENTITY


async def test_what_was_stored_in_the_clear_is_sealed_when_a_passphrase_comes() -> None:
    storage = MemoryStorage()
    await keystore(storage).save(IDENTITY)
    assert b"gateway.test" in (await storage.load(BLOB) or b"")
    assert await keystore(storage, "correct horse").load() == IDENTITY
    assert b"gateway.test" not in (await storage.load(BLOB) or b"")
    assert await keystore(storage, "correct horse").load() == IDENTITY


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
@pytest.mark.parametrize("blob", [b"", b"{", b"\xff\x00", b"[]", b"7", b'{"version":1,"keys":"AAAA"}'])
async def test_damaged_keys_are_set_aside(blob: bytes, passphrase: str | None) -> None:
    storage = MemoryStorage()
    await storage.save(BLOB, blob)
    store = keystore(storage, passphrase)
    assert await store.load() is None
    aside = await storage.load(DAMAGED_BLOB) or b""
    if passphrase is None:
        assert aside == blob
    else:
        assert Sealer(passphrase, secrets.token_bytes).open(aside) == blob
    await store.save(IDENTITY)
    assert await store.load() == IDENTITY


@pytest.mark.parametrize(
    "registration",
    [7, {}, {"gateway": "AA==", "url": "ws://x/", "shared_key": "AA=="}, {"gateway": 1}, "text"],
)
async def test_a_damaged_registration_costs_the_registration_alone(registration: object) -> None:
    storage = MemoryStorage()
    await keystore(storage).save(IDENTITY)
    document = json.loads(await storage.load(BLOB) or b"")
    document["registration"] = registration
    await storage.save(BLOB, json.dumps(document).encode())
    assert await keystore(storage).load() == Identity(KEYS)


async def test_data_of_a_newer_release_is_left_alone() -> None:
    storage = MemoryStorage()
    await storage.save(BLOB, b'{"version": 2}')
    with pytest.raises(StorageError, match="newer release"):
        await keystore(storage).load()
    assert await storage.load(BLOB) == b'{"version": 2}'


def test_any_change_of_an_envelope_is_noticed() -> None:
    sealer = Sealer("correct horse", secrets.token_bytes, CHEAP)
    envelope = json.loads(sealer.seal(b"the keys"))
    assert sealer.open(json.dumps(envelope).encode()) == b"the keys"
    for name in ("salt", "nonce", "sealed"):
        data = bytearray(base64.b64decode(envelope[name]))
        data[0] ^= 1
        changed = envelope | {name: base64.b64encode(data).decode()}
        with pytest.raises(WrongPassphrase):
            Sealer("correct horse", secrets.token_bytes).open(json.dumps(changed).encode())
    for changed in ({"iterations": 2}, {"memory_kib": 65}, {"memory_kib": 1}):
        with pytest.raises(WrongPassphrase):
            Sealer("correct horse", secrets.token_bytes).open(json.dumps(envelope | changed).encode())
    for changed in ({"iterations": 10**9}, {"memory_kib": 1 << 40}, {"salt": 7}, {"lanes": None}):
        with pytest.raises(MalformedError):
            Sealer("correct horse", secrets.token_bytes).open(json.dumps(envelope | changed).encode())


def test_the_default_cost_is_not_a_toy() -> None:
    envelope = json.loads(Sealer("correct horse", secrets.token_bytes).seal(b""))
    assert envelope["memory_kib"] * envelope["iterations"] >= 3 * 64 * 1024


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(OptionError, match="storagePassphrase"):
        TunnelOptions(storage_passphrase="")


def test_no_secret_shows() -> None:
    assert "5a5a" not in repr(IDENTITY)
    assert "ZZZZ" not in repr(IDENTITY)
    assert "horse" not in repr(Sealer("correct horse", secrets.token_bytes))
