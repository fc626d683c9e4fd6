"""What servers compress is read back exactly, however it is cut; bombs and damage end in typed errors."""

from __future__ import annotations

import contextlib
import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.fetch import BadResponse, BodyTooLarge, body, codings
from smolmix_web.fetch.body import Decoder, decoder_for
from smolmix_web.fetch.headers import with_defaults

zstd = codings._find_module("compression.zstd", "backports.zstd")

TEXT = b"".join(b"line %d of a text that compresses well\n" % number for number in range(3000))


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def quick_brotli(data: bytes) -> bytes:
    compressed: bytes = brotli.compress(data, quality=3)
    return compressed


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "gzip members": ("gzip", lambda data: gzip.compress(data[:999]) + gzip.compress(data[999:])),
    "gzip and padding": ("gzip", lambda data: gzip.compress(data) + bytes(40)),
    "gzip and garbage": ("gzip", lambda data: gzip.compress(data) + b"\r\nmore"),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", lambda data: zstd.compress(data)),
    "zstd frames": ("zstd", lambda data: zstd.compress(data[:999]) + zstd.compress(data[999:])),
    "gzip in br": ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
    "twice zstd": ("zstd, identity, zstd", lambda data: zstd.compress(zstd.compress(data))),
}


def decode(decoder: Decoder, encoded: bytes, step: int, max_bytes: int = 4096) -> bytes:
    out = bytearray()
    for start in range(0, len(encoded), step):
        decoder.feed(encoded[start : start + step])
        while piece := decoder.read(max_bytes):
            out += piece
    decoder.finish()
    return bytes(out)


async def new_decoder(*values: str) -> Decoder:
    decoder = await decoder_for(list(values))
    assert decoder is not None
    return decoder


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
async def test_every_coding_gives_back_what_was_encoded(kind: str, step: int) -> None:
    name, encode = ENCODERS[kind]
    assert decode(await new_decoder(name), encode(TEXT), step) == TEXT
    assert decode(await new_decoder(name), encode(b""), step) == b""


@pytest.mark.parametrize("kind", ENCODERS)
async def test_a_body_that_stops_early_is_incomplete(kind: str) -> None:
    name, encode = ENCODERS[kind]
    encoded = encode(TEXT)
    if "and" in kind:
        pytest.skip("what follows is ignored")
    with pytest.raises(BadResponse):
        decode(await new_decoder(name), encoded[:-1], 100)
    with pytest.raises(BadResponse):
        decode(await new_decoder(name), encoded[: len(encoded) // 2], 100)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd", "gzip, br"])
async def test_a_body_without_a_byte_is_complete(name: str) -> None:
    (await new_decoder(name)).finish()


@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
async def test_bombs_are_stopped_with_bounded_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "RATIO_FREE_BYTES", 8 << 20)
    encode = {"gzip": gzip.compress, "br": quick_brotli, "zstd": zstd.compress}[name]
    once = encode(bytes(64 << 20))
    for encoded, header in (
        (once, name),
        (encode(once), f"{name}, {name}"),
    ):
        decoder = await new_decoder(header)
        decoder.feed(encoded)
        tracemalloc.start()
        got, stopped = 0, False
        while not stopped:
            try:
                got += len(decoder.read(65536))
            except BodyTooLarge:
                stopped = True
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert got <= max(8 << 20, 200 * len(encoded))
        assert peak < 1 << 20, "decoded ahead of what was read"


async def test_a_zstd_frame_with_a_window_beyond_8_mib_is_refused() -> None:
    parameter = zstd.CompressionParameter
    options = {parameter.window_log: 27, parameter.content_size_flag: 0, parameter.compression_level: 3}
    compressor = zstd.ZstdCompressor(options=options)
    encoded = compressor.compress(random.Random(1).randbytes(100_000)) + compressor.flush()
    with pytest.raises(BadResponse):
        decode(await new_decoder("zstd"), encoded, 1 << 20)


@given(name=st.sampled_from(["gzip", "deflate", "br", "zstd"]), junk=st.binary(min_size=1, max_size=300))
@settings(max_examples=200)
async def test_junk_never_gives_more_than_a_typed_error(name: str, junk: bytes) -> None:
    decoder = await new_decoder(name)
    with contextlib.suppress(BadResponse):
        decode(decoder, junk, 50)


@pytest.mark.parametrize("values", [[], [""], ["identity"], ["rot13"], ["gzip, rot13"], ["compress"]])
async def test_what_is_unknown_passes_as_it_is(values: list[str]) -> None:
    assert await decoder_for(values) is None


async def test_absurdly_many_codings_are_refused() -> None:
    with pytest.raises(BadResponse):
        await decoder_for(["gzip, gzip", "gzip, gzip", "gzip"])


def test_servers_are_offered_what_can_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dict(with_defaults([], "h"))["accept-encoding"] == "gzip, deflate, br, zstd"
    assert dict(with_defaults([("range", "bytes=0-9")], "h"))["accept-encoding"] == "identity"
    assert dict(with_defaults([("accept-encoding", "br")], "h"))["accept-encoding"] == "br"
    monkeypatch.delitem(codings._CODINGS, "br")
    assert dict(with_defaults([], "h"))["accept-encoding"] == "gzip, deflate, zstd"


async def test_a_registered_coding_is_loaded_before_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    async def prepare() -> None:
        loaded.append("br")

    monkeypatch.setitem(codings._CODINGS, "br", codings.Available(lambda: codings.Brotli(brotli), prepare))
    assert decode(await new_decoder("br"), brotli.compress(TEXT), 1000) == TEXT
    assert loaded == ["br"]
