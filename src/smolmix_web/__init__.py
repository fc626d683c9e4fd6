"""HTTP, WebSocket and DNS for pages and programs, carried through the Nym mixnet."""

__version__ = "0.1.0"
