"""Padding, and the wide block."""

from __future__ import annotations

import pytest

from smolmix_web.errors import CryptoError, LocalProtocolError, MalformedError
from smolmix_web.sphinx.payload import decrypt_payload, encrypt_payload, pad_payload, unpad_payload

KEYS = [bytes((index,)) * 192 for index in range(1, 5)]


@pytest.mark.parametrize(
    ("message", "padded"),
    [
        (b"", b"\0" * 16 + b"\x01" + b"\0" * 23),
        (b"\x01", b"\0" * 16 + b"\x01\x01" + b"\0" * 22),
        (b"\x01\0\0", b"\0" * 16 + b"\x01\0\0\x01" + b"\0" * 20),
        (b"m" * 23, b"\0" * 16 + b"m" * 23 + b"\x01"),
    ],
)
def test_padding_both_ways(message: bytes, padded: bytes) -> None:
    assert pad_payload(message, 40) == padded
    assert unpad_payload(padded) == message


def test_what_does_not_fit_is_misuse() -> None:
    with pytest.raises(LocalProtocolError):
        pad_payload(b"m" * 24, 40)


def test_padding_without_its_zeros_was_changed() -> None:
    for position in range(16):
        padded = bytearray(pad_payload(b"message", 40))
        padded[position] = 1
        with pytest.raises(CryptoError):
            unpad_payload(bytes(padded))


def test_padding_without_its_mark_is_malformed() -> None:
    for padded in (bytes(40), bytes(16), bytes(17), bytes(16) + b"\x02" * 24):
        with pytest.raises(MalformedError):
            unpad_payload(padded)


@pytest.mark.parametrize("length", [33, 38, 64, 2065])
def test_layers_come_off_in_reverse_order(length: int) -> None:
    block = bytes(index % 251 for index in range(length))
    wrapped = encrypt_payload(KEYS, block)
    assert len(wrapped) == length
    for key in reversed(KEYS):
        wrapped = decrypt_payload(key, wrapped)
    assert wrapped == block


@pytest.mark.parametrize("position", [0, 31, 32, 99])
def test_one_bit_changes_the_whole_block(position: int) -> None:
    block = bytearray(100)
    sealed = bytearray(encrypt_payload(KEYS[:1], bytes(block)))
    sealed[position] ^= 1
    opened = decrypt_payload(KEYS[0], bytes(sealed))
    changed_bits = int.from_bytes(opened, "big").bit_count()
    assert 300 < changed_bits < 500  # of 800; 400 expected, standard deviation 14
