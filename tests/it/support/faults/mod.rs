//! Fault injection, and the number of repetitions of each fault.

pub(crate) mod amounts;
pub(crate) mod cgroup;
pub(crate) mod fault_disk;
pub(crate) mod logging_vfs;
pub(crate) mod power_cut;
pub(crate) mod system_calls;
pub(crate) mod wrong_clock;
