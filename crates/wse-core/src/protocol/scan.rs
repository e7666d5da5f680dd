//! One structural pass over the top level of a JSON object: keys and where their values lie, values skipped, nothing built.
//!
//! It does not validate; whoever needs the values parses them. Text that is no object, or is broken before its end, has no members.

/// The members of the object in `text`, in order; ends early, with [`Members::is_whole`] false, where the text is no object.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    text: &'a [u8],
    at: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First,
    Next,
    Whole,
    Broken,
}

/// One member: its key between the quotes as written, and its value as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The key, escapes untouched.
    pub key: &'a [u8],
    /// The value, escapes and quotes untouched.
    pub value: &'a [u8],
}

impl<'a> Members<'a> {
    /// Begins at the first character that is not white space.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let text = text.as_bytes();
        let mut members = Self { text, at: 0, state: State::First };
        members.skip_space();
        if text.get(members.at) == Some(&b'{') {
            members.at += 1;
        } else {
            members.state = State::Broken;
        }
        members
    }

    /// How far the text has been read: at first to the inside of the object.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// After the last member: the object was closed and nothing came after it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    fn skip_space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn member(&mut self) -> Option<Member<'a>> {
        self.skip_space();
        if self.state == State::First && self.text.get(self.at) == Some(&b'}') {
            return self.close();
        }
        let key = self.string()?;
        self.skip_space();
        if self.text.get(self.at) != Some(&b':') {
            return None;
        }
        self.at += 1;
        self.skip_space();
        let start = self.at;
        self.skip_value()?;
        let value = &self.text[start..self.at];
        self.skip_space();
        match self.text.get(self.at) {
            Some(b',') => {
                self.at += 1;
                self.state = State::Next;
            }
            Some(b'}') => {
                self.close();
            }
            _ => return None,
        }
        Some(Member { key, value })
    }

    fn close(&mut self) -> Option<Member<'a>> {
        self.at += 1;
        self.skip_space();
        self.state = if self.at == self.text.len() { State::Whole } else { State::Broken };
        None
    }

    /// Steps over a string and returns what is between its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        if self.text.get(self.at) != Some(&b'"') {
            return None;
        }
        let start = self.at + 1;
        let mut at = start;
        loop {
            match self.text.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Some(&self.text[start..at])
    }

    fn skip_value(&mut self) -> Option<()> {
        match self.text.get(self.at)? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' => self.skip_nested(),
            _ => {
                let start = self.at;
                while !matches!(self.text.get(self.at)?, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') {
                    self.at += 1;
                }
                (self.at > start).then_some(())
            }
        }
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        if matches!(self.state, State::Whole | State::Broken) {
            return None;
        }
        let before = self.state;
        let member = self.member();
        if member.is_none() && self.state == before {
            self.state = State::Broken;
        }
        // The last member of a text with something behind its closing brace is not handed out: the text is no object.
        if self.state == State::Broken { None } else { member }
    }
}

/// The items of the list in `text`, as they are written; ends early where the text is no list.
#[derive(Clone, Debug)]
pub struct Elements<'a>(Members<'a>);

impl<'a> Elements<'a> {
    /// Begins at the first character that is not white space.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let text = text.as_bytes();
        let mut cursor = Members { text, at: 0, state: State::First };
        cursor.skip_space();
        if text.get(cursor.at) == Some(&b'[') {
            cursor.at += 1;
        } else {
            cursor.state = State::Broken;
        }
        Self(cursor)
    }

    fn item(&mut self) -> Option<&'a [u8]> {
        let Self(cursor) = self;
        cursor.skip_space();
        let start = cursor.at;
        if cursor.state == State::First && cursor.text.get(start) == Some(&b']') {
            return None;
        }
        cursor.skip_value()?;
        let item = &cursor.text[start..cursor.at];
        cursor.skip_space();
        cursor.state = match cursor.text.get(cursor.at)? {
            b',' => State::Next,
            b']' => State::Whole,
            _ => return None,
        };
        cursor.at += 1;
        Some(item)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if matches!(self.0.state, State::Whole | State::Broken) {
            return None;
        }
        let item = self.item();
        if item.is_none() {
            self.0.state = State::Broken;
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn scan(text: &str) -> Option<Vec<(String, Value)>> {
        let mut members = Members::new(text);
        let mut out = Vec::new();
        for member in members.by_ref() {
            let key = format!("\"{}\"", std::str::from_utf8(member.key).unwrap());
            out.push((serde_json::from_str(&key).ok()?, serde_json::from_slice(member.value).ok()?));
        }
        members.is_whole().then_some(out)
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}|[\\\\\"{}\\[\\]:,a]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_same_members_as_a_parser_finds(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let parsed: Value = serde_json::from_str(&text).unwrap();
            let expected = parsed.as_object().map(|map| map.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(scan(&text), expected);
        }

        #[test]
        fn the_same_items_as_a_parser_finds(values in prop::collection::vec(json(), 0..6), pretty: bool) {
            let list = Value::from(values);
            let text = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
            let items: Vec<Value> = Elements::new(&text).map(|item| serde_json::from_slice(item).unwrap()).collect();
            prop_assert_eq!(items, serde_json::from_str::<Vec<Value>>(&text).unwrap());
        }

        #[test]
        fn no_text_panics_or_loops(text in "\\PC{0,60}|[{}\\[\\]\",:\\\\a1 ]{0,60}") {
            let mut members = Members::new(&text);
            prop_assert!(members.by_ref().count() <= text.len());
            prop_assert!(Elements::new(&text).count() <= text.len());
        }
    }

    #[test]
    fn broken_texts_are_no_objects() {
        for text in [
            "",
            "[]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{\"a\":1}x",
            "{,}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{\"\\",
            "1",
        ] {
            assert_eq!(scan(text), None, "{text}");
        }
        assert_eq!(scan(" {} "), Some(vec![]));
    }
}
