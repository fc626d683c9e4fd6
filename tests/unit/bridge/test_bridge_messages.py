"""Worker and page know the same message kinds, and nothing of a message is lost in crossing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from smolmix_web.bridge.messages import (
    PROTOCOL_VERSION,
    TO_PAGE,
    TO_WORKER,
    Abort,
    DemandMessage,
    EventMessage,
    Fetch,
    ResultMessage,
    Upload,
    camel_case,
    describe,
    emit_message,
    parse_message,
    snake_case,
)
from smolmix_web.errors import DeadlineError, LocalProtocolError, NetworkError, OptionError

PROTOCOL_JS = Path(__file__).parents[3] / "worker" / "protocol.js"


@pytest.fixture(scope="module")
def protocol_js() -> dict[str, dict[str, list[str]]]:
    """The tables of protocol.js, as Node reads them."""
    node = shutil.which("node")
    assert node, "Node is needed (README: requirements)"
    script = (
        f"import({json.dumps(PROTOCOL_JS.as_uri())}).then(m => console.log(JSON.stringify("
        "{worker: m.TO_WORKER, page: m.TO_PAGE, version: m.PROTOCOL_VERSION})))"
    )
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    tables: dict[str, dict[str, list[str]]] = json.loads(done.stdout)
    return tables


def test_kinds_to_the_worker_are_those_of_protocol_js(protocol_js):
    theirs = dict(protocol_js["worker"])
    assert theirs.pop("boot")  # boot.js serves it
    ours = {
        kind: [camel_case(item.name) for item in dataclasses.fields(message)]
        for kind, message in TO_WORKER.items()
    }
    assert ours == theirs


def test_kinds_to_the_page_are_those_of_protocol_js(protocol_js):
    ours = {
        # The buffer of a result travels beside the JSON.
        kind: [camel_case(item.name) for item in dataclasses.fields(message) if item.name != "data"]
        for kind, message in TO_PAGE.items()
    }
    assert ours == protocol_js["page"]


def test_version_is_that_of_protocol_js(protocol_js):
    assert protocol_js["version"] == PROTOCOL_VERSION


def test_fetch_with_a_body_takes_the_buffer():
    text = json.dumps(
        {
            "kind": "fetch",
            "id": 7,
            "url": "http://site.test/",
            "method": "POST",
            "headers": [["a", "1"], ["a", "2"]],
            "body": None,
            "redirect": "follow",
            "maxRedirects": None,
            "timeout": 1500,
            "timeouts": {"firstByte": 200},
            "credentials": True,
        }
    )
    message = parse_message(text, b"\x00\xff")
    assert message == Fetch(
        id=7,
        url="http://site.test/",
        method="POST",
        headers=[("a", "1"), ("a", "2")],
        body=b"\x00\xff",
        redirect="follow",
        max_redirects=None,
        timeout=1500,
        timeouts={"firstByte": 200},
        credentials=True,
    )


def test_end_of_an_upload_has_no_buffer():
    text = '{"kind":"upload","target":3,"data":null,"error":null}'
    assert parse_message(text, None) == Upload(3, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"kind":"nothing"}',
        '{"kind":"abort"}',
        '{"kind":"abort","target":1,"more":2}',
        '{"kind":["abort"],"target":1}',
        '{"kind":"fetch","id":1,"headers":5}',
    ],
)
def test_what_is_no_message_is_refused(text):
    with pytest.raises(LocalProtocolError):
        parse_message(text, None)


def test_a_buffer_beside_a_message_that_has_none_is_refused():
    with pytest.raises(LocalProtocolError):
        parse_message('{"kind":"abort","target":1}', b"x")
    assert parse_message('{"kind":"abort","target":1}', None) == Abort(1)


def test_result_keeps_its_bytes_out_of_the_json():
    text, data = emit_message(ResultMessage(4, {"a": 1}, b"bytes"))
    assert json.loads(text) == {"kind": "result", "id": 4, "value": {"a": 1}}
    assert data == b"bytes"


def test_field_names_are_camel_case():
    text, data = emit_message(DemandMessage(4, 65536))
    assert json.loads(text) == {"kind": "demand", "target": 4, "maxBytes": 65536}
    assert data is None


def test_infinity_and_nan_become_null():
    text, _ = emit_message(EventMessage("stats", {"rto": float("inf"), "deep": [float("nan"), 1.5]}))
    assert json.loads(text)["detail"] == {"rto": None, "deep": [None, 1.5]}


def test_dataclasses_inside_details_become_objects():
    @dataclasses.dataclass
    class Counters:
        packets_sent: int = 5

    text, _ = emit_message(EventMessage("stats", {"nym": Counters()}))
    assert json.loads(text)["detail"] == {"nym": {"packetsSent": 5}}


@pytest.mark.parametrize("name", ["id", "max_bytes", "a_b_c", "ipv4_address"])
def test_names_survive_both_conversions(name):
    assert snake_case(camel_case(name)) == name


def test_described_errors_keep_what_a_page_can_act_on():
    assert describe(OptionError("clientId", "too long")).field == "clientId"
    timeout = describe(DeadlineError("exit connect", 2.5))
    assert (timeout.code, timeout.phase, timeout.retriable) == ("TIMEOUT", "exit connect", True)
    assert describe(NetworkError("gone")).code == "NETWORK"


def test_texts_of_unexpected_errors_stay_inside():
    failure = describe(KeyError("secret value"))
    assert failure.code == "INTERNAL"
    assert "secret" not in failure.message
