"""Nodes of another version: the next one and the one before meet this one; who can't is refused quietly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from loglines import LogLines
from mesh_peer import (
    COMPRESSED,
    DRAIN,
    HELLO,
    HIGHEST,
    INTEREST_ACK,
    INTEREST_DIGEST,
    LOWEST,
    MSG,
    PEER_LIST,
    PING,
    PLAIN,
    PONG,
    SUB,
    ZSTD,
    Hello,
    MeshPeer,
    Opening,
    entry,
    fixed,
    listening,
    number,
    peer_list,
    read_hello,
    text,
)
from nodes import address, instance, join, linked, mesh, peer_of, state_of
from support import HOST, PATIENCE, Peer, Running, wait_until

Factory = Callable[..., Running]

SECRET = "a secret of the whole cluster"
LATER = b"\xffa field of a later version"
UNKNOWN_KINDS = [0x00, 0x0C, 0x17, 0x2F, 0x4F, 0x50, 0xFF]

NEXT = Hello(
    LOWEST,
    versions=(1, 2),
    capabilities=2**64 - 1 - ZSTD,
    max_frame=1 << 40,
    flags=0xFE,
    more=LATER,
)
"""Of the next version: it can more, takes more, and says more."""

BEFORE = Hello(LOWEST, versions=(0, 1))
"""Of the version before: it can nothing that is optional."""


@pytest.fixture
def log() -> Iterator[LogLines]:
    with LogLines() as log:
        yield log


def name(node_id: int) -> str:
    """How the node tells a peer's id."""
    return f"{node_id:016x}"


def counts(node: Running, node_id: int) -> None:
    """Waits until a peer counts as connected."""
    wait_until(lambda: name(node_id) in linked(node.server), "the peer is linked")


def skipped(node: Running) -> int:
    """Frames of kinds that the node does not know, so far."""
    return node.server.health_snapshot()["cluster_unknown_message_types"]


def speak(node: Running, client: Peer, peer: MeshPeer, flags: int = 0) -> None:
    """A message goes each way."""
    peer.say(MSG, bytes([PLAIN]) + b"from the peer", "t", flags)
    assert client.receive() == "from the peer"
    node.server.broadcast("t", "from the node")
    assert peer.wait_for_message(b"from the node").topic == "t"
    assert client.receive() == "from the node"


# ---- Versions that meet ----


@pytest.mark.parametrize("secret", [None, SECRET])
@pytest.mark.parametrize("node_id", [LOWEST, HIGHEST])
@pytest.mark.parametrize("hello", [NEXT, BEFORE], ids=["next", "before"])
def test_a_node_of_another_version_that_knows_ours_is_a_node(
    server_factory: Factory, hello: Hello, node_id: int, secret: str | None
) -> None:
    node = server_factory()
    place = join(node.server, cluster_secret=secret)
    client = node.subscriber("t")
    hello = replace(hello, node_id=node_id)
    with MeshPeer.dial(place, Opening(secret.encode() if secret else None)) as peer:
        theirs = peer.meet(hello, more=LATER)
        assert (theirs.versions, theirs.cluster, theirs.capabilities) == ((1, 1), "wse", ZSTD)
        assert theirs.address == place
        counts(node, node_id)
        assert not peer_of(node.server, name(node_id))["leaving"], "flags that are not known mean nothing"
        speak(node, client, peer)


@pytest.mark.parametrize("node_id", [LOWEST, HIGHEST])
def test_a_node_of_the_next_version_is_found_as_any_other(server_factory: Factory, node_id: int) -> None:
    node = server_factory()
    client = node.subscriber("t")
    hello = replace(NEXT, node_id=node_id)
    with listening(lambda peer: peer.meet(hello, more=LATER)) as other:
        join(node.server, other.address)
        counts(node, node_id)
        peer = other.links[0]
        speak(node, client, peer)
        assert len(other.links) == 1, "one link does"


@pytest.mark.parametrize("secret", [None, SECRET])
def test_the_opening_of_a_later_version_says_more(server_factory: Factory, secret: str | None) -> None:
    node = server_factory()
    place = join(node.server, cluster_secret=secret)
    opening = Opening(secret.encode() if secret else None, version=300, flags=0xFE, more=LATER)
    with MeshPeer.dial(place, opening) as peer:
        peer.meet(NEXT)
        counts(node, LOWEST)
    later = server_factory()
    met = threading.Event()

    def serve(peer: MeshPeer) -> None:
        peer.meet(NEXT)
        met.set()

    with listening(serve, opening) as other:
        join(later.server, other.address, cluster_secret=secret)
        assert met.wait(PATIENCE)
        counts(later, LOWEST)


def test_kinds_that_are_not_known_are_skipped_and_counted_wherever_they_come(
    server_factory: Factory,
) -> None:
    node = server_factory()
    place = join(node.server)
    client = node.subscriber("t")

    def say_all(peer: MeshPeer) -> None:
        for kind in UNKNOWN_KINDS:
            peer.say(kind)
            peer.say(kind, b"\xff" * 1000, "a topic", flags=0xFE)

    with MeshPeer.dial(place) as peer:
        say_all(peer)
        peer.meet(NEXT)
        say_all(peer)
        speak(node, client, peer)
        assert skipped(node) == 4 * len(UNKNOWN_KINDS)
        assert len(peer.heard) > 0
        assert not peer.is_over
    metrics = node.server.prometheus_metrics()
    assert f"wse_cluster_unknown_frames_total {4 * len(UNKNOWN_KINDS)}" in metrics


def test_frames_of_known_kinds_that_say_more_than_is_known_are_read_as_far_as_they_are(
    server_factory: Factory,
) -> None:
    node = server_factory()
    place = join(node.server)
    client = node.subscriber("t")
    with (
        MeshPeer.dial(place) as peer,
        listening(lambda third: third.meet(third_hello)) as told,
    ):
        third_hello = Hello(HIGHEST, address=told.address)
        peer.meet(NEXT, more=LATER)
        counts(node, LOWEST)
        peer.say(PING, fixed(4711) + LATER, flags=0xFE)
        assert peer.wait(PONG, lambda pong: pong.payload[:8] == fixed(4711))
        peer.say(INTEREST_ACK, number(0) + LATER)
        # A state and flags of later versions: the node is looked for, and nothing worse is thought of it.
        peer.say(PEER_LIST, peer_list(entry(HIGHEST, told.address, flags=0xFB, more=LATER)) + LATER)
        counts(node, HIGHEST)
        peer.say(DRAIN, LATER)
        wait_until(lambda: peer_of(node.server, name(LOWEST))["leaving"], "it leaves")
        speak(node, client, peer, flags=0xFE)
        assert not peer.is_over


def test_only_who_can_undo_it_is_sent_anything_compressed(server_factory: Factory) -> None:
    node = server_factory()
    place = join(node.server)
    message = "a line that repeats itself\n" * 1000
    with MeshPeer.dial(place) as old, MeshPeer.dial(place) as new:
        old.meet(BEFORE)
        new.meet(Hello(HIGHEST, capabilities=ZSTD))
        counts(node, LOWEST)
        counts(node, HIGHEST)
        node.server.broadcast("t", message)
        plain = old.wait(MSG)
        assert not plain.flags & COMPRESSED
        assert plain.payload.endswith(message.encode())
        squeezed = new.wait(MSG)
        assert squeezed.flags & COMPRESSED
        assert int.from_bytes(squeezed.payload[:4], "little") == len(plain.payload)
        assert len(squeezed.payload) < len(message) / 10


def test_a_message_that_is_too_long_for_an_older_node_is_given_up_for_it_alone(
    server_factory: Factory,
) -> None:
    node = server_factory()
    place = join(node.server)
    client = node.subscriber("t")
    with MeshPeer.dial(place) as old:
        old.meet(Hello(LOWEST, max_frame=4096))
        counts(node, LOWEST)
        node.server.broadcast("t", "x" * 5000)
        assert client.receive() == "x" * 5000
        speak(node, client, old)
        assert not any(b"xxx" in one.payload for one in old.heard)
        (letter,) = node.server.get_cluster_dlq_entries()
        assert letter["peer"] == name(LOWEST)


# ---- Versions that do not ----

FOREIGN = {
    "next": ((2, 3), "speaks version 2 to 3 of the protocol, this node 1: refused"),
    "before": ((0, 0), "speaks version 0 of the protocol, this node 1: refused"),
    "upside down": ((2, 1), "speaks version 2 to 1 of the protocol, this node 1: refused"),
}


def foreign(versions: tuple[int, int]) -> bytes:
    """A HELLO of which this version can read the beginning alone."""
    oldest, newest = versions
    return b"WSEM" + number(newest) + number(oldest) + b"\xff" * 20


@pytest.mark.parametrize("case", FOREIGN)
def test_who_has_no_version_in_common_is_refused_and_both_can_say_why(
    server_factory: Factory, case: str, log: LogLines
) -> None:
    versions, line = FOREIGN[case]
    node = server_factory()
    place = join(node.server)
    for _ in range(5):
        with MeshPeer.dial(place) as peer:
            peer.say(HELLO, foreign(versions))
            peer.wait_for_end()
            # What the other side needs for its own line has come before the end.
            assert read_hello(peer.wait(HELLO).payload).versions == (1, 1)
            assert [one.kind for one in peer.heard] == [HELLO], "nothing else is said"
    (record,) = log.wait(line)
    assert record.levelname == "WARNING"
    assert HOST in record.getMessage(), "it says where"
    assert node.server.cluster_info() == [], "it is nobody"
    assert not node.server.cluster_connected()


def refuse(peer: MeshPeer) -> None:
    """What a node of a later version does with this one."""
    peer.say(HELLO, foreign((2, 3)))
    peer.wait_for_end()


def test_an_address_with_a_node_of_another_version_is_told_as_unreached_and_dialled_ever_more_rarely(
    server_factory: Factory, log: LogLines
) -> None:
    node = server_factory()
    with listening(refuse) as other:
        join(node.server, other.address)
        # Six waits, of 50 ms to 2 s, so it takes at least 0.05 + 0.1 + 0.2 + 0.4 + 0.8 + 1 s.
        wait_until(lambda: len(other.dialled) == 7, "it goes on dialling", 15)
        waits = [after - before for before, after in zip(other.dialled, other.dialled[1:], strict=False)]
        assert sum(waits) >= 2.5, waits
        (told,) = node.server.cluster_info()
        assert (told["address"], told["state"], told["connected"]) == (other.address, "unreached", False)
        (record,) = log.wait(FOREIGN["next"][1])
        assert f"the node at {other.address}" in record.getMessage()
    assert not node.server.cluster_connected()


def test_news_of_a_node_of_another_version_makes_no_storm_of_dials(
    server_factory: Factory, log: LogLines
) -> None:
    node = server_factory()
    place = join(node.server)
    with listening(refuse) as other, MeshPeer.dial(place) as between:
        # One that speaks to both, as in an upgrade over two versions, goes on telling of the other.
        between.meet(NEXT)
        news = peer_list(entry(HIGHEST, other.address))
        between.say(PEER_LIST, news)
        log.wait(f"the node at {other.address} {FOREIGN['next'][1]}")
        for stamp in range(100):
            between.say(PEER_LIST, news)
            between.say(PING, fixed(stamp))
            between.wait(PONG, lambda pong, stamp=stamp: pong.payload == fixed(stamp))  # type: ignore[misc]
        # Another address of the same news, to know that all dials that were due have begun.
        with listening(refuse) as marker:
            between.say(PEER_LIST, peer_list(entry(HIGHEST - 1, marker.address)))
            wait_until(lambda: marker.dialled, "the marker is dialled")
        began = other.dialled[0]
        # By the backoff alone: 50 ms at least, then twice as much each time.
        allowed, wait = 1, 0.05
        while began + wait <= time.monotonic():
            allowed, wait = allowed + 1, 2 * wait + 0.05
        assert len(other.dialled) <= allowed, other.dialled
        assert state_of(node.server, name(HIGHEST)) in {"suspect", "dead"}
        assert linked(node.server) == {name(LOWEST)}


def test_a_node_that_is_upgraded_at_its_address_is_linked(server_factory: Factory) -> None:
    node, upgraded = server_factory(), server_factory()
    with listening(refuse) as old:
        join(node.server, old.address)
        wait_until(lambda: len(old.dialled) >= 3, "it is refused")
    join(upgraded.server, port=int(old.address.rpartition(":")[2]))
    wait_until(lambda: linked(node.server) == {instance(upgraded.server)}, "it is linked", 5)


def test_a_node_that_was_only_told_of_and_is_upgraded_is_linked_when_it_is_told_of_again(
    server_factory: Factory, log: LogLines
) -> None:
    node, upgraded = server_factory(), server_factory()
    place = join(node.server)
    with MeshPeer.dial(place) as between:
        between.meet(NEXT)
        with listening(refuse) as old:
            between.say(PEER_LIST, peer_list(entry(HIGHEST, old.address)))
            log.wait(f"the node at {old.address} {FOREIGN['next'][1]}")
            wait_until(lambda: len(old.dialled) >= 5, "it is refused again and again")
        join(upgraded.server, port=int(old.address.rpartition(":")[2]))
        new = int(instance(upgraded.server), 16)
        between.say(PEER_LIST, peer_list(entry(new, address(upgraded.server))))
        wait_until(lambda: linked(node.server) == {name(LOWEST), name(new)}, "it is linked", 1)


def test_an_opening_of_no_version_is_refused(server_factory: Factory, log: LogLines) -> None:
    node = server_factory()
    place = join(node.server)
    with pytest.raises((EOFError, ConnectionError)):
        MeshPeer.dial(place, Opening(version=0))
    log.wait("it is no node: version")


# ---- What no version may say to one that does not know it ----

UNASKED: dict[str, tuple[int, bytes, str]] = {
    "a flag of MSG": (MSG, bytes([PLAIN | 0x20]) + b"message", "flags of a message"),
    "an entry of interest": (SUB, number(1) + number(1) + bytes([3]) + text("t"), "kind of interest"),
    "a list that is too long": (PEER_LIST, bytes(33 << 10), "a list longer than 32 KiB"),
    "a digest that is cut": (INTEREST_DIGEST, number(1), "count of a digest"),
}


@pytest.mark.parametrize("case", UNASKED)
def test_what_changes_the_meaning_of_a_frame_closes_the_link_of_who_was_not_told_to_say_it(
    server_factory: Factory, case: str, log: LogLines
) -> None:
    kind, payload, field = UNASKED[case]
    first, second = mesh(server_factory, 2)
    with MeshPeer.dial(address(first.server)) as peer:
        peer.meet(NEXT)
        counts(first, LOWEST)
        peer.say(kind, payload, "t" if kind == MSG else "")
        peer.wait_for_end()
        (record,) = log.wait("is closed: malformed frame")
        assert record.levelname == "WARNING"
        assert field in record.getMessage()
    wait_until(lambda: linked(first.server) == {instance(second.server)}, "the others stay")
