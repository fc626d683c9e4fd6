"""The worker's side of the page boundary.

:mod:`.messages` twins worker/protocol.js, :mod:`.handlers` has one coroutine per message kind and runs
anywhere, :mod:`.buffers` and :mod:`.entry` touch JavaScript and run in Pyodide only.
"""
