//! What parsing masked text frames costs, in nanoseconds each, next to a loop that does no more than it must.
//!
//! Both read the same bytes in turns, as many as a shard reads at once, which were copied into place before the clock starts. A round is
//! a few milliseconds of each; figures are medians of rounds, and the ratio is the median of the rounds' ratios.

mod floor;

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use wse_core::websocket::{Flow, Incoming, Inflation, Receiver};

/// As much as a shard reads at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// What the parser may take, as a multiple of the floor.
const TARGET: f64 = 1.5;

/// Kinds of text: what it is called, and what it is made of.
const TEXTS: [(&str, &str); 2] = [
    ("ASCII", r#"{"t":"tick","p":{"symbol":"EURUSD","bid":1.07215,"ask":1.07218,"ts":1795448941607}} "#),
    ("accents", r#"{"t":"dit","p":{"texte":"déjà vu à Orléans, où l'été s'achève; naïf, ça coûte 12 €"}} "#),
];

fn main() -> ExitCode {
    let mut rounds = 101;
    let mut save = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => rounds = 11,
            "--save" => save = true,
            other => {
                eprintln!("'{other}' is no option; there are --quick and --save");
                return ExitCode::from(2);
            }
        }
    }
    println!("| {:<26} | ours, ns | floor, ns | ratio | target |", "175-byte masked frames");
    println!("|{}|----------|-----------|-------|--------|", "-".repeat(28));
    let mut figures = serde_json::Map::new();
    for (name, text) in TEXTS {
        let Measured { ours, floor, ratio } = measure(&stream(text, 175), rounds);
        println!("| {name:<26} | {ours:8.1} | {floor:9.1} | {ratio:5.2} | ≤ {TARGET} |");
        figures.insert(
            name.to_lowercase(),
            json!({"ours_ns": round(ours), "floor_ns": round(floor), "ratio": round(ratio)}),
        );
    }
    let line = json!({
        "row": "parse-175",
        "unix": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        "commit": output("git", &["describe", "--always", "--dirty"]),
        "cpu": cpu(),
        "rounds": rounds,
        "figures": figures,
        "target_ratio": TARGET,
    });
    println!("\n{line}");
    if save && let Err(error) = append(&line.to_string()) {
        eprintln!("benches/results/micro.jsonl can't be written: {error}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// Whole frames with payloads of `len` bytes, each with another mask, as many as fit into a buffer.
fn stream(text: &str, len: usize) -> Vec<u8> {
    let mut payload = text.repeat(len.div_ceil(text.len()));
    payload.truncate(payload.floor_char_boundary(len));
    payload.extend(std::iter::repeat_n(' ', len - payload.len()));
    let mut stream = Vec::with_capacity(BUFFER_BYTES);
    let mut mask = 0x9e37_79b9_u32;
    while stream.len() + 8 + len <= BUFFER_BYTES {
        mask = mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        stream.push(0x81);
        match u8::try_from(len) {
            Ok(short @ ..126) => stream.push(0x80 | short),
            _ => stream.extend([&[0xfe][..], &(len as u16).to_be_bytes()].concat()),
        }
        stream.extend(mask.to_ne_bytes());
        stream.extend(
            payload.bytes().zip(mask.to_ne_bytes().into_iter().cycle()).map(|(byte, key)| byte ^ key),
        );
    }
    stream
}

struct Measured {
    ours: f64,
    floor: f64,
    ratio: f64,
}

fn measure(stream: &[u8], rounds: usize) -> Measured {
    let mut buffer = stream.to_vec();
    let frames = floor::read_frames(&mut buffer, |_| {});
    let (mut ours, mut floor, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let here = round_of(stream, &mut buffer, frames, read_by_receiver);
        let there = round_of(stream, &mut buffer, frames, read_by_floor);
        ours.push(here);
        floor.push(there);
        ratios.push(here / there);
    }
    Measured { ours: median(ours), floor: median(floor), ratio: median(ratios) }
}

/// Nanoseconds a frame, over a hundred times the stream.
fn round_of(stream: &[u8], buffer: &mut [u8], frames: usize, read: fn(&mut [u8]) -> usize) -> f64 {
    const PASSES: u32 = 100;
    let mut spent = Duration::ZERO;
    for _ in 0..PASSES {
        buffer.copy_from_slice(stream);
        let started = Instant::now();
        let read = read(black_box(buffer));
        spent += started.elapsed();
        assert_eq!(read, frames, "every frame is read, and read rightly");
    }
    spent.as_nanos() as f64 / f64::from(PASSES) / frames as f64
}

#[inline(never)]
fn read_by_receiver(data: &mut [u8]) -> usize {
    let mut frames = 0;
    let flow = Receiver::default().receive(data, 1 << 20, Inflation::Refused, |incoming| {
        if let Incoming::Text(text) = incoming {
            black_box(text);
            frames += 1;
        }
        Flow::Continue
    });
    assert_eq!(flow, Ok(Flow::Continue));
    frames
}

#[inline(never)]
fn read_by_floor(data: &mut [u8]) -> usize {
    floor::read_frames(data, |text| {
        black_box(text);
    })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or(String::new(), |(_, model)| model.to_owned())
}

fn append(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/micro.jsonl");
    writeln!(std::fs::OpenOptions::new().create(true).append(true).open(path)?, "{line}")
}
