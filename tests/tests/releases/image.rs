//! What is in an image, read with other tools than piimg's.

use std::path::PathBuf;
use std::process::Command;

/// Where the partitions begin: 8 MiB, and 512 MiB behind that.
const BOOT: &str = "8M";
const ROOT: u64 = 520 << 20;

pub(crate) struct Image(pub(crate) PathBuf);

impl Image {
    /// Text of a file of the boot partition.
    #[track_caller]
    pub(crate) fn boot(&self, path: &str) -> String {
        tool("mtype", &["-i", &self.partition(), &format!("::{path}")])
    }

    /// All files of the boot partition.
    pub(crate) fn boot_files(&self) -> Vec<String> {
        let listing = tool("mdir", &["-/", "-b", "-i", &self.partition(), "::"]);
        listing.lines().filter_map(|line| line.strip_prefix("::/")).map(str::to_owned).collect()
    }

    fn partition(&self) -> String {
        format!("{}@@{BOOT}", self.0.display())
    }

    /// Text of a file of the root partition.
    #[track_caller]
    pub(crate) fn root(&self, path: &str) -> String {
        self.debugfs(&format!("cat {path}"))
    }

    /// Owner, mode and kind of a file of the root partition, or that there is none.
    pub(crate) fn stat(&self, path: &str) -> String {
        self.debugfs(&format!("stat {path}"))
    }

    /// Names in a directory of the root partition.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let listing = self.debugfs(&format!("ls -p {path}"));
        listing.lines().filter_map(|line| line.split('/').nth(5)).map(str::to_owned).collect()
    }

    fn debugfs(&self, request: &str) -> String {
        tool("debugfs", &["-R", request, &format!("{}?offset={ROOT}", self.0.display())])
    }
}

#[track_caller]
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
