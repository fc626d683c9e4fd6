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
    # Installs packages of many formats; here one archive is unpacked, which holds its files as they are.
    "pyodide/_package_loader.py": b"""
import os
import struct
from pyodide_js import loadedPackages  # snapshots expect it to be held
class Folder:
    def __init__(self, path):
        self.path = path
    def __str__(self):
        return self.path
SITE_PACKAGES = Folder("/lib/python3.14/site-packages")
DSO_DIR = Folder("/usr/lib")
def init_loaded_packages():
    pass
def get_install_dir(target=None):
    return str(DSO_DIR if target == "dynlib" else SITE_PACKAGES)
def unpack_buffer(buffer, *, extract_dir, **more):
    data = memoryview(buffer.to_bytes())
    position = 0
    while data[position : position + 4] == b"PK\x03\x04":
        flags, method = struct.unpack_from("<HH", data, position + 6)
        size, whole, name_size, extra_size = struct.unpack_from("<IIHH", data, position + 18)
        if flags & 8 or method or size != whole:
            raise ValueError("the archive is compressed")
        start = position + 30 + name_size + extra_size
        path = os.path.join(extract_dir, str(data[position + 30 : position + 30 + name_size], "utf-8"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data[start : start + size])
        position = start + size
""",
    # Asks for the versions of optional packages; none of them is there.
    "dns/_features.py": b"""
def have(feature):
    return False
""",
}
