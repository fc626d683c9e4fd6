"""Samples that the published client accepts, and a fake directory made of them."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAMPLES = Path(__file__).parents[2] / "vectors" / "nym" / "directory"


def sample(name: str) -> Any:
    """A fresh copy of one sample as decoded JSON."""
    return json.loads((_SAMPLES / f"{name}.json").read_text())


@dataclass
class FakeAnswer:
    status: int
    content_type: str
    body: bytes


class FakeDirectory:
    """``get`` for the client functions; answers can be changed, and each request is recorded."""

    def __init__(self) -> None:
        everything = sample("mixnodes")
        everything["nodes"]["data"] += sample("gateways")["nodes"]["data"]
        everything["nodes"]["pagination"] = {"total": 5, "page": 0, "size": 5}
        self.answers: dict[str, Any] = {
            "v2/unstable/nym-nodes/skimmed/entry-gateways": sample("gateways"),
            "v2/unstable/nym-nodes/skimmed/mixnodes/active": sample("mixnodes"),
            "v2/unstable/nym-nodes/skimmed": everything,
            "v1/nym-nodes/rewarded-set": sample("rewarded"),
            "v1/epoch/key-rotation-info": sample("keyrotation"),
            "v2/nym-nodes/described": sample("described"),
        }
        self.requests: list[str] = []

    async def get(self, path: str) -> FakeAnswer:
        self.requests.append(path)
        content = self.answers[path.partition("?")[0]]
        if isinstance(content, list):  # one per page, or one per repetition
            content = content.pop(0) if len(content) > 1 else content[0]
        if isinstance(content, Exception):
            raise content
        if isinstance(content, FakeAnswer):
            return content
        return FakeAnswer(200, "application/json", json.dumps(copy.deepcopy(content)).encode())
