//! One package of an archive.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{command, hex, run};

/// A package whose content is small and made up, or one of another archive as it is.
#[derive(Clone, Debug)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Further fields of its control file, such as `Depends`.
    fields: BTreeMap<String, String>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// Path in the image → content and mode; maintainer scripts are below `DEBIAN/`.
    Files(BTreeMap<String, (Vec<u8>, u32)>),
    /// A package file, and its control file.
    Ready { file: PathBuf, control: String },
}

impl Package {
    pub fn new(name: &str, version: &str, architecture: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            architecture: architecture.into(),
            fields: BTreeMap::new(),
            content: Content::Files(BTreeMap::new()),
        }
    }

    /// Takes the package in a file, unchanged.
    ///
    /// # Panics
    /// If it is no package.
    pub fn ready(file: &Path) -> Self {
        let control = run(command("dpkg-deb").arg("--field").arg(file)) + "\n";
        let field = |name: &str| {
            let line = control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{} has no {name}", file.display())).to_owned()
        };
        Self {
            name: field("Package"),
            version: field("Version"),
            architecture: field("Architecture"),
            fields: BTreeMap::new(),
            content: Content::Ready { file: file.to_owned(), control },
        }
    }

    /// Adds a field to the control file of a made-up package.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn depends(self, on: &str) -> Self {
        self.field("Depends", on)
    }

    #[must_use]
    pub fn essential(self) -> Self {
        self.field("Essential", "yes")
    }

    /// Adds a file, at an absolute path of the image.
    ///
    /// # Panics
    /// If the package is not made up.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.with(path.trim_start_matches('/'), content.into(), 0o644)
    }

    /// Adds a program, at an absolute path of the image.
    ///
    /// # Panics
    /// If the package is not made up.
    #[must_use]
    pub fn program(self, path: &str, content: &str) -> Self {
        self.with(path.trim_start_matches('/'), content.into(), 0o755)
    }

    /// Adds a script that dpkg runs, such as `postinst`.
    ///
    /// # Panics
    /// If the package is not made up.
    #[must_use]
    pub fn script(self, name: &str, content: &str) -> Self {
        self.with(&format!("DEBIAN/{name}"), content.into(), 0o755)
    }

    fn with(mut self, path: &str, content: Vec<u8>, mode: u32) -> Self {
        let Content::Files(files) = &mut self.content else { panic!("{} is taken as it is", self.name) };
        files.insert(path.into(), (content, mode));
        self
    }

    pub(super) fn file_name(&self) -> String {
        // An epoch is no part of the name.
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }

    /// Writes the control file.
    pub(super) fn control(&self) -> String {
        if let Content::Ready { control, .. } = &self.content {
            return control.clone();
        }
        let mut text = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: A test <test@example.org>\n",
            self.name, self.version, self.architecture
        );
        for (name, value) in &self.fields {
            writeln!(text, "{name}: {value}").expect("writing to a string");
        }
        text + "Description: made up\n"
    }

    /// Puts the package at `target`, as one more name of a file that must not be changed there.
    ///
    /// # Panics
    /// If `dpkg-deb` is missing or makes none.
    pub fn build(&self, target: &Path) {
        let made = match &self.content {
            Content::Ready { file, .. } => file.clone(),
            Content::Files(files) => self.made(files),
        };
        // Some hundred MiB for an archive whose tree works; another file system cannot share them.
        fs::hard_link(&made, target)
            .or_else(|_| fs::copy(&made, target).map(drop))
            .expect("a package can be put there");
    }

    /// Makes the package of `files`, unless one of that content was made before: archives of different tests differ in a
    /// few packages of some hundred. Kept in the target directory.
    fn made(&self, files: &BTreeMap<String, (Vec<u8>, u32)>) -> PathBuf {
        let control = self.control();
        let directory = crate::target().join("made-up-packages");
        let name = hex(&Sha256::digest(format!("{control}{files:?}")));
        let made = directory.join(format!("{name}.deb"));
        if made.exists() {
            return made;
        }
        fs::create_dir_all(&directory).expect("a directory can be made");
        let tree = tempfile::tempdir_in(&directory).expect("a directory can be made");
        // It becomes `/` of the package.
        fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        let control = [("DEBIAN/control".to_owned(), (control.into_bytes(), 0o644))];
        for (path, (content, mode)) in files.iter().chain(control.iter().map(|(path, file)| (path, file))) {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory can be made");
            fs::write(&path, content).expect("a file can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("a mode can be set");
        }
        // Another test may make the same one at this moment.
        let unfinished = tree.path().with_extension("deb");
        run(command("dpkg-deb").args(["--root-owner-group", "-Zgzip", "--build"]).arg(tree.path()).arg(&unfinished));
        fs::rename(unfinished, &made).expect("a package can be named");
        made
    }
}
