//! How much main memory this process may use.

use std::path::Path;

/// Bytes of the memory that the model runs in: main memory, with the limits of the container that
/// the process runs in, or a GPU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    pub total: u64,
    /// What can be taken without swapping: free memory and what caches would give back.
    pub available: u64,
}

impl DeviceMemory {
    /// Asks the system.
    ///
    /// # Errors
    /// One sentence, when the system does not say.
    pub fn of_system() -> Result<Self, String> {
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
        let meminfo = read("/proc/meminfo").ok_or("/proc/meminfo cannot be read")?;
        let machine = of_meminfo(&meminfo).ok_or("/proc/meminfo does not hold MemAvailable")?;
        let groups = [
            ("memory.max", "memory.current", "memory.stat", "inactive_file"),
            (
                "memory/memory.limit_in_bytes",
                "memory/memory.usage_in_bytes",
                "memory/memory.stat",
                "total_inactive_file",
            ),
        ];
        let limited = groups.iter().find_map(|(limit, usage, stat, field)| {
            let file = |name: &str| read(&format!("/sys/fs/cgroup/{name}"));
            machine.within_cgroup(&file(limit)?, &file(usage)?, &file(stat)?, field)
        });
        Ok(limited.unwrap_or(machine))
    }

    /// The smaller of this and what a control group with these files leaves. `None` when it has no
    /// limit of its own.
    fn within_cgroup(self, limit: &str, usage: &str, stat: &str, inactive: &str) -> Option<Self> {
        let limit: u64 = limit.trim().parse().ok().filter(|limit| *limit < self.total)?;
        let usage: u64 = usage.trim().parse().ok()?;
        let field = |line: &str| line.strip_prefix(inactive)?.trim().parse::<u64>().ok();
        // Page cache counts as usage, but the kernel gives it back before it refuses memory.
        let reclaimable = stat.lines().find_map(field).unwrap_or(0);
        let left = limit.saturating_sub(usage.saturating_sub(reclaimable));
        Some(Self { total: limit, available: self.available.min(left) })
    }
}

fn of_meminfo(text: &str) -> Option<DeviceMemory> {
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some(DeviceMemory { total: kib("MemTotal:")? << 10, available: kib("MemAvailable:")? << 10 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n";

    #[test]
    fn the_machine_without_a_limit() {
        let machine = of_meminfo(MEMINFO).expect("good text");
        assert_eq!(machine, DeviceMemory { total: 1_024_000, available: 614_400 });
        assert_eq!(of_meminfo("MemTotal: 1 kB\n"), None);
        assert_eq!(machine.within_cgroup("max\n", "1\n", "", "inactive_file"), None);
        let no_limit = "9223372036854771712\n";
        assert_eq!(machine.within_cgroup(no_limit, "1\n", "", "inactive_file"), None);
    }

    #[test]
    fn a_container_gives_page_cache_back() {
        let machine = of_meminfo(MEMINFO).expect("good text");
        let stat = "file 300\ninactive_file 200\nactive_file 100\n";
        let limited = machine.within_cgroup("1000\n", "700\n", stat, "inactive_file");
        assert_eq!(limited, Some(DeviceMemory { total: 1000, available: 500 }));
        let full = machine.within_cgroup("1000", "2000", "", "inactive_file");
        assert_eq!(full, Some(DeviceMemory { total: 1000, available: 0 }));
    }
}
