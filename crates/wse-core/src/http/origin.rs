//! Which pages of the web may open a connection (RFC 6454).

/// The origins that are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Every page may connect: for development.
    #[default]
    All,
    /// Only pages of these, in the form of [`normalise`].
    Only(Vec<String>),
}

impl Origins {
    /// Compares without regard to case, to a trailing slash, and to whether a default port is written out. An empty list, or `*` in it, lets all in.
    #[must_use]
    pub fn new<S: AsRef<str>>(list: &[S]) -> Self {
        let list: Vec<String> =
            list.iter().map(|origin| normalise(origin.as_ref())).filter(|o| !o.is_empty()).collect();
        if list.is_empty() || list.iter().any(|origin| origin == "*") { Self::All } else { Self::Only(list) }
    }

    /// Whether a request with these `Origin` header lines may pass.
    ///
    /// A request without one does not come from a browser, so that no user's cookies can be abused by it. Several are refused: a
    /// browser never sends them, and whoever does wants two readers to disagree.
    pub fn admit<'a>(&self, mut lines: impl Iterator<Item = &'a [u8]>) -> bool {
        match (lines.next(), lines.next()) {
            (_, Some(_)) => false,
            (None, None) => true,
            (Some(line), None) => match self {
                Self::All => true,
                Self::Only(list) => {
                    std::str::from_utf8(line).is_ok_and(|line| list.contains(&normalise(line)))
                }
            },
        }
    }
}

/// The one form of an origin: lower case, no trailing slash, no default port.
#[must_use]
pub fn normalise(origin: &str) -> String {
    let mut origin = origin.trim().trim_end_matches('/').to_ascii_lowercase();
    for (scheme, port) in [("http://", ":80"), ("https://", ":443")] {
        if origin.starts_with(scheme) && origin.ends_with(port) {
            origin.truncate(origin.len() - port.len());
        }
    }
    origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(list: &[&str], lines: &[&str]) -> bool {
        Origins::new(list).admit(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn scheme_host_and_port_count_and_nothing_else() {
        let list = ["https://App.Example.com/", "http://localhost:3000"];
        for good in ["https://app.example.com", "https://app.example.com:443", "HTTP://LOCALHOST:3000"] {
            assert!(admitted(&list, &[good]), "{good}");
        }
        for bad in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.test",
            "https://evil.test/https://app.example.com",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!admitted(&list, &[bad]), "{bad}");
        }
    }

    #[test]
    fn no_origin_is_no_browser_and_two_are_a_trick() {
        assert!(admitted(&["https://a.test"], &[]));
        assert!(!admitted(&["https://a.test"], &["https://a.test", "https://a.test"]));
        assert!(!admitted(&[], &["https://a.test", "https://b.test"]));
    }

    #[test]
    fn an_empty_list_lets_all_in_and_null_must_be_listed() {
        assert!(admitted(&[], &["https://anything.test"]) && admitted(&["", " "], &["null"]));
        assert!(admitted(&["null"], &["null"]));
    }
}
