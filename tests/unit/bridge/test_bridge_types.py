"""The options of a tunnel have the same names in Python, in the page's types and in the playground's form."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from smolmix_web.options import TunnelOptions, camel_case

ROOT = Path(__file__).parents[3]
PAGE_OPTIONS = {"assets", "assetsIntegrity", "cryptoProvider"}
OPTIONS = {camel_case(item.name) for item in fields(TunnelOptions)}


def test_types_name_every_option():
    types = (ROOT / "worker" / "smolmix.d.ts").read_text()
    body = re.search(r"export interface MixTunnelOptions \{(.*?)\n\}", types, re.DOTALL)
    assert body
    assert set(re.findall(r"^  (\w+)\?:", body[1], re.MULTILINE)) == OPTIONS | PAGE_OPTIONS


def test_types_name_the_defaults():
    """A default that the types mention is the one that Python has."""
    types = (ROOT / "worker" / "smolmix.d.ts").read_text()
    options = TunnelOptions()
    for item in fields(TunnelOptions):
        comment = re.search(rf"/\*\*([^/]*?)\*/\s+{camel_case(item.name)}\?:", types)
        assert comment, item.name
        said = re.search(r"Default (?:`([^`]+)`|(\w+))", comment[1])
        if said:
            value = getattr(options, item.name)
            expected = str(value).lower() if isinstance(value, bool) else str(value)
            assert (said[1] or said[2]) == expected, item.name


def test_playground_has_a_field_for_every_option():
    form = (ROOT / "demo" / "options.js").read_text()
    assert set(re.findall(r"name: '(\w+)', type:", form)) == OPTIONS | PAGE_OPTIONS - {
        "assets",
        "assetsIntegrity",
    }
