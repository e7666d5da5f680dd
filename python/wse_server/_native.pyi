"""The native module: the engine in Rust."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from os import PathLike
from typing import Any, Literal, Self, TypeAlias, final

from typing_extensions import override

from wse_server.types import (
    ClusterIdentity,
    ClusterPeer,
    ConnectionInfo,
    DeadLetter,
    DrainResult,
    Event,
    HealthSnapshot,
    PresenceStats,
    PresentUser,
    RecoveryResult,
    SubscribeResult,
)

__all__ = [
    "LoadRun",
    "Position",
    "PublishTimeout",
    "RustWSEServer",
    "__version__",
    "json_text",
    "rust_jwt_decode",
    "rust_jwt_encode",
]

__version__: str

# No plain `Iterable[str]`, since a `str` is one, and always a mistake.
_Topics: TypeAlias = list[str] | tuple[str, ...] | AbstractSet[str]
_Text: TypeAlias = str | bytes
_Path: TypeAlias = str | PathLike[str]
_Addresses: TypeAlias = list[str] | tuple[str, ...]
_Algorithm: TypeAlias = Literal["HS256", "RS256", "ES256", "EdDSA"]

class PublishTimeout(TimeoutError): ...  # noqa: N818

@final
class Position:
    def __new__(cls, epoch: str, offset: int, copies: int | None = None) -> Self: ...
    @property
    def epoch(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def copies(self) -> int | None: ...
    def __iter__(self) -> Iterator[Any]: ...
    @override
    def __eq__(self, other: object, /) -> bool: ...
    @override
    def __hash__(self) -> int: ...
    @override
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class LoadRun:
    def __new__(
        cls,
        address: str,
        port: int,
        request: str,
        *,
        tokens: list[str] | None = None,
        sources: list[str] | None = None,
        concurrency: int = 256,
        connect_timeout: float = 10.0,
        limit: float = 3600.0,
    ) -> Self: ...
    def add(
        self,
        role: Literal["hold", "echo", "send", "post"],
        clients: int,
        *,
        threads: int = 1,
        hello: str = "",
        ready: str = "",
        message: str = "",
        rate: float = 0.0,
        topics: int = 0,
        request: str = "",
    ) -> None: ...
    def start(self) -> None: ...
    def begin(self) -> None: ...
    def rest(self) -> None: ...
    def reset(self) -> None: ...
    def stage(self) -> Literal["connecting", "ready", "working", "ended"]: ...
    def wait(self, timeout: float) -> Literal["connecting", "ready", "working", "ended"]: ...
    def tally(self) -> dict[str, Any]: ...
    def stop(self) -> None: ...

@final
class RustWSEServer:
    # <generated options>
    # Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
    def __new__(
        cls,
        host: str,
        port: int,
        *,
        max_connections: int = 1000,
        handshake_timeout: float = 10.0,
        allowed_origins: list[str] | tuple[str, ...] | None = None,
        path: str | None = None,
        jwt_secret: bytes | str | None = None,
        jwt_algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"] = "HS256",
        jwt_issuer: str | None = None,
        jwt_audience: str | None = None,
        jwt_cookie_name: str | None = "access_token",
        jwt_previous_secret: bytes | str | None = None,
        jwt_key_id: str | None = None,
        jwt_private_key: bytes | str | None = None,
        jwks: str | None = None,
        max_message_size: int = 1_048_576,
        rate_limit_capacity: float = 100000.0,
        rate_limit_refill: float = 10000.0,
        max_subscriptions_per_connection: int = 0,
        max_outbound_queue_bytes: int = 16_777_216,
        slow_client: Literal["heal", "gap", "close"] = "heal",
        compression: Literal["off", "shared", "full"] = "shared",
        ping_interval: float = 25.0,
        idle_timeout: float = 60.0,
        max_inbound_queue_size: int = 131_072,
        max_inbound_queue_bytes: int = 268_435_456,
        max_outbound_total_bytes: int = 1_073_741_824,
        recovery_enabled: bool = False,
        recovery_buffer_size: int = 128,
        recovery_ttl: float = 300.0,
        recovery_max_messages: int = 500,
        recovery_memory_budget: int = 268_435_456,
        presence_enabled: bool = False,
        presence_max_data_size: int = 4096,
        presence_max_members: int = 0,
        client_subscriptions: bool = False,
        client_publish: bool = False,
        trusted_proxies: list[str] | tuple[str, ...] = (),
        proxy_protocol: bool = False,
        shards: int = 0,
        api_key: bytes | str | None = None,
    ) -> Self:
        """Checks the options. Nothing is opened before `start`.

        Args:
            host: Address to listen on, such as "0.0.0.0" for all of IPv4.
            port: Port to listen on; 0 lets the kernel choose one.
            max_connections: How many connections the server admits at a time.
            handshake_timeout: How long a client may take to send its whole upgrade request.
            allowed_origins: The web origins whose pages may connect; None reads the variable ALLOWED_ORIGINS.
            path: The only path at which an upgrade is accepted; None accepts any path.
            jwt_secret: The key that tokens are checked with; None switches authentication off.
            jwt_algorithm: The one signature algorithm that is accepted.
            jwt_issuer: The `iss` that a token must carry; None does not look at it.
            jwt_audience: The `aud` that a token must carry; None does not look at it.
            jwt_cookie_name: The cookie that is looked up first for a token; None looks at no cookie.
            jwt_previous_secret: A second key that is accepted while keys are rotated.
            jwt_key_id: The `kid` that a token's header must carry; None does not look at it.
            jwt_private_key: The private key with which `mint_token` signs under RS256, ES256 or EdDSA.
            jwks: A file or URL of the issuer's public keys (a JWK Set), in place of `jwt_secret`.
            max_message_size: The largest message a client may send, reassembled and inflated.
            rate_limit_capacity: How many messages a client may send in one burst.
            rate_limit_refill: How many messages a second a client may send for as long as it likes.
            max_subscriptions_per_connection: How many topics, patterns and queue groups one connection may
                have together; 0 is unlimited.
            max_outbound_queue_bytes: How many bytes one client may be behind before `slow_client` decides.
            slow_client: What happens to a client that is further behind than `max_outbound_queue_bytes`.
            compression: How permessage-deflate (RFC 7692) is negotiated with clients that offer it.
            ping_interval: How often the server pings a client.
            idle_timeout: How long a client may be silent before it is closed with 4410.
            max_inbound_queue_size: How many events may wait for the Python program.
            max_inbound_queue_bytes: How many bytes of events may wait for the Python program.
            max_outbound_total_bytes: How many bytes may wait for all clients together.
            recovery_enabled: Whether topics keep a history from which a client that comes back is sent what
                it missed.
            recovery_buffer_size: How many messages of a topic are kept, rounded up to a power of two.
            recovery_ttl: How long a message stays recoverable.
            recovery_max_messages: How many messages one recovery may replay.
            recovery_memory_budget: How many bytes the histories of all topics may hold together.
            presence_enabled: Whether the server tracks which users are in a topic.
            presence_max_data_size: How large one user's presence data may be, as JSON.
            presence_max_members: How many users of one topic are tracked; 0 is unlimited.
            client_subscriptions: Whether clients may subscribe to topics themselves.
            client_publish: Whether clients may publish to topics themselves.
            trusted_proxies: The networks whose X-Forwarded-For and X-Real-IP headers are believed.
            proxy_protocol: Whether connections from `trusted_proxies` begin with a PROXY header (version 1 or
                2).
            shards: How many threads serve sockets; 0 is one for each core.
            api_key: The key of the HTTP API; None leaves the API off.

        Raises:
            TypeError: There is no such option, or its value has another type.
            ValueError: The value is not allowed, or two options do not go together.
            NotImplementedError: The value asks for something that is not built yet.
        """
    # </generated options>
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    def start(self, *, joining: bool = False) -> None: ...
    def stop(self) -> None: ...
    def drain(self, close_code: int = 4300, close_reason: str = "", timeout: float = 30.0) -> DrainResult: ...
    def is_running(self) -> bool: ...
    def enable_drain_mode(self, *, claims: bool = False, authorize: bool = False) -> None: ...
    def drain_inbound(self, max_count: int = 256, timeout_ms: float = 50.0) -> list[Event]: ...
    def event_fd(self) -> int: ...
    def set_callbacks(
        self,
        on_connect: Callable[[str, str], object],
        on_message: Callable[[str, dict[str, Any] | str | bytes], object],
        on_disconnect: Callable[[str], object],
    ) -> None: ...
    def inbound_queue_depth(self) -> int: ...
    def inbound_dropped_count(self) -> int: ...
    def send(self, conn_id: str, message: _Text) -> None: ...
    def send_bytes(self, conn_id: str, data: bytes) -> None: ...
    def send_event(self, conn_id: str, event: dict[str, Any], compression_threshold: int = 1024) -> int: ...
    def broadcast_all(self, message: _Text) -> None: ...
    def broadcast_all_bytes(self, data: bytes) -> None: ...
    def broadcast_local(self, topic: str, message: _Text) -> Position | None: ...
    def broadcast(
        self, topic: str, message: _Text, *, wait: Literal["local", "stored"] = "local", timeout: float = 10.0
    ) -> Position | None: ...
    def has_room(self, topic: str) -> bool: ...
    def broadcast_many(
        self,
        topic: str,
        messages: list[str] | list[bytes] | list[_Text] | tuple[_Text, ...],
        *,
        wait: Literal["local", "stored"] = "local",
        timeout: float = 10.0,
    ) -> Position | None: ...
    def subscribe_connection(
        self,
        conn_id: str,
        topics: _Topics,
        presence_data: dict[str, Any] | None = None,
        queue_group: str | None = None,
        timeout: float = 1.0,
    ) -> SubscribeResult: ...
    def subscribe_with_recovery(
        self,
        conn_id: str,
        topics: _Topics,
        recover: bool = False,
        epoch: str | None = None,
        offset: int | None = None,
        positions: Mapping[str, Position | tuple[str, int]] | None = None,
    ) -> RecoveryResult: ...
    def unsubscribe_connection(self, conn_id: str, topics: _Topics | None = None) -> None: ...
    def authorize_connection(
        self, conn_id: str, action: Literal["subscribe", "publish"], decisions: dict[str, bool | str]
    ) -> None: ...
    def forget_authorizations(self, conn_id: str) -> None: ...
    def pause_reading(self, conn_id: str) -> None: ...
    def resume_reading(self, conn_id: str) -> None: ...
    def get_queue_group_info(self, topic: str) -> dict[str, int]: ...
    def presence(self, topic: str) -> dict[str, PresentUser]: ...
    def presence_stats(self, topic: str) -> PresenceStats: ...
    def update_presence(self, conn_id: str, data: dict[str, Any]) -> None: ...
    def set_topic_acl(
        self, conn_id: str, allow: _Topics | None = None, deny: _Topics | None = None
    ) -> list[str]: ...
    def get_topic_subscriber_count(self, topic: str) -> int: ...
    def get_connection_count(self) -> int: ...
    def get_connections(self) -> list[str]: ...
    def get_connection_info(self, conn_id: str) -> ConnectionInfo | None: ...
    def disconnect(self, conn_id: str, code: int = 1000, reason: str = "") -> None: ...
    def health_snapshot(self) -> HealthSnapshot: ...
    def prometheus_metrics(self) -> str: ...
    def add_static(self, path: str, content_type: str, body: _Text) -> None: ...
    def mint_token(self, claims: dict[str, Any]) -> str: ...
    def set_allowed_origins(self, origins: list[str] | tuple[str, ...] | None) -> None: ...
    def set_jwt_keys(
        self,
        secret: bytes | str,
        previous_secret: bytes | str | None = None,
        private_key: bytes | str | None = None,
    ) -> None: ...
    def set_api_key(self, key: bytes | str) -> None: ...
    def connect_cluster(
        self,
        peers: _Addresses,
        tls_cert: _Path | None = None,
        tls_key: _Path | None = None,
        tls_ca: _Path | None = None,
        cluster_port: int | None = None,
        seeds: _Addresses | None = None,
        cluster_addr: str | None = None,
        cluster_secret: bytes | str | None = None,
        cluster_name: str = "wse",
        cluster_host: str | None = None,
        recovery_replicas: int = 1,
        heartbeat_interval: float = 2.0,
        dead_after: float = 8.0,
        tls_verify_name: bool = False,
    ) -> None: ...
    def cluster_connected(self) -> bool: ...
    def cluster_peers_count(self) -> int: ...
    def cluster_info(self) -> list[ClusterPeer]: ...
    def cluster_identity(self) -> ClusterIdentity | None: ...
    def reload_cluster_tls(self, cert: _Path, key: _Path, ca: _Path) -> None: ...
    def get_cluster_dlq_entries(self) -> list[DeadLetter]: ...

def json_text(message: object, event: str | None = None) -> str: ...
def rust_jwt_encode(
    claims: dict[str, Any],
    secret: bytes | str,
    algorithm: _Algorithm = "HS256",
    key_id: str | None = None,
) -> str: ...
def rust_jwt_decode(
    token: str,
    secret: bytes | str,
    algorithm: _Algorithm = "HS256",
    issuer: str | None = None,
    audience: str | None = None,
    previous_secret: bytes | str | None = None,
    key_id: str | None = None,
) -> dict[str, Any] | None: ...
