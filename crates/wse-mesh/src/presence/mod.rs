//! Who is present in a topic, as the whole cluster knows it.
