"""A writer that waits for room is told when there is some, wherever the room comes from."""

from __future__ import annotations

from smolmix_web.net.stack import Stack
from smolmix_web.net.tcp.state import State


def test_a_waiting_writer_is_told_of_room_made_by_sending() -> None:
    client = Stack(ipv4="10.0.0.2", ipv6=None, mtu=1420)
    server = Stack(ipv4="10.0.0.1", ipv6=None, mtu=1420)
    listener = server.listen_tcp(None, 80)
    now = 0.0
    connection = client.connect_tcp("10.0.0.1", 80, now)
    accepted = None
    payload = memoryview(bytes(2_000_000))
    received = written = 0
    told = True
    for _ in range(200_000):
        now += 0.001
        for sender, receiver in ((client, server), (server, client)):
            sender.handle_timer(now)
            for packet in sender.packets_to_send(now):
                receiver.receive_packet(packet, now)
        accepted = accepted or listener.accept()
        if accepted is not None:
            received += len(accepted.recv(1 << 20, now))
        told = told or connection in client.take_changed()
        if told and connection.state is State.ESTABLISHED and written < len(payload):
            taken = connection.send(payload[written:], now)
            written += taken
            told = False  # from here on only the stack's word counts
        if received == len(payload):
            break
    assert (written, received) == (len(payload), len(payload))
