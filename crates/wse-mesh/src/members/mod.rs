//! Who is in the cluster: links, gossip, suspicion and death.
