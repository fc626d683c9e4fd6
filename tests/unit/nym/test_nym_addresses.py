"""Addresses that users paste and peers send: what is accepted and what is refused (spec/sphinx.md 13)."""

from __future__ import annotations

import pytest

from smolmix_web import crypto
from smolmix_web.errors import MalformedError
from smolmix_web.nym import base58, edwards
from smolmix_web.nym.addresses import NodeAddress, Recipient
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.wire import Reader

POINT = crypto.provider().ed25519_public(bytes(32))
NOT_A_POINT = bytes([2]) + bytes(31)


def recipient() -> Recipient:
    return Recipient(POINT, b"\x07" * 32, crypto.provider().ed25519_public(b"\x01" * 32))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\0", "1"),
        (b"\0\0\x01", "112"),
        (b"\xff", "5Q"),
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (b"The quick brown fox jumps over the lazy dog.",
         "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z"),
    ],
)  # fmt: skip
def test_base58(data: bytes, text: str) -> None:
    """The last two rows are the examples of draft-msporny-base58."""
    assert base58.encode(data) == text
    assert base58.decode(text) == data
    assert base58.decode(text, len(data)) == data


@pytest.mark.parametrize("text", ["0", "O", "I", "l", "abc ", "é", "5Q\n"])
def test_base58_refuses_foreign_characters(text: str) -> None:
    with pytest.raises(MalformedError):
        base58.decode(text)


def test_base58_refuses_wrong_length_and_endless_text() -> None:
    with pytest.raises(MalformedError):
        base58.decode("5Q", 2)
    with pytest.raises(MalformedError):
        base58.decode("z" * 100_000)


def test_points_of_the_curve() -> None:
    for i in range(20):
        assert edwards.is_point(crypto.provider().ed25519_public(bytes([i]) * 32))
    assert edwards.is_point(b"\x01" + bytes(31)), "the neutral element has y = 1"
    assert not edwards.is_point(NOT_A_POINT)
    assert not edwards.is_point(b"")


def test_node_address_ends_where_it_says() -> None:
    address = NodeAddress("2001:db8::1", 9000)
    reader = Reader(address.pack() + b"rest")
    assert NodeAddress.pull(reader) == address
    assert reader.pull_rest() == b"rest"
    assert str(address) == "[2001:db8::1]:9000"
    assert str(NodeAddress("1.2.3.4", 5)) == "1.2.3.4:5"


@pytest.mark.parametrize(
    "data", ["", "04", "0406fd7f0000", "0606fd" + "00" * 15, "05" + "00" * 31, "00" * 32]
)
def test_node_address_refused(data: str) -> None:
    with pytest.raises(MalformedError):
        NodeAddress.unpack(bytes.fromhex(data))
    with pytest.raises(MalformedError):
        NodeAddress.pull(Reader(bytes.fromhex(data)))


def test_node_address_that_cannot_be_packed() -> None:
    for address in (NodeAddress("example.com", 1), NodeAddress("1.2.3.4", 70000)):
        with pytest.raises(ValueError, match=r"address|port"):
            address.pack()
    with pytest.raises(ValueError, match="19"):
        NodeAddress("::1", 1).pack_padded(18)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("@", "."),
        lambda text: text.replace(".", "@"),
        lambda text: text + "@" + text.split("@")[1],
        lambda text: "a." + text,
        lambda text: text[1:],
        lambda text: text.replace("@", " @"),
        lambda text: "",
        lambda text: text.split("@")[0],
    ],
)
def test_recipient_text_refused(change) -> None:  # type: ignore[no-untyped-def]
    text = str(recipient())
    assert Recipient.parse(text) == recipient()
    with pytest.raises(MalformedError):
        Recipient.parse(change(text))


def test_recipient_keys_must_be_points() -> None:
    with pytest.raises(MalformedError):
        Recipient.from_bytes(NOT_A_POINT + bytes(32) + POINT)
    with pytest.raises(MalformedError):
        Recipient.from_bytes(POINT + bytes(32) + NOT_A_POINT)
    for length in (0, 95, 97):
        with pytest.raises(MalformedError):
            Recipient.from_bytes(bytes(length))


def test_client_keys_survive_storage_and_stay_secret() -> None:
    keys = ClientKeys.generate(lambda n: bytes(range(n)))
    again = ClientKeys.from_bytes(keys.to_bytes())
    assert again == keys
    assert keys.recipient(POINT) == Recipient(keys.identity, keys.encryption, POINT)
    for secret in (keys.identity_seed, keys.encryption_secret, keys.ack_key):
        assert repr(secret)[2:-1] not in repr(keys)
    with pytest.raises(MalformedError):
        ClientKeys.from_bytes(keys.to_bytes() + b"x")
