//! Who may upgrade, decided a second time by somebody who reads the request line by line.
//!
//! An even first byte takes the rest as bytes from the network, an odd one as a list of changes to a good request, of which it
//! is known what they must lead to. Whatever comes in, the answer has the lines it should have and no token in it.

#![no_main]

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use sha1::{Digest, Sha1};
use wse_core::http::request::MAX_HEAD_BYTES;
use wse_core::http::{Head, Origins, Request, Response};
use wse_core::websocket::deflate::Mode;
use wse_core::websocket::upgrade::{Policy, Upgrade};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    let policy = policy(choice >> 1);
    if choice & 1 == 0 {
        any_bytes(rest, &policy);
    } else {
        let _ = changed_request(&mut Unstructured::new(rest), &policy);
    }
});

fn policy(choice: u8) -> Policy {
    Policy {
        path: (choice & 1 != 0).then(|| "/wse".to_owned()),
        origins: Origins::new(if choice & 2 == 0 {
            &[]
        } else {
            &["https://a.test", "http://b.test:80"][..]
        }),
        compression: [Mode::Off, Mode::Shared, Mode::Full][usize::from(choice >> 2) % 3],
    }
}

// What any bytes come to.

fn any_bytes(bytes: &[u8], policy: &Policy) {
    match Head::parse(bytes) {
        Head::Partial => assert!(bytes.len() < MAX_HEAD_BYTES),
        Head::Refused(response) => {
            assert!(matches!(response.status, 400 | 431));
            check_refusal(&response);
        }
        Head::Whole(request, end) => {
            assert!(end <= MAX_HEAD_BYTES && end <= bytes.len());
            check_prefixes(bytes, end);
            let lines = Lines::read(&bytes[..end]);
            match Upgrade::check(&request, policy) {
                Ok(upgrade) => check_acceptance(&upgrade, &request, &lines, policy),
                Err(response) => check_refusal(&response),
            }
        }
    }
}

/// Until its last byte has come a head is unfinished, and what comes after it changes nothing.
fn check_prefixes(bytes: &[u8], end: usize) {
    for cut in [end / 3, end / 2, end - 1] {
        assert!(matches!(Head::parse(&bytes[..cut]), Head::Partial));
    }
    assert!(matches!(Head::parse(&bytes[..end]), Head::Whole(_, same) if same == end));
}

/// The head as text lines: the request line, then names in lower case with their values.
struct Lines {
    request: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Lines {
    fn read(head: &[u8]) -> Self {
        let mut lines =
            head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        // Empty lines before a request are ignored (RFC 9112, section 2.2).
        let request = lines.find(|line| !line.is_empty()).unwrap_or_default().to_vec();
        let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec()))
        });
        Self { request, headers: headers.collect() }
    }

    fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(other, _)| other == name.as_bytes())
            .map(|(_, value)| &value[..])
            .collect()
    }

    fn list(&self, name: &str) -> Vec<Vec<u8>> {
        let all = self.all(name).join(&b","[..]);
        all.split(|byte| *byte == b',').map(|e| e.trim_ascii().to_vec()).filter(|e| !e.is_empty()).collect()
    }

    fn list_has(&self, name: &str, word: &str) -> bool {
        self.list(name).iter().any(|element| element.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// All that section 4.2.1 asks for is there.
fn check_acceptance(upgrade: &Upgrade<'_>, request: &Request<'_>, lines: &Lines, policy: &Policy) {
    let target = lines.request.strip_prefix(b"GET ").expect("the method is GET");
    assert!(lines.request.ends_with(b" HTTP/1.1"));
    if policy.path.is_some() {
        // A server takes the absolute form too (RFC 9112, section 3.2.2).
        let absolute = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"ws://"));
        let target = absolute.map_or(target, |rest| &rest[rest.iter().position(|b| *b == b'/').unwrap_or(0)..]);
        assert!(target.starts_with(b"/wse ") || target.starts_with(b"/wse?"));
        assert_eq!(request.path, "/wse");
    }
    assert!(matches!(lines.all("host")[..], [host] if !host.is_empty()));
    assert!(lines.list_has("upgrade", "websocket") && lines.list_has("connection", "upgrade"));
    assert_eq!(lines.all("sec-websocket-version"), [b"13"]);
    let [key] = lines.all("sec-websocket-key")[..] else { panic!("one key") };
    assert_eq!(STANDARD.decode(key).expect("a key in base64").len(), 16);
    assert!(lines.all("transfer-encoding").is_empty());
    assert!(lines.all("content-length").iter().all(|len| *len == b"0"));
    assert!(lines.all("origin").len() < 2);
    if policy.origins != Origins::All
        && let [origin] = lines.all("origin")[..]
    {
        let origin = String::from_utf8(origin.to_ascii_lowercase()).expect("compared as text");
        let bare = origin.trim_end_matches('/');
        assert!(
            ["https://a.test", "https://a.test:443", "http://b.test", "http://b.test:80"].contains(&bare),
            "{bare}"
        );
    }
    // What is packed is packed once for all, so nobody who wants that has a context of his own.
    let form = request.query.split('&').find_map(|pair| pair.strip_prefix("format="));
    let is_packed = form == Some("msgpack");
    let mode = if is_packed && policy.compression == Mode::Full { Mode::Shared } else { policy.compression };
    let extension = expected_extension(&lines.list("sec-websocket-extensions"), mode);
    check_response(upgrade, key, &lines.list("sec-websocket-protocol"), extension.as_deref());
}

/// The answer to the first offer of permessage-deflate in which everything is known, in range and said once (RFC 7692, section 7.1).
/// That the offers are well formed, quotes included, is known: they were accepted.
fn expected_extension(offers: &[Vec<u8>], mode: Mode) -> Option<String> {
    let offers = offers.iter().map(|offer| String::from_utf8_lossy(offer).replace(['"', '\\'], ""));
    (mode != Mode::Off).then(|| offers.filter_map(|offer| answer_to(&offer, mode)).next())?
}

fn answer_to(offer: &str, mode: Mode) -> Option<String> {
    let mut parameters = offer.split(';').map(|parameter| {
        let (name, value) =
            parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
        (name.trim().to_ascii_lowercase(), value.map(str::trim))
    });
    if parameters.next()? != ("permessage-deflate".to_owned(), None) {
        return None;
    }
    let (mut seen, mut bits) = (Vec::new(), None);
    for (name, value) in parameters {
        let in_range = value.is_some_and(|value| (8..=15).any(|bits| bits.to_string() == value));
        match name.as_str() {
            "server_no_context_takeover" | "client_no_context_takeover" if value.is_none() => {}
            "client_max_window_bits" if value.is_none() || in_range => {}
            "server_max_window_bits" if in_range => bits = value.map(str::to_owned),
            _ => return None,
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    let mut answer = "permessage-deflate".to_owned();
    for side in ["server_no_context_takeover", "client_no_context_takeover"] {
        if mode == Mode::Shared || seen.iter().any(|name| name == side) {
            answer += &format!("; {side}");
        }
    }
    Some(answer + &bits.map_or(String::new(), |bits| format!("; server_max_window_bits={bits}")))
}

/// The 101 has its lines and no others, and of all that was offered it repeats at most one subprotocol, never a token.
fn check_response(upgrade: &Upgrade<'_>, key: &[u8], offers: &[Vec<u8>], extension: Option<&str>) {
    let mut response = Vec::new();
    upgrade.write_response(&mut response);
    let response = String::from_utf8(response).expect("an answer in ASCII");
    let accept = STANDARD.encode(Sha1::digest([key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat()));
    let mut expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    if let Some(protocol) = expected_protocol(offers) {
        expected += &format!("Sec-WebSocket-Protocol: {protocol}\r\n");
    }
    if let Some(extension) = extension {
        expected += &format!("Sec-WebSocket-Extensions: {extension}\r\n");
    }
    assert_eq!(response, expected + "\r\n");
    assert!(!response.contains(": bearer."));
}

/// `wse` before all others, then the first that is an HTTP token (RFC 9110, section 5.6.2) and carries none of ours.
fn expected_protocol(offers: &[Vec<u8>]) -> Option<&str> {
    let is_token = |offer: &&str| {
        !offer.is_empty()
            && !offer.contains(|c: char| !c.is_ascii_graphic() || r#""(),/:;<=>?@[\]{}"#.contains(c))
    };
    let mut offers = offers.iter().filter_map(|offer| std::str::from_utf8(offer).ok());
    if offers.clone().any(|offer| offer == "wse") {
        return Some("wse");
    }
    offers.find(|offer| is_token(offer) && !offer.starts_with("bearer."))
}

/// A refusal is one well-formed answer in words of the server alone.
fn check_refusal(response: &Response) {
    assert!(matches!(response.status, 400 | 403 | 404 | 405 | 426 | 431));
    let bytes = response.to_bytes(false);
    let text = std::str::from_utf8(&bytes).expect("an answer in ASCII");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert!(head.split("\r\n").skip(1).all(|line| line.contains(": ") && !line.contains(['\r', '\n'])));
    assert_eq!(response.to_bytes(true), format!("{head}\r\n\r\n").as_bytes());
}

// What is known to come of a changed request.

/// The parts of a request, and the statuses that their faults call for.
struct Changed {
    request_line: String,
    headers: Vec<(&'static str, String)>,
    faults: Vec<u16>,
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn changed_request(input: &mut Unstructured<'_>, policy: &Policy) -> Result<()> {
    let mut changed = Changed {
        request_line: "GET /wse HTTP/1.1".into(),
        headers: vec![
            ("Host", "x".into()),
            ("Upgrade", "websocket".into()),
            ("Connection", "Upgrade".into()),
            ("Sec-WebSocket-Key", KEY.into()),
            ("Sec-WebSocket-Version", "13".into()),
        ],
        faults: Vec::new(),
    };
    let mut origins = 0;
    for _ in 0..input.int_in_range(0..=6)? {
        changed.change(input, policy, &mut origins)?;
    }
    let order = input.int_in_range(0..=changed.headers.len() - 1)?;
    changed.headers.rotate_left(order);
    changed.check(policy);
    Ok(())
}

impl Changed {
    fn set(&mut self, name: &str, value: &str) {
        let header = self.headers.iter_mut().find(|(other, _)| *other == name).expect("one of the five");
        header.1 = value.into();
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.headers.push((name, value.into()));
    }

    fn change(&mut self, input: &mut Unstructured<'_>, policy: &Policy, origins: &mut u32) -> Result<()> {
        match input.int_in_range(0..=12)? {
            0 => {
                let (line, fault) = *input.choose(&[
                    ("POST /wse HTTP/1.1", Some(405)),
                    ("get /wse HTTP/1.1", Some(405)),
                    ("GET /wse HTTP/1.0", Some(400)),
                    ("GET /wse?format=msgpack HTTP/1.1", None),
                    ("GET /wse2 HTTP/1.1", policy.path.is_some().then_some(404)),
                    ("GET /WSE HTTP/1.1", policy.path.is_some().then_some(404)),
                ])?;
                if self.request_line == "GET /wse HTTP/1.1" {
                    self.request_line = line.into();
                    self.faults.extend(fault);
                }
            }
            1 => self.fault("Host", input.choose(&["", " ", "\t"])?, 400),
            2 => self.fault(
                "Upgrade",
                input.choose(&["", "h2c", "websocket2", "web socket", "\"websocket\""])?,
                400,
            ),
            3 => {
                self.fault("Connection", input.choose(&["", "close", "Upgraded", "keep-alive upgrade"])?, 400)
            }
            4 => self.fault(
                "Sec-WebSocket-Key",
                input.choose(&["", "AAAA", &KEY[..22], &KEY[..23], "dGhlIHNhbXBsZSBub25jZR=="])?,
                400,
            ),
            5 => self.fault(
                "Sec-WebSocket-Version",
                input.choose(&["", "8", "14", "013", "13, 8", "+13"])?,
                426,
            ),
            6 => {
                let name = *input.choose(&["Host", "Sec-WebSocket-Key", "sec-websocket-version"])?;
                self.add(name, "13");
                self.faults.push(400);
            }
            7 => {
                let (name, value, fault) = *input.choose(&[
                    ("Content-Length", "5", true),
                    ("content-length", "0", false),
                    ("Content-Length", "00", true),
                    ("Transfer-Encoding", "chunked", true),
                    ("transfer-encoding", "identity", true),
                ])?;
                self.add(name, value);
                self.faults.extend(fault.then_some(400));
            }
            8 => {
                let (origin, good) = *input.choose(&[
                    ("https://a.test", true),
                    ("HTTPS://A.TEST:443/", true),
                    ("http://b.test", true),
                    ("http://a.test", false),
                    ("https://a.test.evil.test", false),
                    ("https://a.test:444", false),
                    ("null", false),
                    ("", false),
                ])?;
                self.add("Origin", origin);
                *origins += 1;
                if *origins > 1 || (!good && policy.origins != Origins::All) {
                    self.faults.push(403);
                }
            }
            // Things that nobody minds.
            9 => self
                .add(input.choose(&["X-Forwarded-For", "Cookie", "Upgrade", "Connection"])?, "h2c, whatever"),
            10 => self.add(
                "Sec-WebSocket-Protocol",
                input.choose(&[
                    "chat",
                    "wse",
                    "bearer.a.b.c",
                    "wse, bearer.x",
                    "bearer.x, wse",
                    "b@d, good",
                ])?,
            ),
            11 => {
                let (offer, fault) = *input.choose(&[
                    ("permessage-deflate", false),
                    ("permessage-deflate; client_max_window_bits; server_max_window_bits=8", false),
                    ("permessage-deflate; server_max_window_bits = \"1\\0\";client_no_context_takeover", false),
                    ("x-webkit-deflate-frame, , Permessage-Deflate; server_no_context_takeover", false),
                    ("permessage-deflate; server_max_window_bits=7, permessage-deflate; client_max_window_bits=15", false),
                    ("permessage-deflate; client_max_window_bits; client_max_window_bits", false),
                    ("permessage-deflate;", true),
                    ("permessage-deflate; server_max_window_bits=", true),
                    ("permessage-deflate; a=\"\"", true),
                    ("permessage deflate", true),
                    ("", true),
                ])?;
                self.add("Sec-WebSocket-Extensions", offer);
                self.faults.extend(fault.then_some(400));
            }
            _ => {
                self.headers.iter_mut().for_each(|(_, value)| *value = format!(" \t{value} "));
            }
        }
        Ok(())
    }

    fn fault(&mut self, name: &str, value: &str, status: u16) {
        self.set(name, value);
        self.faults.push(status);
    }

    /// Without a fault it is accepted, with one the answer is the fault's, with several the answer is one of theirs.
    fn check(&self, policy: &Policy) {
        let mut text = format!("{}\r\n", self.request_line);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let Head::Whole(request, end) = Head::parse(text.as_bytes()) else { panic!("a request: {text}") };
        assert_eq!(end, text.len());
        match Upgrade::check(&request, policy) {
            Ok(upgrade) => {
                assert!(self.faults.is_empty(), "{:?} accepted: {text}", self.faults);
                check_acceptance(&upgrade, &request, &Lines::read(text.as_bytes()), policy);
            }
            Err(response) => {
                assert!(
                    self.faults.contains(&response.status),
                    "{} not of {:?}: {text}",
                    response.status,
                    self.faults
                );
                check_refusal(&response);
            }
        }
    }
}
