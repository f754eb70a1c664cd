//! The archives of a release, and a build from them.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::path::PathBuf;
use std::process::Command;

use piimg::emulation::host_architecture;
use piimg::recipe::file::RecipeFile;
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

/// The store of builds, and the time of their images.
pub(crate) const STORE: &str = "store";
pub(crate) const EPOCH: u64 = 1_750_000_000;

/// A value of the user's environment that no program of an image is to see.
pub(crate) const TOKEN: &str = "canary-of-the-users-environment";

/// What else a user's environment may hold, and would change what programs of the host do, or end them.
const HOSTILE: [(&str, &str); 21] = [
    ("APT_CONFIG", "/nonexistent"),
    ("BLKID_FILE", "/nonexistent"),
    ("COLUMNS", "1"),
    ("DEBIAN_FRONTEND", "dialog"),
    ("DPKG_ROOT", "/nonexistent"),
    ("GNUPGHOME", "/nonexistent"),
    ("GREP_OPTIONS", "-v"),
    ("GZIP", "-1"),
    ("IFS", "/"),
    ("LANG", "tr_TR.UTF-8"),
    ("LC_ALL", "tr_TR.UTF-8"),
    ("LD_LIBRARY_PATH", "/nonexistent"),
    ("MKE2FS_CONFIG", "/nonexistent"),
    ("MKE2FS_DEVICE_SECTSIZE", "4096"),
    ("MMDEBSTRAP_TEMPLATE", "/nonexistent"),
    ("PERL5LIB", "/nonexistent"),
    ("PERL5OPT", "-Mnonexistent"),
    ("POSIXLY_CORRECT", "1"),
    ("TAR_OPTIONS", "--help"),
    ("TZ", "Pacific/Kiritimati"),
    ("XZ_OPT", "-9"),
];

/// Architectures that there are; each archive has those of its description.
const ALL: [&str; 3] = ["amd64", "arm64", "armhf"];
/// With those of the host, programs run natively or not at all: a build must not fall back.
const EMULATION: &str = if cfg!(target_arch = "x86_64") { "native-tools" } else { "auto" };

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
    /// Names of the repositories that it stands in for, each with that of its key ring.
    repositories: Vec<(String, String)>,
    key: Key,
    server: Server,
    #[cfg_attr(not(feature = "long"), expect(dead_code, reason = "it is there as long as its server"))]
    repository: Repository,
    /// The one that has the packages.
    #[cfg_attr(not(feature = "long"), expect(dead_code, reason = "only an archive that moves on looks at it"))]
    suite: Suite,
}

impl Archives {
    /// The release's own archive with what every image of it has and `more`, and one for each repository of `others`.
    pub(crate) fn new(name: &str, architecture: &str, more: Vec<Package>, others: &[(&str, Vec<Package>)]) -> Self {
        let release = Releases::builtin().unwrap().get(name).unwrap().clone().resolved(architecture);
        let mut packages = debian::packages(SUITE, architecture, &REAL);
        packages.extend(more);
        packages.push(ssh());
        // It may be named with its architecture.
        let plain = |name: &str| name.split(':').next().unwrap().to_owned();
        let elsewhere =
            |name: &str| others.iter().any(|(_, packages)| packages.iter().any(|other| other.name == plain(name)));
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
        // One archive serves image and host, which may have repositories of their own.
        let mut own = [architecture, host_architecture()].map(|name| release.own_repository(name).unwrap()).to_vec();
        own.dedup();
        let mut served = vec![Served::new(&own, &packages)];
        for (name, packages) in others {
            let repository = release.repositories.iter().find(|repository| repository.name == *name).unwrap();
            served.push(Served::new(&[repository], packages));
        }
        // Beside the target directory's files: a store needs a file system that overlays can be on.
        let dir = tempfile::tempdir_in(piimg_tests::target()).unwrap();
        Self { architecture: architecture.to_owned(), served, dir, release }
    }

    /// Adds a repository of the recipe's own, and has the recipe install all that is in it.
    pub(crate) fn add_own(&mut self, name: &str, packages: &[Package]) {
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        let recipe = format!(
            "packages = {names:?}\n[[repository]]\nname = \"{name}\"\nurl = \"http://packages.example.org/debian\"\n\
             suite = \"stable\"\ncomponents = [\"main\"]\nkeyring = \"{name}.gpg\"\n"
        );
        std::fs::write(self.path("piimg.toml"), &recipe).unwrap();
        let file: RecipeFile = toml::from_str(&recipe).unwrap();
        let (repository, ring) = file.own_repositories[0].described();
        self.served.push(Served::new(&[&repository], packages));
        self.release.repositories.push(repository);
        self.release.keyrings.insert(name.to_owned(), ring);
    }

    /// Has each archive go on: these packages take the places of those of their names, whose files nobody can have any more.
    #[cfg(feature = "long")]
    pub(crate) fn move_on(&mut self, packages: &[Package]) {
        self.served.iter_mut().for_each(|served| served.move_on(packages));
    }

    /// Runs `piimg cache` on the store of builds; exit code, and all that was said.
    #[cfg(feature = "long")]
    pub(crate) fn cache(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(piimg_tests::piimg());
        let command = command.current_dir(self.dir.path()).arg("cache").args(arguments).args(["--store", STORE]);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    pub(crate) fn release(&self) -> &Release {
        &self.release
    }

    pub(crate) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// What builds asked the servers for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.served.iter().flat_map(|served| served.server.asked()).collect()
    }

    /// The host's dpkg as it unpacked the image's packages, where it did.
    pub(crate) fn native_dpkg(&self) -> Option<Vec<u8>> {
        let dpkg = |layer: std::io::Result<DirEntry>| {
            std::fs::read(layer.unwrap().path().join("fs/.piimg/tools/usr/bin/dpkg")).ok()
        };
        let found = std::fs::read_dir(self.path("store/data/layers")).unwrap().find_map(dpkg);
        assert_eq!(found.is_some(), EMULATION == "native-tools");
        found
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

    /// Builds the same in that store, for an image of that time; what came out, and what was said.
    #[track_caller]
    pub(crate) fn build_in(&self, store: &str, epoch: u64, arguments: &[&str]) -> (PathBuf, String) {
        let (success, stdout, stderr) = self.run_in(store, epoch, arguments);
        assert!(success, "{stderr}");
        (self.dir.path().join(stdout.trim_end()), stderr)
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
        self.run_in(STORE, EPOCH, arguments)
    }

    fn run_in(&self, store: &str, epoch: u64, arguments: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(piimg_tests::piimg());
        command.current_dir(self.dir.path()).env("SOURCE_DATE_EPOCH", epoch.to_string());
        command.env("TOKEN", TOKEN).envs(HOSTILE).args(["build", "--release"]);
        command.args([&self.release.name, "--arch", &self.architecture, "--store", store, "--imagedir", "images"]);
        command.args(["--emulation", EMULATION]);
        for served in &self.served {
            for (name, key_ring) in &served.repositories {
                let ring = self.path(&format!("{key_ring}.gpg"));
                std::fs::write(&ring, served.key.ring()).unwrap();
                let ring = format!("{key_ring}={}#{}", ring.display(), served.key.fingerprint());
                command.args(["--keyring", &ring, "--mirror", &format!("{name}={}", served.server.url())]);
            }
        }
        let output = command.args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }
}

/// As the real one, it makes the keys of this one machine when it is installed.
fn ssh() -> Package {
    Package::new("openssh-server", "1:10.0", "all").script(
        "postinst",
        "#!/bin/sh -e\nmkdir -p /etc/ssh\nfor kind in rsa ed25519; do echo a key >/etc/ssh/ssh_host_${kind}_key; done\n",
    )
}

impl Served {
    /// The packages are in the first suite and component of the first; the pockets are there, and empty.
    fn new(described: &[&Described], packages: &[Package]) -> Self {
        let (key, mut repository) = (Key::new(), Repository::new());
        let first = described[0];
        let architectures = ALL.into_iter().filter(|name| described.iter().any(|one| one.has(name)));
        let architectures: Vec<&str> = architectures.collect();
        let suites: BTreeSet<&String> = described.iter().flat_map(|one| &one.suites).collect();
        let mut own = None;
        for name in suites {
            let components = described.iter().flat_map(|one| &one.components);
            let mut suite = components
                .fold(Suite::new(name, &architectures), |suite, component| suite.component(component, Vec::new()));
            if *name == first.suites[0] {
                suite = suite.component(&first.components[0], packages.to_vec());
                own = Some(suite.clone());
            }
            repository.publish(&suite, Some(&key));
        }
        let server = Server::new(repository.path());
        let repositories = described.iter().map(|one| (one.name.clone(), one.signed_by.clone())).collect();
        Self { repositories, key, server, repository, suite: own.expect("it is one of them") }
    }

    #[cfg(feature = "long")]
    fn move_on(&mut self, packages: &[Package]) {
        for there in self.suite.components.values_mut().flatten() {
            let Some(next) = packages.iter().find(|next| next.name == there.name) else { continue };
            self.repository.forget(there);
            *there = next.clone();
        }
        self.suite.date = std::time::SystemTime::now();
        self.repository.publish(&self.suite, Some(&self.key));
    }
}
