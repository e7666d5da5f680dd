//! A process without descriptors. In a binary of its own, since the limit is the whole process's.

mod common;

use std::fs::File;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use common::*;
use tokio::net::TcpStream;

#[test]
fn accepting_goes_on_when_there_are_descriptors_again() {
    run(async {
        let node = Node::start(config(open()));
        let limit = format!("--nofile={0}:", 256);
        let done = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), &limit]).status();
        assert!(done.is_ok_and(|status| status.success()), "prlimit of util-linux");
        // The kernel has accepted it, and the node will when this task lets it.
        let stream = std::net::TcpStream::connect(node.address).expect("connects");
        let mut taken: Vec<File> = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        until(|| node.links.stats().accept_pauses.load(Relaxed) >= 2).await;
        assert_eq!(node.links.stats().accepted.load(Relaxed), 0);
        taken.clear();
        until(|| node.links.stats().accepted.load(Relaxed) == 1).await;
        stream.set_nonblocking(true).expect("an option");
        drop(TcpStream::from_std(stream));
        let other = Node::start(config(open()));
        pair(&other, &node).await;
    });
}
