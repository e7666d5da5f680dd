//! What the kernel says about this process, for whoever looks at a server and not at its machine.

use std::str::FromStr;
use std::sync::OnceLock;
use std::thread::available_parallelism;

/// Ticks of the kernel's clock in a second, as it tells them to programs: the same on each Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Figures of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Seconds of processor time, of all threads, in user and system mode.
    pub(crate) cpu_seconds: f64,
    /// Bytes of memory that are in use now.
    pub(crate) resident_bytes: u64,
    /// File descriptors that it may have open at a time.
    pub(crate) max_fds: u64,
    /// Processors that it may use.
    pub(crate) cpus: usize,
}

/// Looked up once, as it takes a walk through the control groups.
static CPUS: OnceLock<usize> = OnceLock::new();

impl Process {
    /// Of this process. On Linux; elsewhere only the processors are known.
    pub(crate) fn now() -> Self {
        let read = |name| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let cpus = *CPUS.get_or_init(|| available_parallelism().map_or(0, usize::from));
        Self { cpus, ..Self::of(&read("stat"), &read("status"), &read("limits")) }
    }

    /// As the files of proc(5) say it. What is not there is 0.
    fn of(stat: &str, status: &str, limits: &str) -> Self {
        // The name of the program is in brackets and may have anything in it. The third field follows.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = |field: usize| number::<f64>(fields.split_ascii_whitespace().nth(field - 3));
        Self {
            cpu_seconds: (ticks(14) + ticks(15)) / TICKS,
            resident_bytes: number::<u64>(after(status, "VmRSS:")) * 1024,
            max_fds: number(after(limits, "Max open files")),
            cpus: 0,
        }
    }
}

/// The first word after the one that begins a line.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()
}

fn number<T: FromStr + Default>(text: Option<&str>) -> T {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4711 (a ) b) S 1 4711 4711 0 -1 4194560 9 0 0 0 250 50 7 8 20 0 9 0 800 99 12";
    const STATUS: &str = "Name:\tpython\nVmHWM:\t  90000 kB\nVmRSS:\t   52340 kB\nThreads:\t9\n";
    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                          Max processes             31762                31762                processes \n\
                          Max open files            20000                1048576              files     \n";

    #[test]
    fn it_is_read_as_the_kernel_writes_it() {
        let found = Process::of(STAT, STATUS, LIMITS);
        assert_eq!(
            found,
            Process { cpu_seconds: 3.0, resident_bytes: 52_340 * 1024, max_fds: 20_000, cpus: 0 }
        );
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        assert_eq!(Process::of("", "", ""), Process::default());
        assert_eq!(Process::of("1 (x) S", "VmRSS:", "Max open files  unlimited"), Process::default());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_files() {
        let found = Process::now();
        assert!(found.resident_bytes > 100_000, "{found:?}");
        assert!(found.max_fds > 0 && found.cpus > 0, "{found:?}");
    }
}
