//! Disks with faults: a preloaded library that injects them, and mounted disks that are full or cut off.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A disk that has faults when it is told to; see `tests/preload/disk.c`.
pub(crate) struct FaultyDisk {
    folder: TempDir,
}

impl FaultyDisk {
    /// A disk that is well.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        compile("disk.c", &["-shared", "-fPIC"], &folder.path().join("disk.so"));
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// What puts a server on this disk.
    pub(crate) fn envs(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.path("disk.so")), ("DISK_FAULT", self.path("fault"))]
    }

    /// From now on it has this fault.
    pub(crate) fn is(&self, fault: &str) {
        fs::write(self.path("fault"), fault).unwrap();
    }

    /// From now on it has none.
    pub(crate) fn is_well(&self) {
        fs::remove_file(self.path("fault")).unwrap();
    }
}

/// Compiles one of the files in `tests/preload`.
pub(crate) fn compile(source: &str, options: &[&str], to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload").join(source);
    run(Command::new("cc").arg("-O1").args(options).arg("-o").args([to, &from]));
}

/// Runs a program that must succeed.
#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A file system of its own, which takes root; unmounted when dropped.
pub(crate) struct Volume {
    folder: TempDir,
    /// Who plays the disk, if it is one that can fail.
    device: Option<Child>,
}

impl Volume {
    /// A disk in a file, with ext4.
    pub(crate) fn ext4() -> Self {
        let volume = Self::new();
        let image = volume.folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        compile("cut.c", &[], &volume.folder.path().join("cut"));
        volume.mount_again();
        volume
    }

    /// A disk whose writes fail when it is told so, with the kernel's cache in front of it as before
    /// any other: what failed to be written is taken for written afterwards.
    pub(crate) fn failing() -> Self {
        let mut volume = Self::new();
        let path = |name: &str| volume.folder.path().join(name);
        let file = path("file");
        fs::File::create(&file).unwrap().set_len(1 << 28).unwrap();
        // Without a journal, because one that fails makes the file system read-only.
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
        let patience = Instant::now();
        while fs::metadata(volume.folder.path().join("image")).map_or(0, |file| file.len()) == 0 {
            assert!(patience.elapsed() < Duration::from_secs(30), "nobody plays the disk");
            std::thread::sleep(Duration::from_millis(10));
        }
        volume.mount_again();
        volume
    }

    /// From now on its writes fail, or do not.
    pub(crate) fn fails(&self, fails: bool) {
        let told = self.folder.path().join("fails");
        if fails { fs::write(told, "").unwrap() } else { fs::remove_file(told).unwrap() }
    }

    /// Memory with so much space.
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

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Cuts it off from its disk, as a power cut does: what was not synced is lost.
    pub(crate) fn cut(&self) {
        run(Command::new(self.folder.path().join("cut")).arg(self.path()));
    }

    /// Unmounts it; nobody may use it any more.
    pub(crate) fn unmount(&self) {
        run(Command::new("umount").arg(self.path()));
    }

    /// Mounts an ext4 again.
    pub(crate) fn mount_again(&self) {
        let image = self.folder.path().join("image");
        run(Command::new("mount").args(["-o", "loop"]).args([image, self.path()]));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whoever failed may still use it, or may have unmounted it.
        drop(Command::new("umount").arg("--lazy").arg(self.path()).output());
        if let Some(device) = &mut self.device {
            let image = self.folder.path().join("image");
            drop(Command::new("umount").arg("--lazy").arg(image).output());
            drop(device.kill());
            drop(device.wait());
        }
    }
}
