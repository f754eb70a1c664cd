//! Archives of packages beside the release's own. One that packages of the build come from is asked for in `conf()`
//! ([`PluginConf::repository`](crate::PluginConf::repository)); [`Repository::apply`] is for the finished system alone.

use crate::__private::bindings::exports::piimg::plugin::preparation::Repository as Described;
use crate::__private::bindings::piimg::plugin::wishes as raw;
pub use raw::{Pin, PinTarget};

use base64ct::{Base64, Encoding as _};

use crate::{Blob, Error, ErrorCode, Need, Needs, fs, text};

/// An archive in the making.
///
/// ```
/// use piimg_plugin_sdk::apt::Repository;
///
/// let archive = Repository::new("field", "https://packages.example.org/debian", "bookworm").component("main");
/// let flat = Repository::new("flat", "https://packages.example.org/flat", "./");
/// ```
#[derive(Clone, Debug)]
pub struct Repository {
    name: String,
    uri: String,
    suite: String,
    components: Vec<String>,
}

impl Repository {
    /// Names an archive: `name` is that of its files in `/etc/apt`; an archive without components has a suite that ends
    /// in `/`.
    #[must_use]
    pub fn new(name: &str, uri: &str, suite: &str) -> Self {
        Self { name: name.to_owned(), uri: uri.to_owned(), suite: suite.to_owned(), components: Vec::new() }
    }

    /// Adds a component, such as `main`.
    #[must_use]
    pub fn component(mut self, name: &str) -> Self {
        self.components.push(name.to_owned());
        self
    }

    /// Describes it as `conf()` hands it over.
    pub(crate) fn signed(&self, fingerprints: &[&str], key: &[u8]) -> Described {
        Described {
            name: self.name.clone(),
            url: self.uri.trim_end_matches('/').to_owned(),
            suite: self.suite.clone(),
            components: self.components.clone(),
            fingerprints: fingerprints.iter().map(|text| (*text).to_owned()).collect(),
            key: key.to_owned(),
        }
    }

    /// Adds it for the finished system alone: packages that are installed during the build do not come from it. It is signed
    /// with this key and no other: an armored one (`-----BEGIN PGP…`) or a key ring, which is armored here. Needs
    /// `fs:write:/etc/apt/keyrings` and `fs:write` of `/etc/apt/keyrings/<name>.asc` and
    /// `/etc/apt/sources.list.d/<name>.sources`.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for a word that does not fit into such a file, and for what is no public
    /// key that apt reads: a page that a server sent in its place, a secret key, a keybox.
    pub fn apply(&self, key: &Blob) -> Result<(), Error> {
        let key = public_key(&key.read(0, LONGEST_KEY)?).map_err(|is| {
            Error::new(ErrorCode::Invalid, format!("the key of the archive `{}` {is}", self.name.escape_debug()))
        })?;
        let keyring = format!("{KEYRINGS}/{}.asc", self.name);
        let stanza = self.stanza(&keyring)?;
        fs::create_dir_all(KEYRINGS).apply()?;
        fs::write(&keyring, key).mode(0o644).apply()?;
        fs::write(&format!("/etc/apt/sources.list.d/{}.sources", self.name), stanza).mode(0o644).apply()
    }

    /// Writes the source; see sources.list(5), DEB822-STYLE FORMAT.
    fn stanza(&self, keyring: &str) -> Result<String, Error> {
        let Self { name, uri, suite, components } = self;
        let refuse = |message: String| Err(Error::new(ErrorCode::Invalid, message));
        if !text::is_plain_name(name) {
            return refuse(format!(
                "`{}` is no name for an archive: letters, digits, `_` and `-`",
                name.escape_debug()
            ));
        }
        if let Some(odd) = [uri, suite].into_iter().chain(components).find(|word| !is_word(word)) {
            return refuse(format!(
                "`{}` is no word of an archive's description: it is empty or has a space in it",
                odd.escape_debug()
            ));
        }
        // apt wants components with every suite but one that is a path.
        if suite.ends_with('/') != components.is_empty() {
            return refuse(format!("the archive `{name}` has either components or a suite that ends in `/`"));
        }
        let components =
            if components.is_empty() { String::new() } else { format!("Components: {}\n", components.join(" ")) };
        Ok(format!("Types: deb\nURIs: {uri}\nSuites: {suite}\n{components}Signed-By: {keyring}\n"))
    }
}

impl Needs for Repository {
    /// Returns what [`Repository::apply`] takes; an archive for the build is asked for by
    /// [`PluginConf::repository`](crate::PluginConf::repository) itself.
    fn needs(&self) -> Vec<Need> {
        let name = &self.name;
        let reason = format!("the archive {name}, for the finished system");
        let paths =
            [KEYRINGS.to_owned(), format!("{KEYRINGS}/{name}.asc"), format!("/etc/apt/sources.list.d/{name}.sources")];
        paths.iter().map(|path| Need::capability(format!("fs:write:{path}"), &reason)).collect()
    }
}

const KEYRINGS: &str = "/etc/apt/keyrings";

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_ascii_graphic())
}

/// Longest file of a key; the ring of all of Debian's has 60 KB.
const LONGEST_KEY: u32 = 1 << 20;

/// The two lines around an armored key: RFC 9580, 6.2.
const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Returns the public key in a file, armored; or what else it is.
fn public_key(file: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(file).map(str::trim_start).unwrap_or_default();
    if text.starts_with(ARMOR) {
        // gpgv takes lines that end as in Windows for something else.
        let text = text.replace("\r\n", "\n");
        return if text.contains(END) { Ok(text) } else { Err("is cut off") };
    }
    if text.starts_with("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
        return Err("is a secret one, which must not be in an image: export the public one");
    }
    // The tag of a public key, in the old and the new form of a packet: RFC 9580, 4.2 and 5.5.1.1.
    match file {
        [0x98..=0x9b | 0xc6, ..] => Ok(armored(file)),
        [_, _, _, _, _, _, _, _, b'K', b'B', b'X', b'f', ..] => {
            Err("is a keybox, which apt does not read: export the key")
        }
        [b'<', ..] => Err("is a page of the Web: is its address that of a key?"),
        _ => Err("is no public key of OpenPGP"),
    }
}

/// Armors a key ring: apt tells both forms apart by the names of files, and an armored one can be read. A checksum at its end
/// is of no use any more: RFC 9580, 6.1.
fn armored(ring: &[u8]) -> String {
    /// Length of a line, as in GnuPG's armor.
    const COLUMNS: usize = 64;
    let text = Base64::encode_string(ring);
    let lines = text.as_bytes().chunks(COLUMNS).map(|line| String::from_utf8_lossy(line).into_owned());
    let lines: Vec<String> = lines.collect();
    format!("{ARMOR}\n\n{}\n{END}\n", lines.join("\n"))
}

/// Prefers a version of a package; `*` in either is any text. 500 is the usual priority, more than 1000 downgrades too, less
/// than 0 is never installed.
///
/// ```
/// use piimg_plugin_sdk::apt;
///
/// assert_eq!(apt::pin_version("libfoo", "1.2*", 1001).priority, 1001);
/// ```
#[must_use]
pub fn pin_version(package: &str, version: &str, priority: i16) -> Pin {
    of_target(package, PinTarget::Version(version.to_owned()), priority)
}

/// Prefers what a release has, such as `n=bookworm-backports` or `o=Debian`.
///
/// ```
/// use piimg_plugin_sdk::{PluginConf, apt};
///
/// let conf = PluginConf::new("example/new", "0.1.0", "New").pin(apt::pin_release("htop", "n=bookworm-backports", 500));
/// assert_eq!(conf.scopes(), ["pkg:pin:htop"]);
/// ```
#[must_use]
pub fn pin_release(package: &str, release: &str, priority: i16) -> Pin {
    of_target(package, PinTarget::Release(release.to_owned()), priority)
}

/// Prefers what the archives on a host have.
///
/// ```
/// use piimg_plugin_sdk::{Needs, apt};
///
/// assert_eq!(apt::pin_origin("*", "packages.example.org", 100).needs()[0].scope(), "pkg:pin:*");
/// ```
#[must_use]
pub fn pin_origin(package: &str, host: &str, priority: i16) -> Pin {
    of_target(package, PinTarget::Origin(host.to_owned()), priority)
}

fn of_target(package: &str, target: PinTarget, priority: i16) -> Pin {
    Pin { package: package.to_owned(), target, priority }
}

/// For pins that are set while the plugin runs, with [`pin`]; those of [`PluginConf::pin`](crate::PluginConf::pin) are asked for
/// by themselves.
impl Needs for Pin {
    fn needs(&self) -> Vec<Need> {
        let Self { package, priority, .. } = self;
        vec![Need::capability(format!("pkg:pin:{package}"), format!("gives {package} the priority {priority}"))]
    }
}

/// Sees that apt has these preferences, for packages that are installed from then on and on the finished system. As
/// [`crate::packages::install`], the first call ends the run, and `execute` begins anew. Needs `pkg:pin:<package>` for each.
///
/// ```no_run
/// # use piimg_plugin_sdk::apt;
/// apt::pin(&[apt::pin_version("libfoo", "1.2*", 1001)])?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`], and [`crate::ErrorCode::Invalid`] for what is no pin, or if somebody else gave the same another
/// priority.
pub fn pin(pins: &[Pin]) -> Result<(), Error> {
    Ok(raw::set_pins(pins)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_names_the_only_key() {
        let archive = Repository::new("ros", "https://packages.example.org/ros", "bookworm").component("main");
        assert_eq!(
            archive.stanza("/etc/apt/keyrings/ros.asc").unwrap(),
            "Types: deb\nURIs: https://packages.example.org/ros\nSuites: bookworm\nComponents: main\n\
             Signed-By: /etc/apt/keyrings/ros.asc\n"
        );
        let flat = Repository::new("flat", "https://example.org/deb", "./").stanza("/k.gpg").unwrap();
        assert_eq!(flat, "Types: deb\nURIs: https://example.org/deb\nSuites: ./\nSigned-By: /k.gpg\n");
    }

    #[test]
    fn what_would_be_another_line_is_refused() {
        let error = |archive: Repository| archive.stanza("/k").unwrap_err().to_string();
        let smuggled = Repository::new("x", "https://example.org\nTrusted: yes", "a/");
        assert_eq!(
            error(smuggled),
            "`https://example.org\\nTrusted: yes` is no word of an archive's description: it is empty or has a space in it"
        );
        assert_eq!(
            error(Repository::new("../x", "u", "a/")),
            "`../x` is no name for an archive: letters, digits, `_` and `-`"
        );
        assert_eq!(
            error(Repository::new("x", "u", "a")),
            "the archive `x` has either components or a suite that ends in `/`"
        );
    }

    #[test]
    fn a_key_comes_out_armored() {
        let armor = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n";
        for windows in [armor.to_owned(), armor.replace('\n', "\r\n"), format!("\n{armor}")] {
            assert_eq!(public_key(windows.as_bytes()), Ok(armor.into()));
        }
        let ring = [&[0x99][..], &[b'a'; 60]].concat();
        let lines = "mWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh\nYWFhYWFhYWFhYWFhYQ==\n";
        let expected = armor.replace("mQ==\n", lines);
        assert_eq!(public_key(&ring), Ok(expected));
        for (file, is) in [
            (&armor.as_bytes()[..60], "is cut off"),
            (
                b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
                "is a secret one, which must not be in an image: export the public one",
            ),
            (b"\0\0\0\x20\x01\x01\0\0KBXf", "is a keybox, which apt does not read: export the key"),
            (b"<!doctype html>", "is a page of the Web: is its address that of a key?"),
            (b"", "is no public key of OpenPGP"),
            (b"\x95\x01", "is no public key of OpenPGP"),
        ] {
            assert_eq!(public_key(file), Err(is));
        }
    }
}
