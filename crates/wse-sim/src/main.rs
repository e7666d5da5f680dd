//! Runs worlds: `wse-sim --seeds A..B [--class F|P|D|M|N] [--fault NAME] [--jobs N]`, or `wse-sim --trace SEED --class F` to see one.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use wse_mesh::log::Fault;
use wse_sim::oracle::Stats;
use wse_sim::shrink::shrink;
use wse_sim::{Class, Report, Setup, run};

const USAGE: &str = "usage: wse-sim --seeds A..B [--class F|P|D|M|N] [--fault NAME] [--jobs N] [--failures N]
       wse-sim --trace SEED --class F|P|D|M|N [--fault NAME] [--whole]";

#[derive(Clone, Debug)]
struct Options {
    seeds: std::ops::Range<u64>,
    class: Option<Class>,
    fault: Option<Fault>,
    jobs: usize,
    failures: usize,
    trace: Option<u64>,
    whole: bool,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { seeds: 0..1000, class: None, fault: None, jobs: 1, failures: 3, trace: None, whole: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => {
                let range = value()?;
                let (from, to) = range.split_once("..").ok_or("seeds are given as A..B")?;
                let number = |text: &str| text.parse().map_err(|_| format!("'{text}' is no number"));
                options.seeds = number(from)?..number(to)?;
            }
            "--class" => {
                options.class = Some(match value()?.as_str() {
                    "F" => Class::F,
                    "P" => Class::P,
                    "D" => Class::D,
                    "M" => Class::M,
                    "N" => Class::N,
                    other => return Err(format!("'{other}' is no class")),
                });
            }
            "--fault" => {
                let name = value()?;
                let known = Fault::ALL.iter().find(|(known, _)| *known == name);
                options.fault = Some(known.ok_or(format!("'{name}' is no fault"))?.1);
            }
            "--jobs" => options.jobs = value()?.parse().map_err(|_| "jobs are a number")?,
            "--failures" => options.failures = value()?.parse().map_err(|_| "failures are a number")?,
            "--trace" => options.trace = Some(value()?.parse().map_err(|_| "a seed is a number")?),
            "--whole" => options.whole = true,
            _ => return Err(format!("'{word}' is not understood")),
        }
    }
    Ok(options)
}

fn setup(options: &Options, seed: u64) -> Setup {
    let class = options.class.unwrap_or(Class::ALL[(seed % 5) as usize]);
    Setup { seed, class, fault: options.fault, skip: BTreeSet::new(), trace: false }
}

/// A panic is a broken promise too.
fn run_caught(setup: &Setup) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(setup))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            violations: vec![format!("PANIC {}", text.unwrap_or_default())],
            stats: Stats::default(),
            actions: Vec::new(),
            trace: String::new(),
        }
    })
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(seed) = options.trace {
        show(&options, seed);
        return ExitCode::SUCCESS;
    }
    campaign(&options)
}

fn show(options: &Options, seed: u64) {
    let whole = setup(options, seed);
    let report = run_caught(&whole);
    let is_shrunk = !options.whole && !report.violations.is_empty() && !report.actions.is_empty();
    let least = if is_shrunk { shrink(&whole, &report) } else { whole };
    let report = run(&Setup { trace: true, ..least.clone() });
    print!("{}", report.trace);
    for (number, action) in
        report.actions.iter().enumerate().filter(|(number, _)| !least.skip.contains(number))
    {
        println!("{number}: {action:?}");
    }
    println!("{:?}\n{:#?}", report.stats, report.violations);
}

fn campaign(options: &Options) -> ExitCode {
    let next = AtomicU64::new(options.seeds.start);
    let (tell, told) = mpsc::channel();
    let begin = Instant::now();
    if options.fault.is_some() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let (mut stats, mut worlds, mut failed) = (Stats::default(), [0_u64; 5], Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.seeds.end {
                        break;
                    }
                    let setup = setup(options, seed);
                    let report = run_caught(&setup);
                    if tell.send((setup, report)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        for (setup, report) in &told {
            worlds[setup.class as usize] += 1;
            stats.add(&report.stats);
            if let Some(first) = report.violations.first() {
                println!("seed {} class {:?}: {first}", setup.seed, setup.class);
                failed.push(setup);
                if failed.len() >= options.failures {
                    next.store(options.seeds.end, Ordering::Relaxed);
                }
            }
        }
    });
    let [f, p, d, m, n] = worlds;
    let all: u64 = worlds.iter().sum();
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{all} worlds (F {f}, P {p}, D {d}, M {m}, N {n}) in {seconds:.1} s, {:.0} a second: {} failed",
        all as f64 / seconds,
        failed.len()
    );
    println!("{stats:?}");
    for setup in &failed {
        let fault = Fault::ALL.iter().find(|(_, fault)| Some(*fault) == setup.fault);
        let fault = fault.map_or_else(String::new, |(name, _)| format!(" --fault {name}"));
        println!("to see it: wse-sim --trace {} --class {:?}{fault}", setup.seed, setup.class);
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
