"""What our own kernel knows of a connection's path."""

import socket
import struct

import pytest

from probe.surfaces.path import lost_by, packets_lost

INFO_BYTES = 232


def info_of(*, sent_again: int = 0, had_twice: int = 0, out_of_order: int = 0, length: int = INFO_BYTES) -> bytes:
    """Make a struct tcp_info (linux/tcp.h) with these counts."""
    whole = bytearray(INFO_BYTES)
    for at, count in ((100, sent_again), (216, had_twice), (224, out_of_order)):
        struct.pack_into("=I", whole, at, count)
    return bytes(whole[:length])


@pytest.mark.parametrize(
    ("info", "lost"),
    [
        (info_of(), 0),
        (info_of(sent_again=2), 2),
        (info_of(sent_again=1, had_twice=1), 0),
        (info_of(sent_again=3, had_twice=1), 2),
        (info_of(sent_again=1, had_twice=2), 0),
        (info_of(sent_again=1, had_twice=1, out_of_order=2), 2),
        (info_of(sent_again=2, had_twice=2, length=216), 2),
        (info_of(sent_again=2, length=100), 0),
    ],
)
def test_a_packet_that_the_peer_had_twice_was_not_lost(info: bytes, lost: int) -> None:
    """A busy server that acknowledges late makes our kernel send again; an older kernel can't tell them apart."""
    assert lost_by(info) == lost


def test_a_sound_connection_has_lost_nothing() -> None:
    """On a real connection the counts are where they are looked for."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            for _ in range(50):
                client.sendall(b"x" * 1000)
                accepted.recv(1000)
            assert packets_lost(client) == 0
