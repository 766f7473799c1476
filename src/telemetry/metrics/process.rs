//! `process_*`: what the system says about this process, under the names of all Prometheus
//! clients.

use super::text::Page;
use std::fs;

/// What does not change while the process lives.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since the epoch; `None` where there is no `/proc`.
    boot_time: Option<f64>,
    ticks_per_second: f64,
    page_size: f64,
}

impl Process {
    pub fn new() -> Self {
        let system = |name| {
            // SAFETY: `sysconf` takes any number and touches no memory of ours.
            unsafe { libc::sysconf(name) }
        };
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot_time = stat.lines().find_map(|line| line.strip_prefix("btime "));
        Self {
            boot_time: boot_time.and_then(|seconds| seconds.trim().parse().ok()),
            ticks_per_second: system(libc::_SC_CLK_TCK).max(1) as f64,
            page_size: system(libc::_SC_PAGESIZE).max(1) as f64,
        }
    }

    /// Nothing is shown of what the system does not say.
    pub fn write(&self, page: &mut Page) {
        let Some(boot_time) = self.boot_time else { return };
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name, in parentheses, may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<f64> =
            fields.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
        if let (Some([user, system]), Some([start, size, pages])) =
            (fields.get(11..13), fields.get(19..22))
        {
            let gauge =
                |page: &mut Page, name, help, value| page.gauge(name, help, &[(&[], value)]);
            gauge(page, "process_virtual_memory_bytes", "Virtual memory in bytes.", *size);
            let resident = pages * self.page_size;
            gauge(page, "process_resident_memory_bytes", "Resident memory in bytes.", resident);
            let start = boot_time + start / self.ticks_per_second;
            let help = "When the process started, in seconds since the epoch.";
            gauge(page, "process_start_time_seconds", help, start);
            let spent = (user + system) / self.ticks_per_second;
            page.old_counter("process_cpu_seconds", "Seconds of processor time spent.", spent);
        }
        if let Some(open) = open_files() {
            page.gauge("process_open_fds", "Open file descriptors.", &[(&[], open)]);
        }
        if let Some(most) = file_limit() {
            page.gauge("process_max_fds", "Most open file descriptors.", &[(&[], most)]);
        }
    }
}

fn open_files() -> Option<f64> {
    let folder = "/proc/self/fd";
    // Since Linux 6.2 the folder's size is the count; before, it is 0 and counting takes a while.
    match fs::metadata(folder).ok()?.len() {
        0 => Some(fs::read_dir(folder).ok()?.count() as f64),
        count => Some(count as f64),
    }
}

fn file_limit() -> Option<f64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for the call, which does not keep it.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (done == 0).then_some(limit.rlim_cur as f64)
}
