//! A directory in which the program runs with nothing of the caller's environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use piimg::sandbox::packages::{BUILDS, PACKAGES};

/// The one program of a build that a plan starts, to look at key rings. It only looks for the others; empty files stand for
/// them.
const GPG: &str = "/usr/bin/gpg";

/// A home, a cache, a temporary and a current directory, all of them gone at the end.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
    env: BTreeMap<OsString, OsString>,
}

/// Status and output of a run of the program; the directory's name is replaced by `$DIR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Scratch {
    /// # Panics
    /// If the directories cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes directories")]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let mut scratch = Self { dir, env: BTreeMap::new() };
        for name in ["bin", "cache", "home", "tmp", "work"] {
            fs::create_dir(scratch.root().join(name)).expect("a directory can be made");
        }
        let of_builds = PACKAGES.iter().filter(|package| BUILDS.contains(&package.purpose));
        for program in of_builds.flat_map(|package| package.programs).filter(|program| !GPG.ends_with(*program)) {
            fs::write(scratch.root().join("bin").join(program), "").expect("a file can be written");
        }
        std::os::unix::fs::symlink(GPG, scratch.root().join("bin/gpg")).expect("a link can be made");
        for (variable, name) in [("HOME", "home"), ("PATH", "bin"), ("TMPDIR", "tmp"), ("XDG_CACHE_HOME", "cache")] {
            let path = scratch.root().join(name);
            scratch.set(variable, path);
        }
        scratch
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path in the current directory of the program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join("work").join(name)
    }

    /// Writes a file of the current directory.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file can be written");
    }

    /// Copies a guest into the current directory, as `name.wasm`.
    ///
    /// # Panics
    /// If it has not been built.
    pub fn guest(&self, name: &str) {
        fs::copy(crate::guest(name), self.path(&format!("{name}.wasm"))).expect("a guest can be copied");
    }

    /// Sets a variable of the program's environment.
    pub fn set(&mut self, variable: &str, value: impl AsRef<OsStr>) {
        self.env.insert(variable.into(), value.as_ref().into());
    }

    /// Takes a variable out of the program's environment.
    pub fn unset(&mut self, variable: &str) {
        self.env.remove(OsStr::new(variable));
    }

    /// Prepares a program that runs here.
    #[expect(clippy::disallowed_methods, reason = "the tests run what the user runs")]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.env).current_dir(self.path("")).stdin(std::process::Stdio::null());
        command
    }

    /// Runs the program, which may not write anything.
    ///
    /// # Panics
    /// As [`Scratch::run_to_write`], and if it writes a file.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        let before = self.listing();
        let ran = self.run_to_write(args);
        assert_eq!(self.listing(), before, "nothing may be written\n{ran:?}");
        ran
    }

    /// Runs the program.
    ///
    /// # Panics
    /// If it cannot be started, or if it does what it never may: panic, colour what is no terminal.
    pub fn run_to_write<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        let ran = self.taken(&self.command(crate::piimg()).args(args).output().expect("the program can be started"));
        assert!(!ran.stderr.contains("panicked at"), "{}", ran.stderr);
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
        ran
    }

    /// Takes what `output` says, with the directory's name replaced.
    pub fn taken(&self, output: &Output) -> Ran {
        let root = self.root().to_str().expect("the directory has a plain name");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(root, "$DIR");
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Lists every file and directory, with what shows that it was written to.
    ///
    /// # Panics
    /// If one cannot be read.
    pub fn listing(&self) -> BTreeMap<PathBuf, (u64, i64, i64)> {
        let mut found = BTreeMap::new();
        let mut rest = vec![self.root().to_owned()];
        while let Some(path) = rest.pop() {
            let metadata = fs::symlink_metadata(&path).expect("a file can be looked at");
            // A temporary file that is gone again is none of anybody's business.
            if path != self.root().join("tmp") {
                found.insert(path.clone(), (metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
            }
            if metadata.is_dir() {
                rest.extend(fs::read_dir(&path).expect("a directory can be read").map(|entry| {
                    let entry = entry.expect("a directory can be read");
                    entry.path()
                }));
            }
        }
        found
    }
}
