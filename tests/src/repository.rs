//! An archive of packages that a test makes: real packages, real lists, a real signature by a key that is thrown away.
//!
//! What a test wants wrong is made wrong on purpose: in the description of a [`Suite`], by signing with another [`Key`],
//! by [`Repository::damage`] after the signature, or by the [`Server`].

mod brought;
pub mod debian;
mod key;
mod package;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use brought::bring;
pub use key::Key;
pub use package::Package;
pub use server::{Answer, Server};
use sha2::{Digest as _, Sha256};

/// One suite of an archive, as its Release file describes it.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its directory below `dists/`, or below the top of a flat archive: that of one ends with `/`.
    pub directory: String,
    /// The codename in its Release file.
    pub codename: String,
    pub architectures: Vec<String>,
    /// Component → packages. One of the architecture `all` is in the lists of all.
    pub components: BTreeMap<String, Vec<Package>>,
    /// When it was signed.
    pub date: SystemTime,
    pub valid_until: Option<SystemTime>,
    /// Lists are also kept under their digests, and apt is told to look there.
    pub by_hash: bool,
}

impl Suite {
    /// Makes a suite without packages, signed now and valid for ever.
    pub fn new(name: &str, architectures: &[&str]) -> Self {
        Self {
            directory: name.into(),
            codename: name.into(),
            architectures: architectures.iter().map(ToString::to_string).collect(),
            components: BTreeMap::new(),
            // A clock that was set back by a moment does not matter.
            date: SystemTime::now() - Duration::from_secs(60),
            valid_until: None,
            by_hash: false,
        }
    }

    #[must_use]
    pub fn component(mut self, name: &str, packages: Vec<Package>) -> Self {
        self.components.entry(name.into()).or_default().extend(packages);
        self
    }

    fn is_flat(&self) -> bool {
        self.directory.ends_with('/')
    }

    fn release(&self, lists: &[(String, Vec<u8>)]) -> String {
        let components: Vec<&str> = self.components.keys().map(String::as_str).collect();
        let mut text = format!(
            "Origin: Test\nLabel: Test\nSuite: {0}\nCodename: {0}\nDate: {1}\n",
            self.codename,
            date(self.date)
        );
        if let Some(end) = self.valid_until {
            writeln!(text, "Valid-Until: {}", date(end)).expect("writing to a string");
        }
        if self.by_hash {
            text += "Acquire-By-Hash: yes\n";
        }
        writeln!(text, "Architectures: {}", self.architectures.join(" ")).expect("writing to a string");
        if !self.is_flat() {
            writeln!(text, "Components: {}", components.join(" ")).expect("writing to a string");
        }
        text += "SHA256:\n";
        for (path, content) in lists {
            writeln!(text, " {} {} {path}", sha256(content), content.len()).expect("writing to a string");
        }
        text
    }
}

/// A directory that is an archive; gone when dropped.
#[derive(Debug)]
pub struct Repository {
    dir: tempfile::TempDir,
    /// Packages that are in the pool: suites may share them.
    pool: BTreeSet<String>,
}

impl Repository {
    /// # Panics
    /// If the directory cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory can be made"), pool: BTreeSet::new() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Publishes `suite` in place of what its directory held, signed by `key`; unsigned if there is none.
    ///
    /// # Panics
    /// If a package or file cannot be made.
    pub fn publish(&mut self, suite: &Suite, key: Option<&Key>) {
        let directory = if suite.is_flat() { self.path().to_owned() } else { self.path().join("dists") };
        let directory = directory.join(suite.directory.trim_start_matches('/'));
        if directory.exists() && !suite.is_flat() {
            fs::remove_dir_all(&directory).expect("a suite can be replaced");
        }
        let mut lists = Vec::new();
        for (component, packages) in &suite.components {
            let stanzas: Vec<(String, String)> =
                packages.iter().map(|package| (package.architecture.clone(), self.add(component, package))).collect();
            if suite.is_flat() {
                // One list has the packages of all architectures, and their places as `dpkg-scanpackages .` writes them.
                let text: String =
                    stanzas.iter().map(|(_, stanza)| stanza.replace("Filename: ", "Filename: ./")).collect();
                lists.push(("Packages".to_owned(), text.into_bytes()));
                continue;
            }
            for architecture in &suite.architectures {
                let wanted = |of: &str| of == "all" || of == architecture;
                let text: String =
                    stanzas.iter().filter(|(of, _)| wanted(of)).map(|(_, stanza)| stanza.as_str()).collect();
                lists.push((format!("{component}/binary-{architecture}/Packages"), text.into_bytes()));
            }
        }
        for (path, content) in &lists {
            let file = directory.join(path);
            write(&file, content);
            if suite.by_hash {
                write(&file.with_file_name("by-hash/SHA256").join(sha256(content)), content);
            }
        }
        let release = suite.release(&lists);
        write(&directory.join("Release"), release.as_bytes());
        if let Some(key) = key {
            write(&directory.join("InRelease"), &key.clearsign(&release));
        }
    }

    /// Puts a package into the pool and returns its stanza of a list.
    fn add(&mut self, component: &str, package: &Package) -> String {
        let place = format!("pool/{component}/{}", package.file_name());
        let file = self.path().join(&place);
        if self.pool.insert(place.clone()) {
            fs::create_dir_all(file.parent().expect("a file is in a directory")).expect("a directory can be made");
            package.build(&file);
        }
        let content = fs::read(&file).expect("a package can be read");
        let (size, digest) = (content.len(), sha256(&content));
        format!("{}Filename: {place}\nSize: {size}\nSHA256: {digest}\n\n", package.control())
    }

    /// Returns the package's entry in `piimg.lock`, as the file of the pool is.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn locked(&self, package: &Package) -> String {
        let place = self.pool.iter().find(|place| place.ends_with(&format!("/{}", package.file_name())));
        let content = fs::read(self.path().join(place.expect("it is in the pool"))).expect("a package can be read");
        let (name, version, architecture) = (&package.name, &package.version, &package.architecture);
        format!("\"{name}:{architecture}\" = {{ version = \"{version}\", digest = \"sha256:{}\" }}\n", sha256(&content))
    }

    /// Removes the file of a package that the archive has no more.
    ///
    /// # Panics
    /// If there is none.
    pub fn forget(&mut self, package: &Package) {
        let end = format!("/{}", package.file_name());
        let place = self.pool.iter().find(|place| place.ends_with(&end)).cloned().expect("it is in the pool");
        fs::remove_file(self.path().join(&place)).expect("a file can be removed");
        self.pool.remove(&place);
    }

    /// Changes the last byte of the file at `path`, below the archive's top, which keeps its length.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn damage(&self, path: &str) {
        let file = self.path().join(path);
        let mut content = fs::read(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        *content.last_mut().expect("the file is not empty") ^= 1;
        // Not in place: other archives have the same file.
        fs::remove_file(&file).expect("a file can be replaced");
        fs::write(&file, content).expect("a file can be written");
    }

    /// Returns the file of the pool that holds the package `name`, below the archive's top.
    ///
    /// # Panics
    /// If there is none.
    pub fn file_of(&self, name: &str) -> &str {
        let start = format!("/{name}_");
        self.pool.iter().find(|place| place.contains(&start)).unwrap_or_else(|| panic!("no package {name}"))
    }
}

fn write(path: &PathBuf, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory can be made");
    fs::write(path, content).expect("a file can be written");
}

fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// Formats a date as Release files have it.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).expect("no archive is older than 1970").as_secs();
    run(command("date").args(["--utc", "+%a, %d %b %Y %H:%M:%S UTC", "--date"]).arg(format!("@{seconds}")))
}

/// Prepares a program of the host, in no language.
#[expect(clippy::disallowed_methods, reason = "the tests make archives with the tools that others use")]
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    command
}

/// Runs a program that must succeed, and returns what it said.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask setup` installs what is missing", command.get_program().display())
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}
