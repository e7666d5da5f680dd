//! Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.

use super::{Choice, OptionError, Secret, format, range, spec};
use ipnet::IpNet;
use std::time::Duration;

pub use crate::auth::Algorithm as JwtAlgorithm;

/// What the server was told, one field for each option.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many connections the server admits at a time.
    ///
    /// Beyond it an upgrade is answered with HTTP 503 and Retry-After, and those already connected notice
    /// nothing. Choose what the machine can feed rather than what it can hold: an idle client costs little, a
    /// slow one up to `max_outbound_queue_bytes`. The process needs as many file descriptors (`ulimit -n`) and
    /// some to spare.
    ///
    /// Unit: connections. Allowed: an integer from 1 to 16000000.
    pub max_connections: usize,
    /// How long a client may take to send its whole upgrade request.
    ///
    /// A connection that has not finished its request by then is answered with HTTP 408 and closed. Lower it on
    /// a port that stands on the open internet, where idle sockets are a cheap attack; ten seconds leave room
    /// for a phone on a bad network.
    ///
    /// Unit: seconds. Allowed: a number of seconds from 0.01 to 3600.
    pub handshake_timeout: Duration,
    /// The web origins whose pages may connect; None reads the variable ALLOWED_ORIGINS.
    ///
    /// A browser says in the Origin header which site's page opens the connection, and one that is not listed
    /// is refused with HTTP 403 before the upgrade. Without such a list any page on the web can connect with
    /// the cookies of a visitor who is logged in, so name your sites in production. An origin is a scheme, a
    /// host and a port (`https://app.example.com`); case and a trailing slash do not matter, and a default port
    /// equals none. There are no wildcards within an origin. `null`, which browsers send for sandboxed pages
    /// and files, passes only if listed. An empty list, an empty variable, or `*` alone allows all. A request
    /// without an Origin header comes from a program, not from a page, and passes. A list given here wins over
    /// the variable, which holds the same separated by commas. `set_allowed_origins` replaces it while the
    /// server runs.
    ///
    /// Unit: origins. Allowed: a list of origins such as 'https://app.example.com' (scheme, host and optional
    /// port; 'null'; or '*' alone), or None.
    pub allowed_origins: Option<Vec<String>>,
    /// The only path at which an upgrade is accepted; None accepts any path.
    ///
    /// The documented path is `/wse`. Set it where the proxy in front forwards more than the WebSocket's own
    /// location; a request for any other path is then answered with HTTP 404. The query string is no part of
    /// it.
    ///
    /// Unit: path. Allowed: a path such as '/wse' (it begins with '/' and has no '?', '#', spaces or control
    /// characters), or None.
    pub path: Option<String>,
    /// The key that tokens are checked with; None switches authentication off.
    ///
    /// For HS256 it is the secret shared with whoever issues the tokens, at least 32 bytes from a good random
    /// source (`openssl rand -base64 48`): who knows it can be anybody. For RS256, ES256 and EdDSA it is the
    /// issuer's public key in PEM. Text is taken as UTF-8. The server never prints or logs it. With None every
    /// client is admitted, so the other options about tokens are refused without a key: a forgotten environment
    /// variable must not open the door.
    ///
    /// Unit: key. Allowed: bytes or text (at least 32 bytes of secret for HS256, a PEM public key for RS256,
    /// ES256 and EdDSA), or None.
    pub jwt_secret: Option<Secret>,
    /// The one signature algorithm that is accepted.
    ///
    /// The server fixes it; what a token claims about itself is never believed. HS256 is right when the same
    /// people run issuer and server. Take ES256 or EdDSA (RS256 where the issuer leaves no choice) when the
    /// server should be able to check tokens but not to make them.
    ///
    /// Unit: algorithm. Allowed: 'HS256', 'RS256', 'ES256' or 'EdDSA'.
    pub jwt_algorithm: JwtAlgorithm,
    /// The `iss` that a token must carry; None does not look at it.
    ///
    /// Set it when more than one issuer signs with the same key. A token without `iss` is then refused as well.
    /// It needs `jwt_secret`.
    ///
    /// Unit: issuer. Allowed: non-empty text or None.
    pub jwt_issuer: Option<String>,
    /// The `aud` that a token must carry; None does not look at it.
    ///
    /// Set it when one issuer serves several applications, so that a token made for another one opens nothing
    /// here. In the token `aud` may be a string or a list that contains it; a token without `aud` is refused.
    /// It needs `jwt_secret`.
    ///
    /// Unit: audience. Allowed: non-empty text or None.
    pub jwt_audience: Option<String>,
    /// The cookie that is looked up first for a token; None looks at no cookie.
    ///
    /// The cookie comes first, then `Authorization: Bearer`, then the subprotocol pair; the first one present
    /// decides. A browser sends cookies from any page, so use a cookie together with `allowed_origins`.
    ///
    /// Unit: cookie. Allowed: a cookie name (letters, digits and !#$%&'*+-.^_`|~), or None.
    pub jwt_cookie_name: Option<String>,
    /// A second key that is accepted while keys are rotated.
    ///
    /// To change the key without cutting anybody: put the new one into `jwt_secret` and the old one here, by a
    /// restart or by `set_jwt_keys` while the server runs, let the issuer sign with the new one, and remove the
    /// old one when its last token has expired. It follows the rules of `jwt_secret` and needs it.
    ///
    /// Unit: key. Allowed: bytes or text (at least 32 bytes of secret for HS256, a PEM public key for RS256,
    /// ES256 and EdDSA), or None.
    pub jwt_previous_secret: Option<Secret>,
    /// The `kid` that a token's header must carry; None does not look at it.
    ///
    /// With it a token that has another `kid`, or none, is refused. `mint_token` writes it into the tokens it
    /// makes. It needs `jwt_secret`.
    ///
    /// Unit: key id. Allowed: non-empty text or None.
    pub jwt_key_id: Option<String>,
    /// The private key with which `mint_token` signs under RS256, ES256 or EdDSA.
    ///
    /// Give it only to a server that issues tokens itself; checking them takes no more than the public key in
    /// `jwt_secret`, which is needed too. HS256 signs with `jwt_secret`, and a private key beside it is refused
    /// as a mistake. RSA keys are PKCS #1 or PKCS #8, the others PKCS #8 (`openssl pkcs8 -topk8 -nocrypt`).
    ///
    /// Unit: key. Allowed: bytes or text (a PEM private key that belongs to jwt_algorithm RS256, ES256 or
    /// EdDSA), or None.
    pub jwt_private_key: Option<Secret>,
    /// A file or URL of the issuer's public keys (a JWK Set), in place of `jwt_secret`.
    ///
    /// For issuers that change their keys by themselves: the key of a token is found by its `kid`. The set is
    /// read when the server starts, every five minutes, and when a token names a key that is not in it, then at
    /// most once in five seconds; a reading that fails leaves the keys as they are. `jwt_algorithm` must say
    /// RS256, ES256 or EdDSA; keys for anything else are passed over. Use http:// only where nobody can stand
    /// between: who answers it decides who is let in.
    ///
    /// Unit: file or URL. Allowed: the path of a file, a URL that begins with https:// or http://, or None.
    pub jwks: Option<String>,
    /// The largest message a client may send, reassembled and inflated.
    ///
    /// A larger one closes its connection with 1009 before the memory for it is spent. It limits what clients
    /// send, not what the server sends. Choose a little more than your largest real message. It must fit into
    /// `max_inbound_queue_bytes`.
    ///
    /// Unit: bytes. Allowed: an integer of bytes from 1 to 1073741824.
    pub max_message_size: usize,
    /// How many messages a client may send in one burst.
    ///
    /// It is the size of a token bucket per connection that `rate_limit_refill` fills again. A client is warned
    /// when 20 % are left, and what it sends with an empty bucket is refused with RATE_LIMITED and the time to
    /// wait. The default stops only programs gone wild; for people who type, 100 is plenty. A very large
    /// number, such as 1e12, switches the limit off.
    ///
    /// Unit: messages. Allowed: a number from 1 to 1e+15.
    pub rate_limit_capacity: f64,
    /// How many messages a second a client may send for as long as it likes.
    ///
    /// It fills the bucket of `rate_limit_capacity`. Choose the rate your busiest honest client keeps up for
    /// minutes, and let the capacity take its bursts.
    ///
    /// Unit: messages per second. Allowed: a number from 0.001 to 1e+15.
    pub rate_limit_refill: f64,
    /// How many topics, patterns and queue groups one connection may have together; 0 is unlimited.
    ///
    /// What goes beyond it is refused by name and the rest of the same call is subscribed. Set it when clients
    /// choose their topics themselves: each subscription costs memory on the server.
    ///
    /// Unit: subscriptions. Allowed: an integer from 0 to 16000000.
    pub max_subscriptions_per_connection: usize,
    /// How many bytes one client may be behind before `slow_client` decides.
    ///
    /// Messages that wait for several clients are stored once, but each client's backlog counts in full here. A
    /// larger value forgives longer stalls, a smaller one finds dead clients sooner. A single message that is
    /// larger than this can reach nobody. It must not exceed `max_outbound_total_bytes`.
    ///
    /// Unit: bytes. Allowed: an integer of bytes from 4096 to 1099511627776.
    pub max_outbound_queue_bytes: usize,
    /// What happens to a client that is further behind than `max_outbound_queue_bytes`.
    ///
    /// "heal" drops its backlog and replays it from the topic's history once the client reads again, or tells
    /// it what is missing where there is no history. "gap" always tells it what is missing. "close" ends the
    /// connection with 4408, and the client comes back. None of them is silent. What was sent to one client
    /// alone can't be replayed: too much of that closes with 4408 under each policy.
    ///
    /// Unit: policy. Allowed: 'heal', 'gap' or 'close'.
    pub slow_client: SlowClient,
    /// How permessage-deflate (RFC 7692) is negotiated with clients that offer it.
    ///
    /// "shared" compresses each message by itself, in both directions: a broadcast is compressed once for each
    /// window size that clients asked for, by whoever publishes it, and the bytes go to everybody; a quiet
    /// client costs nothing more. "full" keeps two contexts for each client, which compresses small messages
    /// that resemble each other far better and costs a third of a megabyte and each client's own compression.
    /// "off" is right on a fast network. Messages below 128 bytes are never compressed in "shared". A client
    /// that offers nothing is served plainly in any mode.
    ///
    /// Unit: mode. Allowed: 'off', 'shared' or 'full'.
    pub compression: Compression,
    /// How often the server pings a client.
    ///
    /// Choose less than the shortest idle time of any proxy, load balancer or NAT on the way; many forget a
    /// silent connection after 30 to 60 seconds. It must be shorter than `idle_timeout`, and half of it is a
    /// good choice, so that one lost ping does not cost a connection.
    ///
    /// Unit: seconds. Allowed: a number of seconds from 0.01 to 86400.
    pub ping_interval: Duration,
    /// How long a client may be silent before it is closed with 4410.
    ///
    /// Any byte from the client counts as life, and so does its answer to a ping. It bounds how long a client
    /// that lost its network is still counted and sent to. It must be longer than `ping_interval`, or healthy
    /// clients would be cut.
    ///
    /// Unit: seconds. Allowed: a number of seconds from 0.02 to 604800.
    pub idle_timeout: Duration,
    /// How many events may wait for the Python program.
    ///
    /// When the queue is full the server stops reading from clients whose next message does not fit; nothing is
    /// dropped because the program is slow. A longer queue rides out longer pauses and makes what is in it
    /// older.
    ///
    /// Unit: events. Allowed: an integer from 1 to 1000000000.
    pub max_inbound_queue_size: usize,
    /// How many bytes of events may wait for the Python program.
    ///
    /// The same limit as `max_inbound_queue_size`, counted in bytes; the one reached first holds. It must be at
    /// least `max_message_size`, or the largest allowed message could never be delivered.
    ///
    /// Unit: bytes. Allowed: an integer of bytes from 1 to 1099511627776.
    pub max_inbound_queue_bytes: usize,
    /// How many bytes may wait for all clients together.
    ///
    /// A message that waits for many clients counts once here. Beyond the limit the clients that are furthest
    /// behind go first, by the policy `slow_client`. Choose what the machine can spare: together with
    /// `max_inbound_queue_bytes` and `recovery_memory_budget` it bounds the memory of the process, and their
    /// sum is logged at start. It must be at least `max_outbound_queue_bytes`.
    ///
    /// Unit: bytes. Allowed: an integer of bytes from 4096 to 1099511627776.
    pub max_outbound_total_bytes: usize,
    /// Whether topics keep a history from which a client that comes back is sent what it missed.
    ///
    /// With it each publication is stamped with its topic, epoch and offset and kept in a ring per topic. Turn
    /// it on where a missed message matters; it costs the memory of `recovery_memory_budget` and the stamp in
    /// each message.
    ///
    /// Unit: switch. Allowed: True or False.
    pub recovery_enabled: bool,
    /// How many messages of a topic are kept, rounded up to a power of two.
    ///
    /// Choose the busiest topic's messages a second times the seconds a client is usually away. It is a limit
    /// per topic; `recovery_memory_budget` is the one for all of them.
    ///
    /// Unit: messages. Allowed: an integer from 1 to 16777216.
    pub recovery_buffer_size: usize,
    /// How long a message stays recoverable.
    ///
    /// Older messages are not replayed even if the ring still has them. Choose a little more than the longest
    /// absence after which a client should go on rather than load its state afresh.
    ///
    /// Unit: seconds. Allowed: a number of seconds from 0.01 to 31536000.
    pub recovery_ttl: Duration,
    /// How many messages one recovery may replay.
    ///
    /// A client that missed more is told so and loads its state afresh, which is cheaper for both; a recovery
    /// is never partial. With a `recovery_buffer_size` below it, the buffer is the limit.
    ///
    /// Unit: messages. Allowed: an integer from 1 to 16777216.
    pub recovery_max_messages: usize,
    /// How many bytes the histories of all topics may hold together.
    ///
    /// When they would hold more, the least recently used topics lose their history first: with their epoch
    /// where nobody is subscribed, else their messages only. Watch `recovery_total_bytes` in the health
    /// snapshot and raise the budget, or lower `recovery_ttl`, when it stays above 80 % of it.
    ///
    /// Unit: bytes. Allowed: an integer of bytes from 65536 to 1099511627776.
    pub recovery_memory_budget: usize,
    /// Whether the server tracks which users are in a topic.
    ///
    /// With it a connection that is subscribed with `presence_data` makes its user present: subscribers hear
    /// who joins and leaves, and `presence(topic)` tells who is there. Users are tracked, not connections: a
    /// user with three tabs joins once.
    ///
    /// Unit: switch. Allowed: True or False.
    pub presence_enabled: bool,
    /// How large one user's presence data may be, as JSON.
    ///
    /// Data beyond it are refused with a logged warning, and make nobody present. They are sent to every
    /// subscriber when a user joins, so keep them to a name, a colour and a picture's address.
    ///
    /// Unit: bytes. Allowed: an integer of bytes from 2 to 1048576.
    pub presence_max_data_size: usize,
    /// How many users of one topic are tracked; 0 is unlimited.
    ///
    /// Users beyond it stay subscribed and hear everything, but are not listed; subscribing again asks for a
    /// place again. Each join is sent to all, so a topic with n users costs n times n messages while it fills:
    /// a limit keeps a very large room affordable.
    ///
    /// Unit: users. Allowed: an integer from 0 to 16000000.
    pub presence_max_members: usize,
    /// Whether clients may subscribe to topics themselves.
    ///
    /// With it the server answers a client's `subscription_update` under the connection's ACL; without it the
    /// message reaches your program like any other. Without an ACL a client may then read every topic, so give
    /// the tokens a `wse_topics` claim or call `set_topic_acl`.
    ///
    /// Unit: switch. Allowed: True or False.
    pub client_subscriptions: bool,
    /// Whether clients may publish to topics themselves.
    ///
    /// With it the server publishes what a client sends as `publish`, under the connection's ACL and without
    /// your program seeing it first; without it the message reaches your program like any other.
    ///
    /// Unit: switch. Allowed: True or False.
    pub client_publish: bool,
    /// The networks whose X-Forwarded-For and X-Real-IP headers are believed.
    ///
    /// Name exactly the addresses of your own proxies, in CIDR or single: whoever is in these networks can
    /// claim any client address. The forwarded list is read from the right, and the first hop that is not
    /// trusted is the client; X-Real-IP counts only where there is no X-Forwarded-For, so a proxy must set or
    /// append the latter. The address is what `get_connection_info` tells.
    ///
    /// Unit: networks. Allowed: a list of networks such as '10.0.0.0/8' or addresses such as '192.0.2.7'.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections from `trusted_proxies` begin with a PROXY header (version 1 or 2).
    ///
    /// Set it when the balancer in front forwards TCP and speaks the PROXY protocol (HAProxy `send-proxy`, AWS
    /// NLB). It needs `trusted_proxies`; a connection from there without the header is dropped, and one from
    /// elsewhere may have none.
    ///
    /// Unit: switch. Allowed: True or False.
    pub proxy_protocol: bool,
    /// How many threads serve sockets; 0 is one for each core.
    ///
    /// Each shard serves its share of the connections. One for each core is right for most; leave a core or two
    /// to Python where your program is busy itself.
    ///
    /// Unit: threads. Allowed: an integer from 0 to 64.
    pub shards: usize,
    /// The key of the HTTP API; None leaves the API off.
    ///
    /// With it `POST /api/publish` and its siblings answer requests that carry the key as a bearer token or as
    /// `X-API-Key`, on the same port (see the page on the HTTP API). Make it from a good random source
    /// (`openssl rand -hex 32`) and treat it like a password: who knows it may publish to every topic, read
    /// every history and close every connection. The server never prints or logs it. `set_api_key` replaces it
    /// while the server runs.
    ///
    /// Unit: key. Allowed: 32 to 1024 visible ASCII characters without spaces, as bytes or text, or None.
    pub api_key: Option<Secret>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 1_000,
            handshake_timeout: Duration::from_secs(10),
            allowed_origins: None,
            path: None,
            jwt_secret: None,
            jwt_algorithm: JwtAlgorithm::Hs256,
            jwt_issuer: None,
            jwt_audience: None,
            jwt_cookie_name: Some("access_token".to_owned()),
            jwt_previous_secret: None,
            jwt_key_id: None,
            jwt_private_key: None,
            jwks: None,
            max_message_size: 1_048_576,
            rate_limit_capacity: 100_000.0,
            rate_limit_refill: 10_000.0,
            max_subscriptions_per_connection: 0,
            max_outbound_queue_bytes: 16_777_216,
            slow_client: SlowClient::Heal,
            compression: Compression::Shared,
            ping_interval: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            max_inbound_queue_size: 131_072,
            max_inbound_queue_bytes: 268_435_456,
            max_outbound_total_bytes: 1_073_741_824,
            recovery_enabled: false,
            recovery_buffer_size: 128,
            recovery_ttl: Duration::from_secs(300),
            recovery_max_messages: 500,
            recovery_memory_budget: 268_435_456,
            presence_enabled: false,
            presence_max_data_size: 4_096,
            presence_max_members: 0,
            client_subscriptions: false,
            client_publish: false,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            shards: 0,
            api_key: None,
        }
    }
}

impl Options {
    /// Checks each option by itself: range, format, and whether what it asks for is built.
    pub(super) fn check_each(&self) -> Result<(), OptionError> {
        range::integer(&spec::MAX_CONNECTIONS, self.max_connections, 1, 16_000_000)?;
        range::seconds(
            &spec::HANDSHAKE_TIMEOUT,
            self.handshake_timeout,
            Duration::from_millis(10),
            Duration::from_secs(3600),
        )?;
        format::origins_are_right(&spec::ALLOWED_ORIGINS, self.allowed_origins.as_deref())?;
        format::path(&spec::PATH, self.path.as_deref())?;
        format::secret(&spec::JWT_SECRET, self.jwt_secret.as_ref())?;
        format::text(&spec::JWT_ISSUER, self.jwt_issuer.as_deref())?;
        format::text(&spec::JWT_AUDIENCE, self.jwt_audience.as_deref())?;
        format::cookie_name(&spec::JWT_COOKIE_NAME, self.jwt_cookie_name.as_deref())?;
        format::secret(&spec::JWT_PREVIOUS_SECRET, self.jwt_previous_secret.as_ref())?;
        format::text(&spec::JWT_KEY_ID, self.jwt_key_id.as_deref())?;
        format::secret(&spec::JWT_PRIVATE_KEY, self.jwt_private_key.as_ref())?;
        format::file_or_url(&spec::JWKS, self.jwks.as_deref())?;
        range::integer(&spec::MAX_MESSAGE_SIZE, self.max_message_size, 1, 1_073_741_824)?;
        range::number(&spec::RATE_LIMIT_CAPACITY, self.rate_limit_capacity, 1.0, 1_000_000_000_000_000.0)?;
        range::number(&spec::RATE_LIMIT_REFILL, self.rate_limit_refill, 0.001, 1_000_000_000_000_000.0)?;
        range::integer(
            &spec::MAX_SUBSCRIPTIONS_PER_CONNECTION,
            self.max_subscriptions_per_connection,
            0,
            16_000_000,
        )?;
        range::integer(
            &spec::MAX_OUTBOUND_QUEUE_BYTES,
            self.max_outbound_queue_bytes,
            4_096,
            1_099_511_627_776,
        )?;
        range::seconds(
            &spec::PING_INTERVAL,
            self.ping_interval,
            Duration::from_millis(10),
            Duration::from_secs(86400),
        )?;
        range::seconds(
            &spec::IDLE_TIMEOUT,
            self.idle_timeout,
            Duration::from_millis(20),
            Duration::from_secs(604800),
        )?;
        range::integer(&spec::MAX_INBOUND_QUEUE_SIZE, self.max_inbound_queue_size, 1, 1_000_000_000)?;
        range::integer(&spec::MAX_INBOUND_QUEUE_BYTES, self.max_inbound_queue_bytes, 1, 1_099_511_627_776)?;
        range::integer(
            &spec::MAX_OUTBOUND_TOTAL_BYTES,
            self.max_outbound_total_bytes,
            4_096,
            1_099_511_627_776,
        )?;
        range::integer(&spec::RECOVERY_BUFFER_SIZE, self.recovery_buffer_size, 1, 16_777_216)?;
        range::seconds(
            &spec::RECOVERY_TTL,
            self.recovery_ttl,
            Duration::from_millis(10),
            Duration::from_secs(31536000),
        )?;
        range::integer(&spec::RECOVERY_MAX_MESSAGES, self.recovery_max_messages, 1, 16_777_216)?;
        range::integer(
            &spec::RECOVERY_MEMORY_BUDGET,
            self.recovery_memory_budget,
            65_536,
            1_099_511_627_776,
        )?;
        range::integer(&spec::PRESENCE_MAX_DATA_SIZE, self.presence_max_data_size, 2, 1_048_576)?;
        range::integer(&spec::PRESENCE_MAX_MEMBERS, self.presence_max_members, 0, 16_000_000)?;
        range::integer(&spec::SHARDS, self.shards, 0, 64)?;
        format::api_key(&spec::API_KEY, self.api_key.as_ref())?;
        Ok(())
    }
}

/// What happens to a client that is further behind than `max_outbound_queue_bytes`.
///
/// "heal" drops its backlog and replays it from the topic's history once the client reads again, or tells
/// it what is missing where there is no history. "gap" always tells it what is missing. "close" ends the
/// connection with 4408, and the client comes back. None of them is silent. What was sent to one client
/// alone can't be replayed: too much of that closes with 4408 under each policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SlowClient {
    /// `'heal'`.
    #[default]
    Heal,
    /// `'gap'`.
    Gap,
    /// `'close'`.
    Close,
}

impl SlowClient {
    /// The name, as Python spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heal => "heal",
            Self::Gap => "gap",
            Self::Close => "close",
        }
    }
}

impl Choice for SlowClient {
    const ALL: &'static [Self] = &[Self::Heal, Self::Gap, Self::Close];
    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

/// How permessage-deflate (RFC 7692) is negotiated with clients that offer it.
///
/// "shared" compresses each message by itself, in both directions: a broadcast is compressed once for each
/// window size that clients asked for, by whoever publishes it, and the bytes go to everybody; a quiet
/// client costs nothing more. "full" keeps two contexts for each client, which compresses small messages
/// that resemble each other far better and costs a third of a megabyte and each client's own compression.
/// "off" is right on a fast network. Messages below 128 bytes are never compressed in "shared". A client
/// that offers nothing is served plainly in any mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `'off'`.
    Off,
    /// `'shared'`.
    #[default]
    Shared,
    /// `'full'`.
    Full,
}

impl Compression {
    /// The name, as Python spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shared => "shared",
            Self::Full => "full",
        }
    }
}

impl Choice for Compression {
    const ALL: &'static [Self] = &[Self::Off, Self::Shared, Self::Full];
    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

impl Choice for JwtAlgorithm {
    const ALL: &'static [Self] = &[Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];
    fn as_str(self) -> &'static str {
        self.as_str()
    }
}
