"""Modules that a browser cannot use, reduced to what those that import them look at.

Pyodide's event loop is the browser's own: no selectors, processes or signals are under it; our TLS is not
the standard library's; and there is one locale. Used inside Pyodide, at build time only.
"""

from __future__ import annotations

REPLACED = {
    "asyncio/unix_events.py": b"""
from . import events
__all__ = ()
class _DefaultEventLoopPolicy(events._BaseDefaultEventLoopPolicy):
    pass
""",
    "asyncio/sslproto.py": b"""
class SSLProtocol:
    def __init__(self, *arguments, **more):
        raise NotImplementedError("asyncio's own TLS is not in these assets")
""",
    "ssl.py": b"""
raise ImportError("TLS is smolmix_web.tls")
""",
    "locale.py": b"""
LC_CTYPE, LC_NUMERIC, LC_TIME, LC_COLLATE, LC_MONETARY, LC_MESSAGES, LC_ALL = range(7)
Error = ValueError
def getlocale(category=LC_CTYPE):
    return None, "UTF-8"
def setlocale(category, locale=None):
    return "C"
def getencoding():
    return "utf-8"
def getpreferredencoding(do_setlocale=True):
    return "utf-8"
""",
    "subprocess.py": b"""
PIPE, STDOUT, DEVNULL = -1, -2, -3
def Popen(*arguments, **more):
    raise NotImplementedError("a browser has no processes")
""",
    # importlib.invalidate_caches looks here.
    "importlib/metadata/__init__.py": b"""
class MetadataPathFinder:
    @classmethod
    def invalidate_caches(cls):
        pass
""",
    # Asks for the versions of optional packages; none of them is there.
    "dns/_features.py": b"""
def have(feature):
    return False
""",
}
