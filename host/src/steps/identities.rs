//! Removes what must differ between machines and was made when packages were installed: SSH host keys and the like.
//!
//! Those that `files/identities.toml` knows are removed when an image is finalised, and a unit of the image makes them anew
//! at its first boot, before whatever needs them. Others that look like keys or ids are named.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::error::{Context, Result};
use crate::glob;
use crate::rootfs::files::{Attrs, Exact, FileErrorCode, FileKind, ImagePath, Rootfs};
use crate::rootfs::machine_ids::{LEFT_OUT, LONGEST, TOPS, what_is_own};
use crate::rootfs::text;

const UNITS: &str = "/etc/systemd/system";
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
const LISTS: &str = "/var/lib/dpkg/info";
/// Longest list of a package's files: that of a kernel's headers has 2 MB.
const LONGEST_LIST: u64 = 32 << 20;
/// Deepest directory that is looked into.
const DEEPEST: usize = 16;

/// Something that must be another on each machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    name: String,
    title: String,
    #[serde(default)]
    paths: Vec<String>,
    value: Option<Value>,
    links_to: Option<String>,
    renew: Option<String>,
    #[serde(default)]
    before: Vec<String>,
    #[serde(default)]
    always: bool,
}

/// A value within a file of settings, which is written as a shell assigns it: `KEY="value"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    file: String,
    key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identities {
    identity: Vec<Identity>,
}

/// Returns those that are known.
fn known() -> &'static [Identity] {
    static KNOWN: OnceLock<Vec<Identity>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let known: Identities =
            toml::from_str(include_str!("../../../files/identities.toml")).expect("a test reads the file");
        known.identity
    })
}

/// Files removed from an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Each with what makes it anew.
    pub paths: Vec<(String, String)>,
    /// Files that stay without the value that was another machine's, each with what that was.
    pub emptied: Vec<(String, String)>,
    /// The files by which it is made anew, each with what it makes.
    pub units: Vec<(String, String)>,
}

/// Removes what is known, and has it made at the first boot. `is_wanted` says of a path that somebody wrote it for just
/// this image.
///
/// # Errors
/// If a file of the image cannot be removed or written.
pub(super) fn renew(rootfs: &Rootfs, is_wanted: &dyn Fn(&str) -> bool) -> Result<Removed> {
    let (tree, mut removed) = (rootfs.exact(), Removed::default());
    for identity in known() {
        let may_go = |path: &ImagePath| identity.always || !is_wanted(path.as_str());
        let mut found = identity.find(tree)?;
        found.retain(may_go);
        for path in &found {
            tree.remove(path)?;
            removed.paths.push((path.to_string(), identity.fate()));
        }
        let emptied = match &identity.value {
            Some(value) => value.empty(tree, &may_go)?,
            None => false,
        };
        if emptied {
            removed.emptied.extend(identity.value.iter().map(|value| (value.file.clone(), identity.title.clone())));
        }
        if emptied || !found.is_empty() {
            removed.units.extend(identity.write_unit(tree)?.into_iter().map(|path| (path, identity.title.clone())));
        }
    }
    Ok(removed)
}

impl Identity {
    /// Returns the path that tells that all are there.
    fn mark(&self) -> &str {
        self.paths.iter().find(|path| !path.contains('*')).map_or("", String::as_str)
    }

    fn unit(&self) -> String {
        format!("piimg-{}.service", self.name)
    }

    fn fate(&self) -> String {
        match self.renew {
            Some(_) => format!("removed from the image, whose first boot makes {}", self.title),
            None => format!("removed from the image: what needs {} makes it by itself", self.title),
        }
    }

    fn find(&self, tree: Exact<'_>) -> Result<Vec<ImagePath>> {
        let mut found = BTreeSet::new();
        for pattern in &self.paths {
            let (directory, _) = pattern.rsplit_once('/').context("a known path is absolute")?;
            let entries = match tree.list(&ImagePath::parse(directory)?) {
                // A file behind a link belongs to another path.
                Err(error) if error.code == FileErrorCode::Invalid && !self.always => continue,
                Err(error) if error.code == FileErrorCode::NotADirectory && !self.always => continue,
                entries => entries?.unwrap_or_default(),
            };
            for (name, kind) in entries {
                let path = format!("{directory}/{name}");
                let path = ImagePath::parse(&path)?;
                if glob::matches_path(pattern, path.as_str())
                    || kind == FileKind::Symlink && self.is_link(tree, &path)?
                {
                    found.insert(path.to_string());
                }
            }
        }
        found.iter().map(|path| Ok(ImagePath::parse(path)?)).collect()
    }

    /// Returns whether it is a link to what is made anew.
    fn is_link(&self, tree: Exact<'_>, path: &ImagePath) -> Result<bool> {
        let Some(name) = &self.links_to else { return Ok(false) };
        let target = tree.metadata(path)?.and_then(|metadata| metadata.target).unwrap_or_default();
        Ok(target.rsplit('/').next() == Some(name))
    }

    /// Writes the unit, and enables it, unless somebody has made another one. Returns what was written.
    fn write_unit(&self, tree: Exact<'_>) -> Result<Vec<String>> {
        const DIRECTORY: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };
        let Some(text) = self.unit_text() else { return Ok(Vec::new()) };
        let unit = ImagePath::parse(UNITS)?.join(&self.unit())?;
        let link = ImagePath::parse(WANTS)?.join(&self.unit())?;
        if tree.metadata(&unit)?.is_some() {
            return Ok(Vec::new());
        }
        tree.make_dir_all(&ImagePath::parse(WANTS)?, DIRECTORY)?;
        tree.write(&unit, text.as_bytes(), Attrs { mode: 0o644, uid: 0, gid: 0 })?;
        tree.symlink(&link, unit.as_str())?;
        Ok(vec![unit.to_string(), link.to_string()])
    }

    /// Returns the condition of the unit: that there is something to make.
    fn condition(&self) -> String {
        match &self.value {
            Some(value) => value.file.clone(),
            None => format!("!{}", self.mark()),
        }
    }

    fn unit_text(&self) -> Option<String> {
        let renew = self.renew.as_ref()?;
        let command = quoted(&self.value.as_ref().map_or_else(|| renew.clone(), |value| value.fill(renew)));
        let before = if self.before.is_empty() { "basic.target".to_owned() } else { self.before.join(" ") };
        Some(format!(
            "[Unit]\n\
             Description=Make {}\n\
             # Units of sockets are started before ordinary ones, and it before them.\n\
             DefaultDependencies=no\n\
             After=local-fs.target systemd-remount-fs.service systemd-tmpfiles-setup.service\n\
             Before={before} shutdown.target\n\
             Conflicts=shutdown.target\n\
             ConditionPathExists={}\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart=/bin/sh -c {command}\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n",
            self.title,
            self.condition()
        ))
    }
}

impl Value {
    /// Empties the value. Returns whether there was one.
    fn empty(&self, tree: Exact<'_>, may_go: &dyn Fn(&ImagePath) -> bool) -> Result<bool> {
        let path = ImagePath::parse(&self.file)?;
        let is_file = |metadata: &crate::rootfs::files::Metadata| metadata.kind == FileKind::File;
        let metadata = match tree.metadata(&path) {
            // What is behind a link is another path's.
            Err(error) if matches!(error.code, FileErrorCode::Invalid | FileErrorCode::NotADirectory) => None,
            metadata => metadata?.filter(|metadata| is_file(metadata) && may_go(&path)),
        };
        let Some(metadata) = metadata else { return Ok(false) };
        let text = text::decode(&tree.read(&path, LONGEST)?.unwrap_or_default());
        let emptied: String = text.split_inclusive('\n').map(|line| self.emptied(line)).collect();
        if emptied == text {
            return Ok(false);
        }
        tree.write(&path, &text::encode(&emptied), metadata.attrs)?;
        Ok(true)
    }

    /// Returns a line without the value, if it assigns one.
    fn emptied(&self, line: &str) -> String {
        let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
        match content.split_once('=') {
            Some((key, _)) if key == self.key => format!("{key}=\"\"{end}"),
            _ => line.to_owned(),
        }
    }

    /// Returns the command that writes what `renew` prints where the value is empty.
    fn fill(&self, renew: &str) -> String {
        let Self { file, key } = self;
        format!(
            "if grep -q '^{key}=\"\"$' {file}; then value=$({renew}) && sed -i \"s|^{key}=\\\"\\\"\\$|{key}=\\\"$value\\\"|\" {file}; fi"
        )
    }
}

/// Returns a word of a command line as systemd.service(5) reads it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$").replace('%', "%%");
    format!("\"{escaped}\"")
}

/// Returns whether [`renew`] may have removed what was at `path`.
pub(super) fn may_remove(path: &str) -> bool {
    let is_beside = |identity: &Identity| {
        let directory = |path: &str| path.rsplit_once('/').map(|(directory, _)| directory.to_owned());
        identity.links_to.is_some() && identity.paths.iter().any(|known| directory(known) == directory(path))
    };
    known()
        .iter()
        .any(|identity| identity.paths.iter().any(|pattern| glob::matches_path(pattern, path)) || is_beside(identity))
}

/// Returns whether [`renew`] may have emptied a value of the file at `path`.
pub(super) fn may_empty(path: &str) -> bool {
    known().iter().filter_map(|identity| identity.value.as_ref()).any(|value| value.file == path)
}

/// Returns whether [`renew`] may have written what is at `path`.
pub(super) fn may_write(path: &str) -> bool {
    let is_of =
        |identity: &Identity| [UNITS, WANTS].iter().any(|directory| path == format!("{directory}/{}", identity.unit()));
    Path::new(WANTS).starts_with(path) || known().iter().any(is_of)
}

/// Returns what else of the image looks as if each machine should have another one, but for what `is_wanted`: a package's
/// script made it.
///
/// # Errors
/// If the image cannot be read.
pub(super) fn find_unknown(rootfs: &Rootfs, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<(String, &'static str)>> {
    let listed = listed(rootfs)?;
    let mut search = Search { tree: rootfs.exact(), listed, is_wanted, found: Vec::new() };
    for top in TOPS {
        search.look_into(&ImagePath::parse(top)?, 0)?;
    }
    Ok(search.found)
}

struct Search<'a> {
    tree: Exact<'a>,
    /// Paths in the packages' file lists.
    listed: BTreeSet<String>,
    is_wanted: &'a dyn Fn(&str) -> bool,
    found: Vec<(String, &'static str)>,
}

impl Search<'_> {
    fn look_into(&mut self, directory: &ImagePath, depth: usize) -> Result<()> {
        if depth > DEEPEST || LEFT_OUT.contains(&directory.as_str()) {
            return Ok(());
        }
        let entries = match self.tree.list(directory) {
            // A script of a package makes no link at the top and no name that is not text.
            Err(error) if matches!(error.code, FileErrorCode::Invalid | FileErrorCode::NotADirectory) => return Ok(()),
            entries => entries?.unwrap_or_default(),
        };
        for (name, kind) in entries {
            let path = directory.join(&name)?;
            match kind {
                FileKind::Directory => self.look_into(&path, depth + 1)?,
                FileKind::File if !self.listed.contains(path.as_str()) && !(self.is_wanted)(path.as_str()) => {
                    self.look_at(&path)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn look_at(&mut self, path: &ImagePath) -> Result<()> {
        let Some(metadata) = self.tree.metadata(path)?.filter(|metadata| metadata.size <= LONGEST) else {
            return Ok(());
        };
        let content = self.tree.read(path, LONGEST)?.unwrap_or_default();
        let what = what_is_own(path.as_str(), metadata.attrs.mode, &content);
        self.found.extend(what.map(|what| (path.to_string(), what)));
        Ok(())
    }
}

/// Returns the paths that packages list.
fn listed(rootfs: &Rootfs) -> Result<BTreeSet<String>> {
    let (tree, directory) = (rootfs.exact(), ImagePath::parse(LISTS)?);
    let mut listed = BTreeSet::new();
    for (name, _) in tree.list(&directory)?.unwrap_or_default() {
        if name.ends_with(".list") {
            let text = tree.read(&directory.join(&name)?, LONGEST_LIST)?.unwrap_or_default();
            listed.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn what_is_known_is_whole() {
        let mut names = BTreeSet::new();
        for identity in known() {
            assert!(names.insert(&identity.name), "`{}` is there twice", identity.name);
            assert!(identity.paths.iter().all(|path| path.starts_with('/')), "{identity:?}");
            assert_ne!(identity.paths.is_empty(), identity.value.is_none(), "{identity:?}");
            assert!(
                identity.renew.is_none() || identity.value.is_some() || !identity.mark().is_empty(),
                "nothing tells that {identity:?} is there"
            );
            assert!(identity.paths.iter().all(|path| may_remove(path)), "{identity:?}");
        }
    }

    #[test]
    fn known_identities_are_removed_and_made_at_the_first_boot() {
        let dir = tree(&[
            ("etc/munge/munge.key", "secret"),
            ("etc/ssh/ssh_host_rsa_key", "secret"),
            ("etc/ssh/ssh_host_rsa_key.pub", "public"),
            ("etc/ssh/sshd_config", ""),
            ("etc/ssl/certs/ssl-cert-snakeoil.pem", "certificate"),
            ("etc/ssl/certs/other.pem", "certificate"),
            ("etc/ssl/private/ssl-cert-snakeoil.key", "secret"),
            ("var/lib/dkms/mok.key", "secret"),
        ]);
        let certs = dir.path().join("etc/ssl/certs");
        symlink("ssl-cert-snakeoil.pem", certs.join("12345678.0")).unwrap();
        symlink("other.pem", certs.join("87654321.0")).unwrap();
        let rootfs = Rootfs::open(dir.path(), 0).unwrap();
        let removed = renew(&rootfs, &|_| false).unwrap();
        let paths: Vec<&str> = removed.paths.iter().map(|(path, _)| path.as_str()).collect();
        let expected = [
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/etc/ssl/certs/12345678.0",
            "/etc/ssl/certs/ssl-cert-snakeoil.pem",
            "/etc/ssl/private/ssl-cert-snakeoil.key",
            "/etc/munge/munge.key",
            "/var/lib/dkms/mok.key",
        ];
        assert_eq!(paths, expected);
        assert!(paths.iter().all(|path| !dir.path().join(&path[1..]).exists() && may_remove(path)));
        assert!(certs.join("other.pem").exists() && certs.join("87654321.0").is_symlink());
        let units: Vec<&str> = removed.units.iter().map(|(path, _)| path.as_str()).collect();
        let names = ["ssh-host-keys", "snakeoil", "munge"];
        let both = names.map(|name| {
            ["", "multi-user.target.wants/"].map(|inside| format!("/etc/systemd/system/{inside}piimg-{name}.service"))
        });
        assert_eq!(units, both.concat());
        assert!(units.iter().all(|path| may_write(path)) && !may_write("/etc/systemd/system/piimg-other.service"));
        let unit = fs::read_to_string(dir.path().join("etc/systemd/system/piimg-munge.service")).unwrap();
        for line in ["Before=munge.service shutdown.target", "ConditionPathExists=!/etc/munge/munge.key"] {
            assert!(unit.lines().any(|found| found == line), "{line:?} is missing from:\n{unit}");
        }
        let link = dir.path().join("etc/systemd/system/multi-user.target.wants/piimg-munge.service");
        assert_eq!(fs::read_link(link).unwrap().to_str(), Some("/etc/systemd/system/piimg-munge.service"));
    }

    #[test]
    fn what_was_written_for_the_image_stays_but_for_host_keys() {
        let dir = tree(&[("etc/munge/munge.key", "of a cluster"), ("etc/ssh/ssh_host_rsa_key", "secret")]);
        let removed = renew(&Rootfs::open(dir.path(), 0).unwrap(), &|_| true).unwrap();
        assert_eq!(removed.paths.len(), 1, "{removed:?}");
        assert!(dir.path().join("etc/munge/munge.key").exists());
        // Nor is a unit written over another one.
        let dir = tree(&[("etc/munge/munge.key", "k"), ("etc/systemd/system/piimg-munge.service", "own")]);
        assert!(renew(&Rootfs::open(dir.path(), 0).unwrap(), &|_| false).unwrap().units.is_empty());
    }

    #[test]
    fn a_value_among_settings_is_emptied_and_filled_at_the_first_boot() {
        let file = "etc/popularity-contest.conf";
        let text = "# MY_HOSTID is a secret\nMY_HOSTID=\"0192f5a06c1e4a599d3b0123456789ab\"\nPARTICIPATE=\"no\"\n";
        let dir = tree(&[(file, text)]);
        let rootfs = Rootfs::open(dir.path(), 0).unwrap();
        assert_eq!(renew(&rootfs, &|path| path == "/etc/popularity-contest.conf").unwrap(), Removed::default());
        let removed = renew(&rootfs, &|_| false).unwrap();
        assert_eq!(removed.emptied, [("/etc/popularity-contest.conf".into(), "the id of popularity-contest".into())]);
        assert!(removed.paths.is_empty() && removed.units.len() == 2, "{removed:?}");
        assert!(may_empty("/etc/popularity-contest.conf") && !may_empty("/etc/passwd"));
        let left = fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(left, "# MY_HOSTID is a secret\nMY_HOSTID=\"\"\nPARTICIPATE=\"no\"\n");
        assert_eq!(renew(&rootfs, &|_| false).unwrap(), Removed::default(), "there is none left");

        // What the unit does, done here: once, and never over a value.
        let value = Value { file: dir.path().join(file).to_str().unwrap().to_owned(), key: "MY_HOSTID".into() };
        for (renew, expected) in [("printf 0f", "MY_HOSTID=\"0f\""), ("printf 1f", "MY_HOSTID=\"0f\"")] {
            crate::sandbox::tool::Tool::new("sh").args(["-c", &value.fill(renew)]).run().unwrap();
            let filled = fs::read_to_string(&value.file).unwrap();
            assert_eq!(filled.lines().nth(1), Some(expected), "{filled}");
        }
        let unit = fs::read_to_string(dir.path().join("etc/systemd/system/piimg-popularity-contest.service")).unwrap();
        assert!(unit.contains("\nConditionPathExists=/etc/popularity-contest.conf\n"), "{unit}");
    }

    #[test]
    fn commands_are_quoted_for_systemd() {
        assert_eq!(quoted("a \"$b\" %c \\d"), "\"a \\\"$$b\\\" %%c \\\\d\"");
    }

    #[test]
    fn what_is_unknown_is_found_where_scripts_put_it() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nAA\n";
        let dir = tree(&[
            ("etc/app/made.pem", key),
            ("etc/app/brought.pem", key),
            ("etc/app/wanted.pem", key),
            ("home/ann/.ssh/id_rsa", key),
            ("usr/share/doc/app/key.pem", key),
            ("var/lib/app/id", "0192f5a0-6c1e-4a59-9d3b-0123456789ab\n"),
            ("var/lib/app/token.key", "0f"),
            ("var/lib/dpkg/info/app.list", "/etc/app/brought.pem\n"),
        ]);
        fs::set_permissions(dir.path().join("var/lib/app/token.key"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("/home", dir.path().join("srv")).unwrap();
        let found = find_unknown(&Rootfs::open(dir.path(), 0).unwrap(), &|path| path == "/etc/app/wanted.pem").unwrap();
        let expected = [
            ("/etc/app/made.pem", "a private key"),
            ("/var/lib/app/id", "an id"),
            ("/var/lib/app/token.key", "a secret, by its name"),
        ];
        assert_eq!(found, expected.map(|(path, what)| (path.to_owned(), what)));
    }
}
