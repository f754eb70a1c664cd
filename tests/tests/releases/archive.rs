//! The archives of a release, and a build from them.

use std::path::PathBuf;
use std::process::Command;

use piimg::emulation::host_architecture;
use piimg::recipe::release::repository::Repository as Described;
use piimg::recipe::release::{Release, Releases};
use piimg_tests::repository::{Key, Package, Repository, Server, Suite, debian};
use serde::Deserialize;

use super::image::Image;

/// What makes a tree work; Debian's, in whatever release.
const REAL: [&str; 9] =
    ["systemd-sysv", "dbus", "initramfs-tools", "udev", "kmod", "passwd", "login", "libpam-systemd", "linux-base"];
/// Debian's suite that they are of.
const SUITE: &str = "bookworm";

/// The programs that run natively, by their packages.
#[derive(Deserialize)]
struct NativeTools {
    #[serde(rename = "package")]
    packages: Vec<NativePackage>,
}

#[derive(Deserialize)]
struct NativePackage {
    name: String,
}

/// Archives of one release, each with a server and a key of its own.
pub(crate) struct Archives {
    release: Release,
    architecture: String,
    served: Vec<Served>,
    dir: tempfile::TempDir,
}

struct Served {
    names: Vec<String>,
    key_ring: String,
    key: Key,
    server: Server,
    _repository: Repository,
}

impl Archives {
    /// The release's own archive with what every image of it has and `more`, and one for each repository of `others`.
    pub(crate) fn new(name: &str, architecture: &str, more: Vec<Package>, others: &[(&str, Vec<Package>)]) -> Self {
        let release = Releases::builtin().unwrap().get(name).unwrap().clone().resolved(architecture);
        let mut packages = debian::packages(SUITE, architecture, &REAL);
        packages.extend(more);
        let elsewhere = |name: &str| others.iter().any(|(_, packages)| packages.iter().any(|other| other.name == name));
        let empty = release.packages.iter().filter(|name| !elsewhere(name));
        let mut packages = debian::with_empty(packages, empty, architecture);
        let list = concat!(env!("CARGO_MANIFEST_DIR"), "/../files/emulation/native.toml");
        let tools: NativeTools = toml::from_str(&std::fs::read_to_string(list).unwrap()).unwrap();
        let names: Vec<&str> = tools.packages.iter().map(|package| package.name.as_str()).collect();
        if host_architecture() != architecture {
            let tools = debian::packages(SUITE, host_architecture(), &names);
            // Those of all architectures may be there already.
            let there: Vec<String> = packages.iter().map(|package| package.name.clone()).collect();
            packages.extend(tools.into_iter().filter(|tool| tool.architecture != "all" || !there.contains(&tool.name)));
        }
        // One archive serves both architectures, under both names.
        let own = release.own_repository(architecture).unwrap();
        let native = release.own_repository(host_architecture()).map(|native| native.name.clone());
        let names = [Some(own.name.clone()), native.ok().filter(|native| *native != own.name)];
        let mut served = vec![Served::new(own, names.into_iter().flatten().collect(), &packages)];
        for (name, packages) in others {
            let repository = release.repositories.iter().find(|repository| repository.name == *name).unwrap();
            served.push(Served::new(repository, vec![(*name).to_owned()], packages));
        }
        // Beside the target directory's files: a store needs a file system that overlays can be on.
        let dir = tempfile::tempdir_in(piimg_tests::target()).unwrap();
        Self { release, architecture: architecture.to_owned(), served, dir }
    }

    pub(crate) fn release(&self) -> &Release {
        &self.release
    }

    /// Addresses that no image may have in it.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.served.iter().map(|served| served.server.url().replace("http://", "")).collect()
    }

    /// Builds an image with `arguments`.
    #[track_caller]
    pub(crate) fn build(&self, arguments: &[&str]) -> Image {
        let (success, stdout, stderr) = self.run(arguments);
        assert!(success, "{stderr}");
        Image(self.dir.path().join(stdout.trim_end()))
    }

    /// A build that must fail; what it said.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let (success, _, stderr) = self.run(arguments);
        assert!(!success, "{stderr}");
        stderr
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(piimg_tests::piimg());
        command.current_dir(self.dir.path()).env("SOURCE_DATE_EPOCH", "1750000000").args(["build", "--release"]);
        command.args([&self.release.name, "--arch", &self.architecture, "--store", "store", "--imagedir", "images"]);
        for served in &self.served {
            let ring = self.path(&format!("{}.gpg", served.key_ring));
            std::fs::write(&ring, served.key.ring()).unwrap();
            let ring = format!("{}={}#{}", served.key_ring, ring.display(), served.key.fingerprint());
            command.args(["--keyring", &ring]);
            for name in &served.names {
                command.args(["--mirror", &format!("{name}={}", served.server.url())]);
            }
        }
        let output = command.args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }
}

impl Served {
    /// The packages are in the first suite and component; the pockets are there, and empty.
    fn new(described: &Described, names: Vec<String>, packages: &[Package]) -> Self {
        let (key, mut repository) = (Key::new(), Repository::new());
        let mut architectures = vec!["arm64", host_architecture()];
        architectures.dedup();
        for (index, suite) in described.suites.iter().enumerate() {
            let mut suite = Suite::new(suite, &architectures);
            for component in &described.components {
                suite = suite.component(component, Vec::new());
            }
            if index == 0 {
                suite = suite.component(&described.components[0], packages.to_vec());
            }
            repository.publish(&suite, Some(&key));
        }
        let server = Server::new(repository.path());
        Self { names, key_ring: described.signed_by.clone(), key, server, _repository: repository }
    }
}
