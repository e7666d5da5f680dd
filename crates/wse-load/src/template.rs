//! Messages that differ in a few numbers: text with `$at`, `$n`, `$topic` and `$client` in it.

use std::io::Write as _;

use memchr::memmem;

/// What stands in a message in the place of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// `$at`: nanoseconds since the load began, when the message was meant to go.
    pub at: u64,
    /// `$n`: the number of the message in its topic, from 1.
    pub n: u64,
    /// `$topic`: the number of the topic.
    pub topic: u64,
    /// `$client`: the number of the client in its group.
    pub client: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    At,
    Number,
    Topic,
    Client,
}

const NAMES: [(&str, Piece); 4] =
    [("$at", Piece::At), ("$n", Piece::Number), ("$topic", Piece::Topic), ("$client", Piece::Client)];

/// The text of a message, cut at its names once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Cuts a text. A `$` that begins no name stands for itself.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let (mut plain, mut rest) = (0, 0);
        while let Some(found) = text[rest..].find('$') {
            let at = rest + found;
            match NAMES.iter().find(|(name, _)| text[at..].starts_with(name)) {
                Some((name, piece)) => {
                    if at > plain {
                        pieces.push(Piece::Text(text.as_bytes()[plain..at].to_vec()));
                    }
                    pieces.push(piece.clone());
                    rest = at + name.len();
                    plain = rest;
                }
                None => rest = at + 1,
            }
        }
        if plain < text.len() {
            pieces.push(Piece::Text(text.as_bytes()[plain..].to_vec()));
        }
        Self(pieces)
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the message with these values in it.
    pub fn render(&self, values: Values, out: &mut Vec<u8>) {
        for piece in &self.0 {
            let number = match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Piece::At => values.at,
                Piece::Number => values.n,
                Piece::Topic => values.topic,
                Piece::Client => values.client,
            };
            write!(out, "{number}").expect("a Vec takes what is written to it");
        }
    }
}

/// Finds the numbers of a message in what came back: the fields `"at"` and `"n"`.
#[derive(Debug)]
pub(crate) struct Finder {
    at: memmem::Finder<'static>,
    n: memmem::Finder<'static>,
}

impl Finder {
    pub(crate) fn new() -> Self {
        Self { at: memmem::Finder::new(b"\"at\":"), n: memmem::Finder::new(b"\"n\":") }
    }

    /// When the message was meant to go.
    pub(crate) fn at(&self, message: &[u8]) -> Option<u64> {
        number_behind(message, &self.at, 5)
    }

    /// Its number in its topic.
    pub(crate) fn n(&self, message: &[u8]) -> Option<u64> {
        number_behind(message, &self.n, 4)
    }
}

fn number_behind(message: &[u8], field: &memmem::Finder<'_>, len: usize) -> Option<u64> {
    let digits = &message[field.find(message)? + len..];
    let mut number: Option<u64> = None;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit - b'0'))?);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, values: Values) -> String {
        let mut out = Vec::new();
        Template::new(text).render(values, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_replaced_and_everything_else_stays() {
        let values = Values { at: 123, n: 4, topic: 5, client: 6 };
        assert_eq!(
            rendered(r#"{"at":$at,"n":$n,"t":"x/$topic","c":$client}"#, values),
            r#"{"at":123,"n":4,"t":"x/5","c":6}"#
        );
        assert_eq!(rendered("$$n $x 5$ é$at", values), "$4 $x 5$ é123");
        assert_eq!(rendered("", values), "");
        assert!(Template::new("").is_empty());
    }

    #[test]
    fn numbers_are_found_again_and_never_invented() {
        let finder = Finder::new();
        let message =
            br#"{"c":"U","tp":"bench/0","e":"5f3a09c1","o":7,"t":"bench","p":{"at":12345,"n":77,"pad":""}}"#;
        assert_eq!(finder.at(message), Some(12345));
        assert_eq!(finder.n(message), Some(77));
        assert_eq!(finder.at(br#"{"at":}"#), None);
        assert_eq!(finder.at(br#"{"at":99999999999999999999999999}"#), None);
        assert_eq!(finder.n(b"nothing"), None);
    }
}
