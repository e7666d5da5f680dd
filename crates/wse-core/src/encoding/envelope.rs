//! The envelope of an event: what the application left out is filled in, and everything is put in the order of the protocol.

use crate::protocol::category::is_snapshot;

/// The members of an event, each as JSON text, as far as the application gave them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event<'a> {
    /// The category; else `S` for snapshots and `U` for the rest.
    pub c: Option<&'a str>,
    /// The type.
    pub t: &'a str,
    /// The id; else a fresh one.
    pub id: Option<&'a str>,
    /// The time; else now.
    pub ts: Option<&'a str>,
    /// The number among the connection's events; else the next.
    pub seq: Option<&'a str>,
    /// The payload; else an empty object.
    pub p: Option<&'a str>,
    /// All other members as they are to be written, the first with a comma before it.
    pub more: &'a str,
    /// The version; else 1.
    pub v: Option<&'a str>,
}

/// What fills the gaps.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// A fresh id.
    pub id: &'a str,
    /// The time in ISO 8601.
    pub ts: &'a str,
    /// The connection's next number.
    pub seq: u64,
}

/// What is added to the members at the most: the names, a fresh id, the time, the number, the version.
const ADDED: usize = 160;

impl Event<'_> {
    /// Appends the message.
    pub fn write(&self, filling: &Filling<'_>, out: &mut Vec<u8>) {
        let given = [self.c, self.id, self.ts, self.seq, self.p, self.v];
        let given: usize = given.into_iter().flatten().map(str::len).sum();
        out.reserve(given + self.t.len() + self.more.len() + ADDED);
        let category = if is_snapshot(self.t.as_bytes()) { "\"S\"" } else { "\"U\"" };
        write(out, "{\"c\":", self.c.unwrap_or(category));
        write(out, ",\"t\":", self.t);
        match self.id {
            Some(id) => write(out, ",\"id\":", id),
            None => write_quoted(out, ",\"id\":\"", filling.id),
        }
        match self.ts {
            Some(ts) => write(out, ",\"ts\":", ts),
            None => write_quoted(out, ",\"ts\":\"", filling.ts),
        }
        match self.seq {
            Some(seq) => write(out, ",\"seq\":", seq),
            None => write(out, ",\"seq\":", &filling.seq.to_string()),
        }
        write(out, ",\"p\":", self.p.unwrap_or("{}"));
        out.extend_from_slice(self.more.as_bytes());
        write(out, ",\"v\":", self.v.unwrap_or("1"));
        out.push(b'}');
    }
}

#[inline]
fn write(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// Text that has nothing in it to be escaped.
#[inline]
fn write_quoted(out: &mut Vec<u8>, name: &str, text: &str) {
    write(out, name, text);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'_> = Filling { id: "fresh", ts: "2026-01-31T00:00:00.000Z", seq: 42 };

    fn text(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        event.write(&FILLING, &mut out);
        assert!(out.len() <= out.capacity());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_missing_is_filled_in() {
        assert_eq!(
            text(&Event { t: "\"tick\"", ..Event::default() }),
            r#"{"c":"U","t":"tick","id":"fresh","ts":"2026-01-31T00:00:00.000Z","seq":42,"p":{},"v":1}"#
        );
        assert!(text(&Event { t: "\"book_snapshot\"", ..Event::default() }).starts_with(r#"{"c":"S","#));
        assert!(text(&Event { t: "\"snapshot_book\"", ..Event::default() }).starts_with(r#"{"c":"S","#));
    }

    #[test]
    fn what_is_given_is_kept_and_put_in_order() {
        let event = Event {
            c: Some("\"WSE\""),
            t: "\"x\"",
            id: Some("7"),
            ts: Some("null"),
            seq: Some("1"),
            p: Some("[1]"),
            more: ",\"pri\":10,\"cid\":\"a\",\"sig\":\"s\"",
            v: Some("2"),
        };
        assert_eq!(
            text(&event),
            r#"{"c":"WSE","t":"x","id":7,"ts":null,"seq":1,"p":[1],"pri":10,"cid":"a","sig":"s","v":2}"#
        );
    }
}
