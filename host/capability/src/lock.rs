//! Reads and writes `piimg.lock`: the grants of each plugin, by digest, the packages of the image, and the build-only
//! packages.

mod edit;
mod packages;
mod write;

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;

use super::capability::Template;
use super::info::Request;
use crate::locked::{Locked, Packages};
use piimg_sandbox::error::{Context as _, Failure, Result};
use piimg_sandbox::host_files::{Directory, Links};
use piimg_sandbox::text::Printable as _;

pub use edit::{revoke, set};
pub use packages::set_packages;
pub use write::update;

/// Longest file that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    plugins: Vec<Entry>,
    /// `None` if they are not locked.
    packages: Option<Packages>,
    build_packages: Packages,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default, rename = "plugin")]
    plugins: Vec<WrittenEntry>,
    #[serde(default)]
    packages: Option<Packages>,
    #[serde(default, rename = "build-packages")]
    build_packages: Packages,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    id: String,
    digest: String,
    request: Option<Vec<String>>,
    grant: Vec<String>,
}

/// One plugin's grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The plugin's id, for people; the digest identifies it.
    pub id: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// All that it asked for when it was granted something: what another build of it is compared with. A list that is
    /// written by hand may do without.
    pub request: Option<Vec<String>>,
    pub grant: Vec<Template>,
}

impl WrittenEntry {
    fn parse(self) -> Result<Entry> {
        let Self { id, digest, request, grant } = self;
        anyhow::ensure!(
            is_digest(&digest),
            "the digest of `{id}` is not `sha256:` and 64 lowercase hexadecimal digits"
        );
        let grant = grant.iter().map(|scope| Template::parse(scope));
        let grant = grant.collect::<Result<_, _>>().with_context(|| format!("in the grants of `{id}`"))?;
        Ok(Entry { id, digest, request, grant })
    }
}

impl Entry {
    /// Returns what the plugin asked for when it was granted something: its grants, where the list is written by hand.
    pub fn asked(&self) -> Vec<&str> {
        match &self.request {
            Some(scopes) => scopes.iter().map(String::as_str).collect(),
            None => self.grant.iter().map(Template::as_str).collect(),
        }
    }

    /// Returns whether it is for the very component, and that asks for what it asked for then.
    fn is_for(&self, digest: &str, requests: &[Request]) -> bool {
        self.digest == digest
            && self.request.as_ref().is_none_or(|known| {
                let is_the_same = |request: &Request, scope: &String| request.scope == scope.as_str();
                requests.iter().all(|request| known.iter().any(|scope| is_the_same(request, scope)))
                    && known.iter().all(|scope| requests.iter().any(|request| is_the_same(request, scope)))
            })
    }
}

/// Returns whether this is `sha256:` and 64 lowercase hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

impl Lock {
    /// Reads the file; returns `None` if it does not exist.
    ///
    /// # Errors
    /// [`Failure::usage`] with the line of the mistake.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let Some(text) = read(path)? else { return Ok(None) };
        Self::parse(&text).with_context(|| Failure::usage(format!("cannot use `{}`", path.printable()))).map(Some)
    }

    /// # Errors
    /// Says what is wrong, and in which line if it is the form.
    pub fn parse(text: &str) -> Result<Self> {
        let Written { version, plugins, packages, build_packages } = toml::from_str(text)?;
        anyhow::ensure!(version == 1, "version {version} is not known; this piimg writes version 1");
        let plugins = plugins.into_iter().map(WrittenEntry::parse).collect::<Result<_>>()?;
        packages.iter().chain([&build_packages]).try_for_each(packages::check)?;
        Ok(Self { plugins, packages, build_packages })
    }

    /// Returns the packages that a build has to keep to; `None` if they are not locked.
    pub fn packages(&self) -> Option<Locked> {
        let image = self.packages.clone()?;
        Some(Locked { image, build: self.build_packages.clone() })
    }

    /// Returns the grants of the component with exactly this digest; `None` if it has no entry.
    pub fn grants<'a>(&'a self, digest: &str, requests: &[Request]) -> Option<Vec<&'a Template>> {
        let mut entries = self.plugins.iter().filter(|entry| entry.is_for(digest, requests)).peekable();
        entries.peek()?;
        Some(entries.flat_map(|entry| &entry.grant).collect())
    }

    /// Returns the entry of another build of the plugin, the last one in the file.
    pub fn another_build(&self, id: &str, digest: &str) -> Option<&Entry> {
        self.plugins.iter().rev().find(|entry| entry.id == id && entry.digest != digest)
    }
}

/// Returns the text of the file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<String>> {
    let cannot_read = || Failure::usage(format!("cannot read `{}`", path.printable()));
    match open_directory(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => read_in(&opened.with_context(cannot_read)?, path),
    }
}

fn read_in(directory: &Directory, path: &Path) -> Result<Option<String>> {
    let cannot_read = || Failure::usage(format!("cannot read `{}`", path.printable()));
    // A link could lead to a file that the recipe's author wants to read or overwrite.
    let Some(text) = directory.read(file_name(path), LONGEST).with_context(cannot_read)? else { return Ok(None) };
    String::from_utf8(text).context("it is no text").with_context(cannot_read).map(Some)
}

/// Returns the directory of the file, which the user named.
fn open_directory(path: &Path) -> std::io::Result<Directory> {
    let directory = path.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."));
    Directory::open(directory, Links::Followed)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Returns the lines that grant `scopes`, ready to be added to the file.
pub fn lines<'a>(id: &str, digest: &str, scopes: impl IntoIterator<Item = &'a str>) -> String {
    let quote = |text: &str| toml::Value::from(text).to_string();
    let mut text = format!("[[plugin]]\nid = {}\ndigest = {}\ngrant = [\n", quote(id), quote(digest));
    for scope in scopes {
        writeln!(text, "  {},", quote(scope)).expect("writing to a string");
    }
    text + "]"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn grants_belong_to_a_digest() {
        let text = format!("version = 1\n{}\n", lines("a/b", &digest('a'), ["fs:write:/etc/x", "exec:sh -c \"x\""]));
        let lock = Lock::parse(&text).unwrap();
        assert_eq!(lock.grants(&digest('a'), &[]).unwrap(), ["fs:write:/etc/x", "exec:sh -c \"x\""]);
        assert_eq!(lock.grants(&digest('b'), &[]), None);
        assert_eq!(lock.another_build("a/b", &digest('b')).unwrap().digest, digest('a'));
        assert_eq!(lock.another_build("a/b", &digest('a')), None);
        assert_eq!(lock.another_build("c/d", &digest('b')), None);
    }

    #[test]
    fn grants_belong_to_the_list_of_requests_too() {
        let lock = |request: &str| {
            let text = format!("version = 1\n[[plugin]]\nid = \"a/b\"\ndigest = \"{}\"\n", digest('a'));
            Lock::parse(&format!("{text}request = {request}\ngrant = [\"asset:x\"]\n")).unwrap()
        };
        let request =
            |scope: &str| Request { scope: scope.into(), reason: String::new(), optional: false, listed: false };
        let requests = [request("asset:x"), request("asset:y")];
        assert_eq!(lock("[\"asset:y\", \"asset:x\"]").grants(&digest('a'), &requests).unwrap(), ["asset:x"]);
        for other in ["[]", "[\"asset:x\"]", "[\"asset:x\", \"asset:z\"]", "[\"asset:x\", \"asset:y\", \"asset:z\"]"] {
            assert_eq!(lock(other).grants(&digest('a'), &requests), None, "{other}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let entry =
            |line: &str| format!("version = 1\n[[plugin]]\nid = \"a/b\"\ndigest = \"{}\"\n{line}\n", digest('a'));
        for (text, cause) in [
            ("version = 2".to_owned(), "version 2 is not known"),
            (String::new(), "missing field `version`"),
            (entry("grants = []"), "line 5"),
            (entry("grant = [\"fs:write:etc\"]"), "`fs:write:etc` is no capability"),
            ("version = 1\n[[plugin]]\nid = \"a/b\"\ndigest = \"sha256:12\"\ngrant = []".to_owned(), "64 lowercase"),
        ] {
            let error = format!("{:#}", Lock::parse(&text).unwrap_err());
            assert!(error.contains(cause), "{text}: {error}");
        }
    }
}
