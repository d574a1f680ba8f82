//! Disks with faults: a preloaded library that injects them, and mounted disks that are full or cut off.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::wait_for;

/// Disk with one fault at a time, injected by the preloaded library `tests/preload/disk.c`.
pub(crate) struct FaultyDisk {
    folder: TempDir,
}

impl FaultyDisk {
    /// Creates a disk without a fault.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        compile("disk.c", &["-shared", "-fPIC"], &folder.path().join("disk.so"));
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Environment variables that put a server on this disk.
    pub(crate) fn envs(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.path("disk.so")), ("DISK_FAULT", self.path("fault"))]
    }

    /// Sets the fault; its names are in `disk.c`.
    pub(crate) fn set_fault(&self, fault: &str) {
        fs::write(self.path("fault"), fault).unwrap();
    }

    /// Removes the fault.
    pub(crate) fn clear_fault(&self) {
        fs::remove_file(self.path("fault")).unwrap();
    }
}

/// Compiles a file of `tests/preload` to this path.
pub(crate) fn compile(source: &str, options: &[&str], to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload").join(source);
    run(Command::new("cc").arg("-O1").args(options).arg("-o").args([to, &from]));
}

/// Runs a command and asserts that it succeeds.
#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Whether a loop device uses this image.
fn is_attached(image: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").unwrap();
    let backing_file = |device: PathBuf| fs::read_to_string(device.join("loop/backing_file"));
    devices.filter_map(|device| backing_file(device.unwrap().path()).ok()).any(|backing_file| {
        // The name of a removed file has a suffix.
        backing_file.trim_end().starts_with(image.to_str().unwrap())
    })
}

/// File system of its own; unmounted when dropped. Mounting it needs root.
pub(crate) struct Volume {
    folder: TempDir,
    /// `nbdfuse` process that serves the disk image, for a disk whose writes can fail.
    device: Option<Child>,
}

impl Volume {
    /// ext4 on a disk image of 1 GiB, which can be [cut off](Self::cut).
    pub(crate) fn ext4() -> Self {
        let volume = Self::new();
        let image = volume.folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        compile("cut.c", &[], &volume.folder.path().join("cut"));
        volume.mount();
        volume
    }

    /// ext4 on a disk image of 256 MiB whose writes can be made to [fail](Self::set_failing). It is mounted
    /// through the kernel's page cache, like every disk. A page that failed to be written counts as clean
    /// afterwards.
    pub(crate) fn failing() -> Self {
        let mut volume = Self::new();
        let path = |name: &str| volume.folder.path().join(name);
        let file = path("file");
        fs::File::create(&file).unwrap().set_len(1 << 28).unwrap();
        // No journal: a failed write to the journal makes the file system read-only.
        run(Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(&file));
        let image = path("image");
        fs::File::create(&image).unwrap();
        let mut device = Command::new("nbdfuse");
        device.arg(&image).args(["[", "nbdkit", "--exit-with-parent", "--foreground"]);
        device.args(["--filter=error", "file"]).arg(&file);
        device.args(["error-pwrite=EIO", "error-pwrite-rate=100%"]);
        device.arg(format!("error-file={}", path("fails").display())).arg("]");
        device.stderr(Stdio::null());
        volume.device = Some(device.spawn().unwrap());
        let since = Instant::now();
        while fs::metadata(volume.folder.path().join("image")).map_or(0, |file| file.len()) == 0 {
            assert!(
                since.elapsed() < Duration::from_secs(30),
                "nbdfuse does not serve the disk image"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        volume.mount();
        volume
    }

    /// Makes the disk's writes fail, or succeed again.
    pub(crate) fn set_failing(&self, is_failing: bool) {
        let switch = self.folder.path().join("fails");
        if is_failing { fs::write(switch, "").unwrap() } else { fs::remove_file(switch).unwrap() }
    }

    /// tmpfs of this size.
    pub(crate) fn tmpfs(mib: u64) -> Self {
        let volume = Self::new();
        let size = format!("size={mib}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(volume.path()));
        volume
    }

    fn new() -> Self {
        let volume = Self { folder: tempfile::tempdir().unwrap(), device: None };
        fs::create_dir(volume.path()).unwrap();
        volume
    }

    /// Mount point.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Cuts the file system off from its disk, as a power cut does. Unsynced changes are lost.
    pub(crate) fn cut(&self) {
        run(Command::new(self.folder.path().join("cut")).arg(self.path()));
    }

    /// Unmounts the file system, which must not be in use. Waits until the kernel has let go of the image:
    /// another mount namespace, such as that of another test, may still have the file system mounted, and
    /// mounting it again would show the old state instead of the disk's.
    pub(crate) fn unmount(&self) {
        run(Command::new("umount").arg(self.path()));
        let image = self.folder.path().join("image");
        wait_for(|| (!is_attached(&image)).then_some(()));
    }

    /// Mounts the ext4 image.
    pub(crate) fn mount(&self) {
        let image = self.folder.path().join("image");
        run(Command::new("mount").args(["-o", "loop"]).args([image, self.path()]));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A failed test may still use the file system, or may have unmounted it.
        drop(Command::new("umount").arg("--lazy").arg(self.path()).output());
        if let Some(device) = &mut self.device {
            let image = self.folder.path().join("image");
            drop(Command::new("umount").arg("--lazy").arg(image).output());
            drop(device.kill());
            drop(device.wait());
        }
    }
}
