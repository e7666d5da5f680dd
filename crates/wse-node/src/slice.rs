//! A short time slice for I/O threads, where the system has such a thing.
//!
//! An I/O thread works for microseconds and sleeps again, beside Python threads that compute for milliseconds. Linux 6.12 and later let a
//! thread ask for shorter slices: it gets no more of the processor, but gets it sooner when it wakes.
#![expect(unsafe_code, reason = "no crate has a safe call of sched_setattr for ordinary threads")]

/// The least that the kernel grants.
const SLICE_NS: u64 = 100_000;

/// Asks for short slices for the calling thread. Older kernels ignore the wish, and others may refuse it: nothing depends on it.
pub(crate) fn ask_for_short_slices() {
    const SIZE: u32 = size_of::<libc::sched_attr>() as u32;
    let mut attributes = libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the call writes at most `SIZE` bytes to the structure, which lives here.
    let told = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    // Who was given another policy has a reason for it.
    if told != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: the call reads the structure, which lives here, and changes only how the calling thread is scheduled.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
