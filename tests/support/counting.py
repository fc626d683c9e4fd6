"""A provider that counts what it is asked for: effort that no busy machine can change."""

from __future__ import annotations

from collections import Counter
from typing import Any

from smolmix_web.crypto import Provider


class CountingProvider:
    """Passes everything on; :attr:`calls` has the number of calls by method, keys' own methods included.

    :param name: whom to look like; as ``npm`` our own certificate verifier is used.
    """

    def __init__(self, provider: Provider, *, name: str | None = None) -> None:
        self._counted = _Counted(provider, Counter())
        self.name = name or provider.name

    @property
    def calls(self) -> Counter[str]:
        return self._counted.calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._counted, name)


class _Counted:
    def __init__(self, inner: Any, calls: Counter[str]) -> None:
        self.inner, self.calls = inner, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            result = found(*arguments, **named)
            is_key = hasattr(result, "exchange") or hasattr(result, "decapsulate")
            return _Counted(result, self.calls) if is_key else result

        return counted
