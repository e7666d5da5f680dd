//! Which node has receivers of which topics, patterns and queue groups.
