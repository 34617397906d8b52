//! A disk that is easily full: a small file system in memory.

use std::path::{Path, PathBuf};

use super::SOON;
use super::process::{Child, program};

const PAGE: usize = 4096;

/// A file system in memory of a few pages; each file takes at least one.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it; none where mounting is not allowed.
    pub async fn mount(folder: &Path, pages: usize) -> Option<Self> {
        let mut command = program("mount");
        let size = format!("size={}", pages * PAGE);
        command.args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder);
        let (code, _) = Child::run("mount", command, SOON).await;
        (code == Some(0)).then(|| Self(folder.to_owned()))
    }

    /// Makes it writable (`rw`) or read-only (`ro`); fails while a file is open for writing. Returns whether it worked.
    pub async fn remount(&self, how: &str) -> bool {
        let mut command = program("mount");
        command.args(["-o", &format!("remount,{how}")]).arg(&self.0);
        Child::run("mount", command, SOON).await.0 == Some(0)
    }

    /// Fills it up except for so many pages, or all that are free if they are fewer: for a moment tmpfs may still count those of a
    /// deleted file.
    pub fn leave_free(&self, pages: usize) {
        let Ok(mut file) = std::fs::File::create(self.0.join("ballast")) else { return };
        let mut written = 0_usize;
        while std::io::Write::write_all(&mut file, &[0; PAGE]).is_ok() {
            written += 1;
        }
        file.set_len(written.saturating_sub(pages) as u64 * PAGE as u64).unwrap();
    }

    /// Removes what fills it.
    pub fn clear(&self) {
        let _ = std::fs::remove_file(self.0.join("ballast"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
