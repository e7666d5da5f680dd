//! A seeded world of nodes and clients, built from `wse-core` and `wse-mesh`, and the oracle that watches it.
