"""Every Python and shell block: a document's programs and commands in order, and parts of programs."""

from __future__ import annotations

import ast
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from docs.blocks import BLOCKS, DOCUMENTS, Block, blocks_of, select
from smolmix_web.adapters.blocking import BlockingTunnel

LIMIT = 100.0
"""Seconds for one block on a slow machine; most take two."""

SAYS_IT_RUNS = "Ctrl-C ends it."
WAYS = {"python": ((), ("tunnel",)), "sh": ((), ("running",), ("checked",))}
"""The words that a fence of each language may have."""


def test_every_block_is_run_or_checked() -> None:
    for block in BLOCKS:
        assert block.language in ("python", "sh", "js", "html", "json", "text"), f"{block.name}: which?"
        assert block.words in WAYS.get(block.language, ((),)), block.name


pytestmark = pytest.mark.timeout(300)

# -- programs and commands ---------------------------------------------------------------------------------


def programs(document: Path) -> list[Block]:
    wanted = (("python", ()), ("sh", ()), ("sh", ("running",)))
    return [block for block in blocks_of(document) if (block.language, block.words) in wanted]


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if programs(one)], ids=lambda one: one.stem)
def test_programs(document: Path, environment: Callable[[Path], dict[str, str]], tmp_path: Path) -> None:
    """One folder for a document: what a command leaves there, a later block may use."""
    variables = environment(tmp_path)
    with ExitStack() as running:
        for block in with_free_ports(programs(document)):
            if block.words == ("running",):
                keep_running(block, variables, tmp_path, running)
            else:
                run(block, variables, tmp_path)


def with_free_ports(blocks: list[Block]) -> list[Block]:
    """The ports that the blocks listen on may be in use here: others stand for them, in every block alike."""
    ports = {port for block in blocks for port in re.findall(r"--listen 127\.0\.0\.1:(\d+)", block.text)}
    with ExitStack() as held:
        free = {}
        for port in ports:
            listening = held.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            free[port] = str(listening.getsockname()[1])

    def moved(text: str) -> str:
        return re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda found: free.get(found[0], found[0]), text)

    return [replace(block, text=moved(block.text)) for block in blocks]


def run(block: Block, variables: dict[str, str], folder: Path) -> None:
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    if block.language == "python":
        program = folder / f"{block.name}.py"
        program.write_text(block.text)
        command = [sys.executable, str(program)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{block.name}: {done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, f"{block.name}: {done.stderr}"


def keep_running(block: Block, variables: dict[str, str], folder: Path, running: ExitStack) -> None:
    """Start a command that runs until Ctrl-C, and wait until it says so; it ends with the stack."""
    said = folder / f"{block.name}.log"
    with said.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {block.text}"],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running.callback(stop, process, block)
    ends_at = time.monotonic() + LIMIT
    while SAYS_IT_RUNS not in said.read_text():
        assert process.poll() is None, f"{block.name}: {said.read_text()}"
        assert time.monotonic() < ends_at, f"{block.name}: {said.read_text()}"
        time.sleep(0.1)


def stop(process: subprocess.Popen[bytes], block: Block) -> None:
    """Ctrl-C, which must end it in order."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        assert process.wait(30) == 0, block.name
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


# -- parts of programs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", select("python", "tunnel"), ids=lambda block: block.name)
def test_part_of_a_program(block: Block, blocking: BlockingTunnel) -> None:
    code = compile(block.text, block.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def evaluate(code: CodeType, names: dict[str, Any]) -> None:
        result = eval(code, names)  # None where nothing is awaited
        if inspect.isawaitable(result):
            await result

    blocking.run(evaluate(code, {"tunnel": blocking.tunnel}))
