//! Archives that a build must not take packages from, and how it takes them from one that it may: a small one that the
//! test makes and signs, over the loopback.
//!
//! Needs user namespaces, and what `cargo xtask setup` installs; no network.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

mod fetched;
mod locked;
mod own;
mod plugins;
mod refused;

use piimg::recipe::release::Releases;
use piimg_tests::repository::{Key, Package, Repository, Server, Suite};

/// A release whose packages are in the archive, by name; nothing is in them.
const RELEASE: &str = "bookworm";

/// Who signs an archive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signer {
    /// Whose key is in the key ring that builds are given.
    Known,
    Stranger,
    Nobody,
}

/// The suite of the release, with all that a bootstrap asks for.
fn suite() -> Suite {
    suite_with(packages("1.0"))
}

/// The same packages in that version.
fn packages(version: &str) -> Vec<Package> {
    let releases = Releases::builtin().unwrap();
    let release = releases.get(RELEASE).unwrap().clone().resolved("arm64");
    let package = |name: &str| Package::new(name, version, "arm64");
    let mut packages = vec![package("base-files").essential().file("/etc/made-up", "made up\n"), package("apt")];
    packages.extend(release.packages.iter().map(|name| package(name)));
    packages
}

/// The suite of the release with those packages.
fn suite_with(packages: Vec<Package>) -> Suite {
    let releases = Releases::builtin().unwrap();
    let release = releases.get(RELEASE).unwrap().clone().resolved("arm64");
    let own = release.own_repository("arm64").unwrap();
    let main = Suite::new(&own.suites[0], &["arm64"]).component("main", packages);
    own.components.iter().fold(main, |suite, component| suite.component(component, Vec::new()))
}

#[track_caller]
fn contains(said: &str, expected: &[&str]) {
    for part in expected {
        assert!(said.contains(part), "{part:?} is missing from:\n{said}");
    }
}

/// An archive, its server and a place to build in.
struct Place {
    key: Key,
    repository: Repository,
    server: Server,
    dir: tempfile::TempDir,
}

impl Place {
    /// With the archive that `suite` describes.
    fn new(suite: &Suite) -> Self {
        Self::signed_by(Signer::Known, suite)
    }

    fn signed_by(signer: Signer, suite: &Suite) -> Self {
        let (key, mut repository) = (Key::new(), Repository::new());
        match signer {
            Signer::Known => repository.publish(suite, Some(&key)),
            Signer::Stranger => repository.publish(suite, Some(&Key::new())),
            Signer::Nobody => repository.publish(suite, None),
        }
        let server = Server::new(repository.path());
        Self { key, repository, server, dir: tempfile::tempdir().unwrap() }
    }

    /// Writes the recipe of the builds.
    fn recipe(&self, text: &str) {
        std::fs::write(self.dir.path().join("piimg.toml"), text).unwrap();
    }

    /// The right key ring, as a flag's value.
    fn keyring(&self) -> String {
        std::fs::write(self.dir.path().join("archive.gpg"), self.key.ring()).unwrap();
        format!("debian=archive.gpg#{}", self.key.fingerprint())
    }

    /// Builds from the archive, which must fail, and returns what was said.
    fn refused(&self, arguments: &[&str]) -> String {
        let keyring = self.keyring();
        self.fails(&["--mirror", &self.server.url(), "--keyring", &keyring], arguments)
    }

    #[expect(clippy::disallowed_methods, reason = "the tests run what the user runs")]
    fn fails(&self, archive: &[&str], arguments: &[&str]) -> String {
        let output = std::process::Command::new(piimg_tests::piimg())
            .current_dir(self.dir.path())
            .env("LC_ALL", "C.UTF-8")
            // The tools would come from the archive too.
            .args(["build", "--release", RELEASE, "--emulation", "plain", "--store", "store", "--imagedir", "images"])
            .args(archive)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.success(), output.stdout.as_slice()), (false, &b""[..]), "{said}");
        assert!(!self.dir.path().join("images").join("latest_image").exists(), "{said}");
        said
    }
}
