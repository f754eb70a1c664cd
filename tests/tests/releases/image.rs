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

    /// A program of the root partition.
    #[track_caller]
    pub(crate) fn program(&self, path: &str) -> Vec<u8> {
        output("debugfs", &["-R", &format!("cat {path}"), &self.root_partition()])
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

    /// `piimg verify` finds nothing wrong, and all files that these models start with.
    #[track_caller]
    pub(crate) fn is_verified_for<'a>(&self, models: impl Iterator<Item = &'a str>) {
        let mut command = Command::new(piimg_tests::piimg());
        let verified = command.args(models.fold(vec!["verify"], |all, model| [all, vec!["--model", model]].concat()));
        let verified = verified.arg(&self.0).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success() && said.contains("ok "), "{said}");
    }

    #[track_caller]
    fn debugfs(&self, request: &str) -> String {
        tool("debugfs", &["-R", request, &self.root_partition()])
    }

    fn root_partition(&self) -> String {
        format!("{}?offset={ROOT}", self.0.display())
    }
}

#[track_caller]
fn tool(program: &str, arguments: &[&str]) -> String {
    String::from_utf8_lossy(&output(program, arguments)).into_owned()
}

#[track_caller]
fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
