"""Mozilla's roots: in the wheel after a build, from certifi in a checkout."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from smolmix_web.errors import OptionError
from smolmix_web.tls import roots
from smolmix_web.tls.certificates.pem import decode_pem

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    roots.bundled_pem.cache_clear()
    yield
    roots.bundled_pem.cache_clear()


def test_a_built_wheel_carries_the_roots(tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(PROJECT))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("smolmix_web/tls/roots.pem") == Path(certifi.where()).read_bytes()


def test_a_checkout_reads_certifi() -> None:
    assert len(decode_pem(roots.bundled_pem())) > 100


def test_packaged_roots_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(b"packaged")
    monkeypatch.setattr(roots, "FOLDER", str(tmp_path))
    assert roots.bundled_pem() == b"packaged"


def test_without_any_roots_the_option_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(roots, "FOLDER", str(tmp_path))
    monkeypatch.setattr(roots, "import_module", missing)
    with pytest.raises(OptionError) as caught:
        roots.bundled_pem()
    assert caught.value.field == "bundled_roots"
