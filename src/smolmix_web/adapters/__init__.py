"""The tunnel in the shapes that Python programs already use: blocking calls, asyncio's streams, httpx
and requests.

Nothing is imported here, because httpx and requests are optional (``pip install 'smolmix-web[httpx]'``, or
``[requests]``): import the module that is wanted.
"""
