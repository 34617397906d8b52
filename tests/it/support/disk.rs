//! A disk that is soon full: a file system in memory.

use std::path::{Path, PathBuf};

use super::SOON;
use super::process::{Child, program};

const PAGE: usize = 4096;

/// A file system in memory of a few pages; each file takes one at least.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it, or none where nobody may.
    pub async fn mount(folder: &Path, pages: usize) -> Option<Self> {
        let mut command = program("mount");
        let size = format!("size={}", pages * PAGE);
        command.args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder);
        let (code, _) = Child::run("mount", command, SOON).await;
        (code == Some(0)).then(|| Self(folder.to_owned()))
    }

    /// Lets it be written (`rw`) or only read (`ro`), unless a file is open for writing.
    pub async fn remount(&self, how: &str) -> bool {
        let mut command = program("mount");
        command.args(["-o", &format!("remount,{how}")]).arg(&self.0);
        Child::run("mount", command, SOON).await.0 == Some(0)
    }

    /// Fills it up but for so many pages, or as many as there are: for a moment tmpfs may count those of a file that is gone.
    pub fn leave_free(&self, pages: usize) {
        let Ok(mut file) = std::fs::File::create(self.0.join("ballast")) else { return };
        let mut written = 0_usize;
        while std::io::Write::write_all(&mut file, &[0; PAGE]).is_ok() {
            written += 1;
        }
        file.set_len(written.saturating_sub(pages) as u64 * PAGE as u64).unwrap();
    }

    /// Takes away what fills it.
    pub fn clear(&self) {
        let _ = std::fs::remove_file(self.0.join("ballast"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
