"""The SDK's payload encoding: the lengths that the specification names, and JavaScript agrees with Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import MalformedError
from smolmix_web.tunnel.payload import MixPayload, decode_payload, encode_payload

PAYLOAD_JS = Path(__file__).parents[3] / "worker" / "payload.js"
SAMPLES = (
    MixPayload("text/plain", b"abc"),
    MixPayload("text/plain", b"abc", "test headers"),
    MixPayload('odd "type" \N{EURO SIGN}', bytes(range(256)), ""),
    MixPayload("", b""),
)


def test_lengths_of_the_published_examples() -> None:
    plain, with_headers = map(encode_payload, SAMPLES[:2])
    assert plain == (40).to_bytes(8, "big") + b'{"mimeType":"text/plain","headers":null}abc'
    assert (with_headers[7], len(with_headers)) == (50, 61)


@given(st.text(), st.binary(), st.none() | st.text())
def test_both_ways(mime_type: str, payload: bytes, headers: str | None) -> None:
    content = MixPayload(mime_type, payload, headers)
    try:
        message = encode_payload(content)
    except UnicodeEncodeError:  # half of a surrogate pair is no text
        return
    assert decode_payload(message) == content


def test_headers_may_be_missing() -> None:
    metadata = b'{"mimeType":"a/b"}'
    assert decode_payload(len(metadata).to_bytes(8, "big") + metadata) == MixPayload("a/b", b"")


MALFORMED = [
    b"",
    bytes(7),
    bytes(8),
    b"\xff" * 8 + b"{}",
    bytes(7) + b"\x02{}",
    bytes(7) + b"\x02[]",
    bytes(7) + b"\x04null",
    bytes(7) + b"\x02\xff\xff",
    bytes(7) + b'\x0e{"mimeType":1}',
    bytes(7) + b'\x1c{"mimeType":"a","headers":1}',
]


@pytest.mark.parametrize("message", MALFORMED)
def test_what_is_not_of_this_form(message: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_payload(message)


def test_javascript_does_the_same() -> None:
    node = shutil.which("node")
    assert node, "Node is needed (README: requirements)"
    messages = [list(encode_payload(sample)) for sample in SAMPLES]
    wrong = [list(message) for message in MALFORMED]
    script = f"""
      import({json.dumps(PAYLOAD_JS.as_uri())}).then(({{ decodePayload, encodePayload }}) => {{
        const out = {json.dumps(messages)}.map((message) => {{
          const {{ mimeType, headers, payload }} = decodePayload(new Uint8Array(message));
          return [...new Uint8Array(encodePayload(mimeType, payload, headers))];
        }});
        let refused = 0;
        for (const message of {json.dumps(wrong)}) {{
          try {{ decodePayload(new Uint8Array(message)); }} catch (error) {{
            if (error instanceof TypeError) refused++;
          }}
        }}
        console.log(JSON.stringify([out, refused]));
      }});"""
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [messages, len(MALFORMED)]
