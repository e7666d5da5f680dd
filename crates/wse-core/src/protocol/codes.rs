//! Generated from spec/codes.toml by `python3 tools/generate.py`; edit that file and run it again.

/// What an `error` message says in its field `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The server wants a token and the upgrade request carried none.
    ///
    /// Send one as a cookie, as `Authorization: Bearer`, or as the subprotocol pair.
    AuthRequired,
    /// The token was refused: expired, signed with another key, or made for another issuer or audience. In answer to `auth_refresh`: the connection goes on with the token it has.
    ///
    /// Fetch a fresh token; the same one will be refused again.
    AuthFailed,
    /// The message came when the client's allowance was used up, and was not handed on.
    ///
    /// Wait the `retry_after` seconds that the error tells, then send it again.
    RateLimited,
    /// The message is larger than `max_message_size`.
    ///
    /// Send it in parts, or by another way; sending it again ends the same.
    MessageTooLarge,
    /// A topic is malformed, or what was asked of it can't be combined, such as recovery with a pattern.
    ///
    /// Mend the request: the topics it names are not subscribed.
    InvalidSubscription,
    /// The message asks for an action that does not exist, lacks a field that the action needs, or is in a form that can't be read.
    ///
    /// Mend the request; nothing was done.
    InvalidAction,
    /// The connection's access list, or the server's configuration, does not allow it.
    ///
    /// Ask for what is allowed, or come with a token that allows more.
    NotAllowed,
    /// The application's handler for the message failed.
    ///
    /// Tell the people who run the application; the connection goes on.
    HandlerError,
    /// The message came in clear from a client that has exchanged keys and sealed a message before.
    ///
    /// Seal it and send it again.
    EncryptionRequired,
    /// The public key in `client_hello` is malformed, or a key was exchanged on this connection before.
    ///
    /// Connect again and send one 65-byte P-256 point in base64.
    KeyExchangeFailed,
    /// The server could not do what it should have.
    ///
    /// Try again later, and tell the people who run the server.
    ServerError,
}

impl ErrorCode {
    /// All of them, in the order of the reference.
    pub const ALL: &'static [Self] = &[
        Self::AuthRequired,
        Self::AuthFailed,
        Self::RateLimited,
        Self::MessageTooLarge,
        Self::InvalidSubscription,
        Self::InvalidAction,
        Self::NotAllowed,
        Self::HandlerError,
        Self::EncryptionRequired,
        Self::KeyExchangeFailed,
        Self::ServerError,
    ];

    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::AuthFailed => "AUTH_FAILED",
            Self::RateLimited => "RATE_LIMITED",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::InvalidSubscription => "INVALID_SUBSCRIPTION",
            Self::InvalidAction => "INVALID_ACTION",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::HandlerError => "HANDLER_ERROR",
            Self::EncryptionRequired => "ENCRYPTION_REQUIRED",
            Self::KeyExchangeFailed => "KEY_EXCHANGE_FAILED",
            Self::ServerError => "SERVER_ERROR",
        }
    }

    /// The code with which the server then closes; None where the connection goes on.
    #[must_use]
    pub const fn close(self) -> Option<CloseCode> {
        match self {
            Self::AuthRequired => Some(CloseCode::Authentication),
            Self::AuthFailed => Some(CloseCode::Authentication),
            Self::MessageTooLarge => Some(CloseCode::MessageTooBig),
            _ => None,
        }
    }
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// Finished: the application ended the connection on purpose. Sent by the application or the client.
    ///
    /// Stay away until the person asks for the connection again.
    Normal = 1000,
    /// The page was left, or the program ended. Sent by the application or the client.
    ///
    /// Stay away. A server that restarts says 1012 instead, because clients do not come back after this one.
    GoingAway = 1001,
    /// What came was no proper WebSocket frame, or not in its place (RFC 6455). Sent by the server or the client.
    ///
    /// Come back slowly; if it happens each time, the client or a proxy on the way is broken.
    ProtocolError = 1002,
    /// The kind of data is not accepted here. Sent by the server or the client.
    ///
    /// Come back slowly, and do not send the same again.
    UnsupportedData = 1003,
    /// The close frame carried no code. Sent by nobody (it stands for the event in an API).
    ///
    /// Come back.
    NoStatus = 1005,
    /// The connection broke without a close frame: network, proxy, or a server that died. Sent by nobody (it stands for the event in an API).
    ///
    /// Come back, with the positions of the topics to recover.
    Abnormal = 1006,
    /// A text was not UTF-8, or a compressed message could not be inflated. Sent by the server or the client.
    ///
    /// Come back slowly, and do not send the same again.
    InvalidPayload = 1007,
    /// A message was larger than `max_message_size`. Sent by the server or the client.
    ///
    /// Come back, and do not send the same again.
    MessageTooBig = 1009,
    /// The client can't do without an extension that the server did not negotiate. Sent by the client.
    ///
    /// Stay away: the next try would end the same.
    MandatoryExtension = 1010,
    /// The server could not go on with this connection. Sent by the server or the application.
    ///
    /// Come back.
    ServerError = 1011,
    /// The server stops or restarts. Sent by the server.
    ///
    /// Come back, with the positions of the topics to recover.
    ServiceRestart = 1012,
    /// This server is being emptied, and others go on. Sent by the server or the application.
    ///
    /// Come back at once through the balancer; the drain has spread its clients over time already.
    Drain = 4300,
    /// The token is missing, was refused, or has expired; an `error` message before it says which. Sent by the server or the application.
    ///
    /// Fetch a fresh token and come back with it; with the same one stay away.
    Authentication = 4401,
    /// Who this client is was understood, and it may not be here. Sent by the server or the application.
    ///
    /// Stay away.
    Forbidden = 4403,
    /// The client was further behind than `max_outbound_queue_bytes`. Sent by the server.
    ///
    /// Come back, with the positions of the topics to recover, and read faster or subscribe to less.
    TooSlow = 4408,
    /// Nothing came from the client for `idle_timeout`, not even an answer to a ping. Sent by the server.
    ///
    /// Come back.
    Idle = 4410,
    /// The client went on sending although it was told that it sends too much. Sent by the server or the application.
    ///
    /// Come back after a while, and send less.
    RateLimited = 4429,
}

impl CloseCode {
    /// All of them, the lowest first.
    pub const ALL: &'static [Self] = &[
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::NoStatus,
        Self::Abnormal,
        Self::InvalidPayload,
        Self::MessageTooBig,
        Self::MandatoryExtension,
        Self::ServerError,
        Self::ServiceRestart,
        Self::Drain,
        Self::Authentication,
        Self::Forbidden,
        Self::TooSlow,
        Self::Idle,
        Self::RateLimited,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The name, as the reference spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::GoingAway => "GOING_AWAY",
            Self::ProtocolError => "PROTOCOL_ERROR",
            Self::UnsupportedData => "UNSUPPORTED_DATA",
            Self::NoStatus => "NO_STATUS",
            Self::Abnormal => "ABNORMAL",
            Self::InvalidPayload => "INVALID_PAYLOAD",
            Self::MessageTooBig => "MESSAGE_TOO_BIG",
            Self::MandatoryExtension => "MANDATORY_EXTENSION",
            Self::ServerError => "SERVER_ERROR",
            Self::ServiceRestart => "SERVICE_RESTART",
            Self::Drain => "DRAIN",
            Self::Authentication => "AUTHENTICATION",
            Self::Forbidden => "FORBIDDEN",
            Self::TooSlow => "TOO_SLOW",
            Self::Idle => "IDLE",
            Self::RateLimited => "RATE_LIMITED",
        }
    }

    /// The code of that number; None if the table does not have it.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            1000 => Some(Self::Normal),
            1001 => Some(Self::GoingAway),
            1002 => Some(Self::ProtocolError),
            1003 => Some(Self::UnsupportedData),
            1005 => Some(Self::NoStatus),
            1006 => Some(Self::Abnormal),
            1007 => Some(Self::InvalidPayload),
            1009 => Some(Self::MessageTooBig),
            1010 => Some(Self::MandatoryExtension),
            1011 => Some(Self::ServerError),
            1012 => Some(Self::ServiceRestart),
            4300 => Some(Self::Drain),
            4401 => Some(Self::Authentication),
            4403 => Some(Self::Forbidden),
            4408 => Some(Self::TooSlow),
            4410 => Some(Self::Idle),
            4429 => Some(Self::RateLimited),
            _ => None,
        }
    }

    /// Whether a client comes back, and after how long.
    #[must_use]
    pub const fn reconnect(self) -> Reconnect {
        match self {
            Self::Normal => Reconnect::Never,
            Self::GoingAway => Reconnect::Never,
            Self::ProtocolError => Reconnect::Backoff { min_ms: 5_000, max_ms: 15_000 },
            Self::UnsupportedData => Reconnect::Backoff { min_ms: 5_000, max_ms: 15_000 },
            Self::NoStatus => Reconnect::Backoff { min_ms: 1_000, max_ms: 3_000 },
            Self::Abnormal => Reconnect::Backoff { min_ms: 500, max_ms: 3_000 },
            Self::InvalidPayload => Reconnect::Backoff { min_ms: 5_000, max_ms: 15_000 },
            Self::MessageTooBig => Reconnect::Backoff { min_ms: 1_000, max_ms: 5_000 },
            Self::MandatoryExtension => Reconnect::Never,
            Self::ServerError => Reconnect::Backoff { min_ms: 1_000, max_ms: 5_000 },
            Self::ServiceRestart => Reconnect::Backoff { min_ms: 500, max_ms: 5_000 },
            Self::Drain => Reconnect::Backoff { min_ms: 0, max_ms: 1_000 },
            Self::Authentication => Reconnect::NewToken { min_ms: 0, max_ms: 1_000 },
            Self::Forbidden => Reconnect::Never,
            Self::TooSlow => Reconnect::Backoff { min_ms: 500, max_ms: 3_000 },
            Self::Idle => Reconnect::Backoff { min_ms: 500, max_ms: 3_000 },
            Self::RateLimited => Reconnect::Backoff { min_ms: 5_000, max_ms: 30_000 },
        }
    }
}

/// Whether a client comes back after a close.
///
/// The first attempt is made after a random time between `min_ms` and `max_ms`; both grow by
/// [`FACTOR`](Self::FACTOR) with each further attempt, up to [`MAX_MS`](Self::MAX_MS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// It stays away until a person wants it.
    Never,
    /// It comes back.
    Backoff {
        /// The least wait of the first attempt, in milliseconds.
        min_ms: u32,
        /// The longest wait of the first attempt, in milliseconds.
        max_ms: u32,
    },
    /// It comes back with another token, and stays away with the same.
    NewToken {
        /// The least wait of the first attempt, in milliseconds.
        min_ms: u32,
        /// The longest wait of the first attempt, in milliseconds.
        max_ms: u32,
    },
}

impl Reconnect {
    /// How much longer each further attempt waits.
    pub const FACTOR: f64 = 2.0;
    /// The longest wait between two attempts, in milliseconds.
    pub const MAX_MS: u32 = 60_000;
    /// What holds for a code that the table does not have.
    pub const UNKNOWN: Self = Self::Backoff { min_ms: 1_000, max_ms: 3_000 };

    /// What holds for any number that a close frame can carry.
    #[must_use]
    pub const fn after(code: u16) -> Self {
        match CloseCode::from_code(code) {
            Some(code) => code.reconnect(),
            None => Self::UNKNOWN,
        }
    }
}
