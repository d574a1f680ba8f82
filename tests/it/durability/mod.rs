//! Kills, power cuts, failing disks and damaged files: nothing acknowledged is lost.

mod backup;
mod clock_jumps;
mod crash_states;
mod damaged_files;
mod failing_disk;
mod kill_points;
mod kills;
mod locks;
mod power_loss;
mod recovery_time;
mod restore;
mod wal_damage;
