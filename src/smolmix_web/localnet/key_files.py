"""A node's Sphinx keys on disk (spec nodes.md 7), and what it remembers of the packets made for them.

Files and format of the keys are those of official nodes: ``x25519_sphinx_primary`` and ``..._secondary``, PEM
with the label ``X25519 SPHINX PRIVATE KEY``, content ``rotation id u32 || secret``. The replay filters beside
them are ours: without them a restarted node would take every packet of its earlier life once more.
"""

from __future__ import annotations

import base64
import binascii
import os
import zlib
from pathlib import Path

from smolmix_web.errors import LocalProtocolError
from smolmix_web.localnet.sphinx_keys import RotationKey, SphinxKeyring

_LABEL = "X25519 SPHINX PRIVATE KEY"
_PRIMARY, _SECONDARY = "x25519_sphinx_primary", "x25519_sphinx_secondary"


def load_keyring(directory: Path) -> SphinxKeyring | None:
    """The keyring saved there, if any. :raises LocalProtocolError: a file is damaged."""
    primary = directory / _PRIMARY
    if not primary.exists():
        return None
    keyring = SphinxKeyring.from_keys(_load_key(primary), None)
    secondary = directory / _SECONDARY
    if secondary.exists():
        keyring = SphinxKeyring.from_keys(keyring.primary, _load_key(secondary))
    return keyring


def save_keyring(directory: Path, keyring: SphinxKeyring) -> None:
    """Write keys and filters, all readable by the owner only, and remove those of forgotten rotations."""
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / _PRIMARY, _emit_pem(keyring.primary))
    kept = {_replay_path(directory, keyring.primary)}
    if keyring.secondary is not None:
        _write(directory / _SECONDARY, _emit_pem(keyring.secondary))
        kept.add(_replay_path(directory, keyring.secondary))
    else:
        (directory / _SECONDARY).unlink(missing_ok=True)
    for key in (keyring.primary, keyring.secondary):
        if key is not None:
            _write(_replay_path(directory, key), zlib.compress(key.replay.to_bytes(), 1))
    for path in set(directory.glob("replay-*")) - kept:
        path.unlink()


def _load_key(path: Path) -> RotationKey:
    lines = path.read_text("ascii", "replace").split("\n")
    try:
        if lines[0] != f"-----BEGIN {_LABEL}-----" or f"-----END {_LABEL}-----" not in lines:
            raise ValueError
        content = base64.b64decode("".join(lines[1 : lines.index(f"-----END {_LABEL}-----")]), validate=True)
        if len(content) != 36:
            raise ValueError
    except (ValueError, binascii.Error):
        raise LocalProtocolError(f"{path.name} holds no Sphinx key") from None
    key = RotationKey.from_secret(int.from_bytes(content[:4], "big"), content[4:])
    replay = _replay_path(path.parent, key)
    if replay.exists():
        try:
            key.replay.restore(zlib.decompress(replay.read_bytes()))
        except (zlib.error, ValueError):
            raise LocalProtocolError(f"{replay.name} holds no replay filter") from None
    return key


def _emit_pem(key: RotationKey) -> bytes:
    content = base64.b64encode(key.rotation_id.to_bytes(4, "big") + key.secret).decode("ascii")
    return f"-----BEGIN {_LABEL}-----\n{content}\n-----END {_LABEL}-----\n".encode()


def _replay_path(directory: Path, key: RotationKey) -> Path:
    return directory / f"replay-{key.rotation_id}"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, whatever happens meanwhile."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)
