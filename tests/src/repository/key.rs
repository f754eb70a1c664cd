//! A key to sign an archive with.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::{command, run};

/// A key in a key ring of its own; gone when dropped.
#[derive(Debug)]
pub struct Key {
    home: tempfile::TempDir,
}

impl Key {
    /// # Panics
    /// If `gpg` is missing or makes none.
    #[expect(clippy::new_without_default, reason = "it takes a moment and makes files")]
    pub fn new() -> Self {
        // gpg warns of one that others may look into.
        let home = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir();
        let key = Self { home: home.expect("a directory can be made") };
        run(key.gpg().args([
            "--passphrase",
            "",
            "--quick-generate-key",
            "A test's archive",
            "ed25519",
            "sign",
            "never",
        ]));
        key
    }

    /// Exports the public half, as apt takes it.
    ///
    /// # Panics
    /// If `gpg` fails.
    pub fn ring(&self) -> Vec<u8> {
        self.output(self.gpg().arg("--export"), &[])
    }

    /// Exports the public half as text.
    ///
    /// # Panics
    /// If `gpg` fails.
    pub fn armored_ring(&self) -> Vec<u8> {
        self.output(self.gpg().args(["--armor", "--export"]), &[])
    }

    /// Returns the whole fingerprint.
    ///
    /// # Panics
    /// If `gpg` fails.
    pub fn fingerprint(&self) -> String {
        let listing = run(self.gpg().args(["--with-colons", "--list-keys"]));
        let line = listing.lines().find_map(|line| line.strip_prefix("fpr:")).expect("there is a key");
        line.trim_matches(':').to_owned()
    }

    pub(super) fn clearsign(&self, text: &str) -> Vec<u8> {
        self.output(self.gpg().args(["--digest-algo", "SHA512", "--clearsign"]), text.as_bytes())
    }

    fn gpg(&self) -> Command {
        let mut command = command("gpg");
        command.arg("--homedir").arg(self.home.path()).args(["--batch", "--quiet", "--no-tty"]);
        command
    }

    fn output(&self, command: &mut Command, input: &[u8]) -> Vec<u8> {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = piped.spawn().expect("gpg can be started");
        child.stdin.take().expect("it is piped").write_all(input).expect("gpg reads");
        let output = child.wait_with_output().expect("gpg ends");
        assert!(output.status.success() && !output.stdout.is_empty(), "gpg failed with {}", output.status);
        output.stdout
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // The agent would notice by itself that its directory is gone, but not at once.
        command("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "gpg-agent"]).status().ok();
    }
}
