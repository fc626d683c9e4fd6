"""The TCP simulator's tables: goodput over the grid of round trip, loss, jitter and faults, and by policy.

    python bench/tcp_simulator.py            print the tables
    python bench/tcp_simulator.py --write    and store them in tests/sim/snapshots/ (commit the difference)
    python bench/tcp_simulator.py --seeds N  N transfers with random paths, every byte compared

Everything is virtual time from a seed, so a table changes only when the code's behaviour does.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path as File

ROOT = File(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from smolmix_web.net import TcpOptions  # noqa: E402
from support.netsim import Path, Result, Simulator  # noqa: E402

SNAPSHOTS = ROOT / "tests" / "sim" / "snapshots"

# The pace of a mixnet exit: packets a second, whatever their size. 20 MB take 72 s at this rate.
RATE = 200.0
PAYLOAD = 1_448  # bytes a packet carries: 1,500 less IPv4, TCP and timestamps
SIZE = 20_000_000
ROUND_TRIPS = (0.1, 0.3, 1.0, 2.0)
LOSSES = (0.0, 0.01, 0.02, 0.05)
JITTERS = (0.0, 0.03, 0.06, 0.12)
FAULTS = (0.0, 0.01)  # duplication and corruption alike

LIMITED = TcpOptions(
    congestion_control="reno",
    window_scale=False,
    timestamps=False,
    sack=False,
    rack=False,
    sparse_acks=False,
    receive_buffer_limit=65_535,
    receive_buffer_initial=65_535,
)
POLICIES = {
    "mixnet": TcpOptions(),
    "cubic": TcpOptions(congestion_control="cubic"),
    "reno": TcpOptions(congestion_control="reno"),
    "limited": LIMITED,
}
POLICY_PATHS = ((0.1, 0.03, 0.0), (0.3, 0.03, 0.01), (1.0, 0.06, 0.0), (1.0, 0.06, 0.02), (2.0, 0.06, 0.01))


def cell(
    round_trip: float,
    jitter: float,
    loss: float,
    fault: float = 0.0,
    *,
    size: int = SIZE,
    options: TcpOptions | None = None,
    seed: int = 1,
) -> Result:
    """One download over one path."""
    path = Path(
        delay=round_trip / 2, jitter=jitter, loss=loss, duplication=fault, corruption=fault, rate=RATE
    )
    return Simulator(path, seed=seed, client_options=options).transfer(size, deadline=20_000.0)


def percent(result: Result) -> float:
    """Goodput as a share of what the path's packets could carry."""
    return 100 * result.goodput / (RATE * PAYLOAD)


def describe(result: Result) -> str:
    """``goodput % / retransmitted % / ACKs per 100 data packets``."""
    if not result.intact:
        return f"broken ({result.error})"
    sent = max(result.data_packets, 1)
    return (
        f"{percent(result):.0f}/{100 * result.retransmitted / sent:.1f}/{100 * result.ack_packets / sent:.0f}"
    )


def grid() -> list[str]:
    lines = [
        "# goodput % of the path / retransmitted % / ACKs per 100 data packets;"
        f" {SIZE // 1_000_000} MB at {RATE:.0f} packets/s, seed 1",
        "\t".join(["rtt_s", "jitter_ms", "faults_%", *(f"loss_{100 * loss:.0f}%" for loss in LOSSES)]),
    ]
    for fault in FAULTS:
        for round_trip in ROUND_TRIPS:
            for jitter in JITTERS:
                cells = [describe(cell(round_trip, jitter, loss, fault)) for loss in LOSSES]
                lines.append("\t".join([f"{round_trip:g}", f"{1000 * jitter:g}", f"{100 * fault:g}", *cells]))
                print(lines[-1], flush=True)
    return lines


def policies() -> list[str]:
    lines = [
        "# goodput % of the path / retransmitted % / ACKs per 100 data packets; 5 MB, seed 1;"
        " limited: 65,535-byte window, no scaling, SACK, RACK or timestamps",
        "\t".join(["rtt_s", "jitter_ms", "loss_%", *POLICIES]),
    ]
    for round_trip, jitter, loss in POLICY_PATHS:
        cells = [
            describe(cell(round_trip, jitter, loss, size=5_000_000, options=options))
            for options in POLICIES.values()
        ]
        lines.append("\t".join([f"{round_trip:g}", f"{1000 * jitter:g}", f"{100 * loss:g}", *cells]))
        print(lines[-1], flush=True)
    return lines


def random_transfer(seed: int) -> Result:
    """A small transfer over a path drawn from the seed, with everything that can go wrong."""
    rnd = random.Random(seed)
    path = Path(
        delay=rnd.choice((0.001, 0.05, 0.3)),
        jitter=rnd.choice((0.0, 0.01, 0.1)),
        loss=rnd.choice((0.0, 0.02, 0.1)),
        duplication=rnd.choice((0.0, 0.05)),
        corruption=rnd.choice((0.0, 0.05)),
        rate=rnd.choice((None, 100.0, 1_000.0)),
        queue=rnd.choice((20, 1_000)),
        mtu=rnd.choice((576, 1_280, 1_500)),
    )
    options = [
        TcpOptions(
            congestion_control=rnd.choice(("mixnet", "cubic", "reno")),
            window_scale=rnd.random() < 0.7,
            timestamps=rnd.random() < 0.7,
            sack=rnd.random() < 0.7,
            rack=rnd.random() < 0.8,
            sparse_acks=rnd.random() < 0.7,
            no_delay=rnd.random() < 0.7,
            user_timeout=600.0,
        )
        for _ in range(2)
    ]
    # IPv6 needs an MTU of 1,280.
    sim = Simulator(
        path,
        seed=seed,
        client_options=options[0],
        server_options=options[1],
        ipv6=path.mtu >= 1_280 and rnd.random() < 0.5,
    )
    return sim.transfer(rnd.randrange(1, 120_000), download=rnd.random() < 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store the tables in tests/sim/snapshots/")
    parser.add_argument("--seeds", type=int, default=0, help="run this many random transfers instead")
    arguments = parser.parse_args()
    start = time.monotonic()
    if arguments.seeds:
        for seed in range(arguments.seeds):
            result = random_transfer(seed)
            if not result.intact:
                raise SystemExit(f"seed {seed}: {result}")
        print(f"{arguments.seeds} transfers intact in {time.monotonic() - start:.0f} s")
        return
    for name, table in (("policies.tsv", policies), ("goodput.tsv", grid)):
        lines = table()
        if arguments.write:
            SNAPSHOTS.mkdir(parents=True, exist_ok=True)
            (SNAPSHOTS / name).write_text("\n".join(lines) + "\n")
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
