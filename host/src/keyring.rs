//! Handles key rings: the OpenPGP keys by which apt knows a repository. `gpg` reads them, in a directory of its own
//! without other keys.
//!
//! A release says by full fingerprint which keys may sign its archives; for one of its own, a recipe may. What else a file
//! holds is not handed on to apt, except where mmdebstrap writes the sources by itself and compares whole files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Kind, Result, report, with_cause};
use crate::recipe::host::HostPath;
use crate::recipe::plan::Plan;
use crate::recipe::release::repository::{Given, KeyRing};
use crate::sandbox::confined::{Confined, Limits};
use crate::ui::{Printable as _, printable};

/// Most bytes of a key ring; Debian's has 55 KB.
const LIMIT: u64 = 4 << 20;

/// `gpg` reads the largest ring in some seconds.
const LIMITS: Limits = Limits { time: Some(Duration::from_secs(60)), ..Limits::USUAL };

/// A key ring that was checked; as hexadecimal digits, to be passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// The file as it is.
    #[serde(with = "hex")]
    pub whole: Vec<u8>,
    /// The keys that may sign, without others.
    #[serde(with = "hex")]
    pub keys: Vec<u8>,
}

/// Checked key rings by name.
pub type Rings = BTreeMap<String, Ring>;

/// Reads and checks the key rings that the packages of `architectures` are signed with.
///
/// # Errors
/// [`Failure::host`] if one is missing, [`Failure::usage`] if a chosen one cannot be read or lacks the right keys,
/// [`Failure::plugin`] if a plugin brings others than it says.
pub fn read_all(plan: &Plan, architectures: &[&str]) -> Result<Rings> {
    let (release, chosen) = (&plan.release, &plan.keyrings);
    let mut rings = Rings::new();
    for repository in architectures.iter().flat_map(|architecture| release.repositories_for(architecture)) {
        let name = &repository.signed_by;
        if rings.contains_key(name) {
            continue;
        }
        if let Some(given) = plan.given_keys.get(name).filter(|_| !chosen.contains_key(name)) {
            rings.insert(name.clone(), read_given(name, given)?);
            continue;
        }
        let described =
            release.keyrings.get(name).with_context(|| Failure::bug(format!("there is no key ring `{name}`")))?;
        let (path, keys) = match chosen.get(name) {
            Some(chosen) if chosen.fingerprints.is_empty() => (chosen.path.clone(), &described.fingerprints),
            Some(chosen) => (chosen.path.clone(), &chosen.fingerprints),
            None => (HostPath::named(find(name, described, &release.title)?), &described.fingerprints),
        };
        let ring = read(&path, keys);
        let hint = format!("give the right file: --keyring {name}=FILE, or FILE#FINGERPRINT if another key is meant");
        let whose = if described.fingerprints.is_empty() { "the recipe" } else { &release.title };
        let refused = format!("cannot use the key ring `{name}` of {whose}");
        let ring = ring.map_err(|error| match report(&error).kind {
            // Of a machine that lacks something the file knows nothing.
            Kind::Host => with_cause(error, refused),
            _ => with_cause(error, Failure::usage(refused).hint(hint)),
        })?;
        rings.insert(name.clone(), ring);
    }
    Ok(rings)
}

/// Returns the keys that a plugin brings: all that it names, and no other.
fn read_given(name: &str, given: &Given) -> Result<Ring> {
    let Given { plugin, fingerprints, data } = given;
    let refused = || {
        let text = format!("cannot use the keys of the repository `{name}`, which the plugin `{plugin}` brings");
        Failure::plugin(printable(&text))
    };
    let keys = select(data, fingerprints, Others::Refused).with_context(refused)?;
    // Nothing else of what it brings is handed on.
    Ok(Ring { whole: keys.clone(), keys })
}

/// Treatment of keys that nobody named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    LeftOut,
    /// There may be none, and all that are named must be there.
    Refused,
}

/// Returns the host's file.
fn find(name: &str, ring: &KeyRing, title: &str) -> Result<PathBuf> {
    if let Some(path) = ring.host.iter().map(PathBuf::from).find(|path| path.exists()) {
        return Ok(path);
    }
    let place = ring.host.first().map_or_else(String::new, |path| format!("`{path}` "));
    let failure = Failure::host(format!("the key ring {place}is missing, with which packages of {title} are signed"));
    let given =
        format!("give the file: --keyring {name}=FILE; it must hold the key {}", ring.fingerprints.join(" or "));
    Err(match &ring.package {
        Some(package) => failure.hint(format!("install it: sudo apt-get install {package}")).hint(given),
        None => failure.hint(given),
    }
    .into())
}

fn read(path: &HostPath, fingerprints: &[String]) -> Result<Ring> {
    let shown = path.shown().printable();
    let named = || format!("cannot read `{shown}`");
    let file = path.open().with_context(named)?;
    let mut whole = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut whole).with_context(named)?;
    let is_short = u64::try_from(whole.len()).is_ok_and(|length| length <= LIMIT);
    anyhow::ensure!(is_short, "`{shown}` is bigger than 4 MiB: it is no key ring");
    let keys = select(&whole, fingerprints, Others::LeftOut)
        .with_context(|| format!("`{shown}` cannot be used as a key ring"))?;
    Ok(Ring { whole, keys })
}

/// Returns the keys of `ring` with these fingerprints, or all if there are none, without signatures by others.
fn select(ring: &[u8], fingerprints: &[String], others: Others) -> Result<Vec<u8>> {
    let home =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().with_context(|| {
            let place = std::env::temp_dir();
            Failure::host(format!("cannot make a temporary directory in `{}`", printable(&place.to_string_lossy())))
                .hint("set TMPDIR to a directory that you can write to")
        })?;
    let gpg = |arguments: &[&str], input: &[u8]| {
        Confined::new("gpg", &[])?
            .writing_to(home.path())
            .within(LIMITS)
            .arg("--homedir")
            .arg(home.path())
            .args(["--batch", "--quiet", "--no-autostart", "--no-options", "--trust-model=always"])
            .args(arguments)
            .stdin(input)
            .run()
    };
    gpg(&["--import"], readable(ring)?).context("it is no key ring that gpg can read")?;
    let keys = primary_keys(&gpg(&["--with-colons", "--list-keys"], b"")?.stdout_text());
    let there: Vec<String> = keys.iter().map(|key| key.fingerprint.clone()).collect();
    let wanted = choose(&there, fingerprints)?;
    check_validity(&keys, &wanted)?;
    let is_all = fingerprints.iter().all(|wanted| there.contains(wanted)) && there.len() == wanted.len();
    if others == Others::Refused && !is_all {
        let (named, there) = (fingerprints.join(" and "), there.join(", "));
        anyhow::bail!("it must hold the key {named} and no other; its keys are: {there}");
    }
    let mut export = vec!["--export-options=export-minimal", "--export"];
    export.extend(wanted);
    Ok(gpg(&export, b"")?.stdout)
}

/// Returns a file's content for gpg. Removes a byte order mark, which some editors write and gpg rejects.
///
/// # Errors
/// What the file is, if it is one of those that are often given in place of a key ring.
fn readable(ring: &[u8]) -> Result<&[u8]> {
    let ring = ring.strip_prefix(b"\xef\xbb\xbf").unwrap_or(ring);
    let begins = |tag: &str| ring.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()));
    let contains = |text: &str| memchr::memmem::find(ring, text.as_bytes()).is_some();
    anyhow::ensure!(!ring.is_empty(), "it is empty: was the key downloaded?");
    anyhow::ensure!(
        ring.get(8..12) != Some(b"KBXf"),
        "it is a keybox of gpg's own, which apt does not read: \
         gpg --no-default-keyring --keyring ./FILE --export > FILE.gpg"
    );
    anyhow::ensure!(
        !["<!doctype html", "<html"].into_iter().any(begins),
        "it is a web page, not a key: download the key itself"
    );
    anyhow::ensure!(
        !contains("BEGIN PGP PRIVATE KEY BLOCK"),
        "it holds a private key: give the public one (gpg --export), and keep this one to yourself"
    );
    Ok(ring)
}

/// Refuses keys of which none can sign any more: apt would say so after it has fetched.
fn check_validity(keys: &[PrimaryKey], wanted: &[&str]) -> Result<()> {
    let mut chosen = keys.iter().filter(|key| wanted.contains(&key.fingerprint.as_str()));
    let Some(first) = chosen.clone().next().filter(|_| chosen.all(|key| key.ended.is_some())) else { return Ok(()) };
    let (fingerprint, ended) = (&first.fingerprint, first.ended.unwrap_or_default());
    anyhow::bail!("the key {fingerprint} {ended}: ask the archive's maker for the one that signs it now")
}

/// Returns the keys among `there` that `fingerprints` name; all keys if `fingerprints` is empty.
fn choose<'a>(there: &'a [String], fingerprints: &'a [String]) -> Result<Vec<&'a str>> {
    if fingerprints.is_empty() {
        anyhow::ensure!(!there.is_empty(), "there is no key in it");
        return Ok(there.iter().map(String::as_str).collect());
    }
    let chosen: Vec<&str> =
        fingerprints.iter().map(String::as_str).filter(|wanted| there.iter().any(|key| key == wanted)).collect();
    if chosen.is_empty() {
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        anyhow::bail!("it must hold the key {}; its keys are: {there}", fingerprints.join(" or "));
    }
    Ok(chosen)
}

/// A primary key.
#[derive(Debug, PartialEq, Eq)]
struct PrimaryKey {
    fingerprint: String,
    /// Reason why it cannot sign any more, if there is one.
    ended: Option<&'static str>,
}

/// Parses primary keys from the output of `gpg --with-colons` (`doc/DETAILS` of GnuPG).
fn primary_keys(listing: &str) -> Vec<PrimaryKey> {
    let mut keys = Vec::new();
    let mut validity = None;
    for line in listing.lines() {
        let mut fields = line.split(':');
        match fields.next() {
            Some("pub") => validity = fields.next(),
            Some("fpr") => {
                let Some(validity) = validity.take() else { continue };
                let ended = match validity {
                    "e" => Some("has expired"),
                    "r" => Some("was revoked"),
                    _ => None,
                };
                keys.extend(fields.nth(8).map(|text| PrimaryKey { fingerprint: text.to_owned(), ended }));
            }
            _ => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::tool::Tool;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    #[test]
    fn only_primary_keys_count() {
        let listing = format!(
            "tru:::\npub:-:255:22:X:1:::-:::scSC:\nfpr:::::::::{A}:\nuid:-::::\nsub:-:255:\nfpr:::::::::{B}:\n"
        );
        assert_eq!(primary_keys(&listing), [PrimaryKey { fingerprint: A.into(), ended: None }]);
    }

    #[test]
    fn a_key_that_signs_nothing_any_more_is_refused() {
        let listing =
            |validity: &str, fingerprint: &str| format!("pub:{validity}:255:22:X:1:\nfpr:::::::::{fingerprint}:\n");
        let check = |text: &str, wanted: &[&str]| {
            check_validity(&primary_keys(text), wanted).map_err(|error| error.to_string())
        };
        let old = format!("the key {A} has expired: ask the archive's maker for the one that signs it now");
        assert_eq!(check(&listing("e", A), &[A]), Err(old));
        assert!(check(&listing("r", A), &[A]).unwrap_err().contains("was revoked"));
        // Rings of distributions keep their old keys beside the new ones.
        let both = listing("e", A) + &listing("-", B);
        assert_eq!(check(&both, &[A, B]), Ok(()));
        assert_eq!(check(&both, &[B]), Ok(()));
        assert!(check(&both, &[A]).is_err());
    }

    #[test]
    fn what_is_no_key_ring_is_named() {
        let armored = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(readable(&[b"\xef\xbb\xbf", &armored[..]].concat()).unwrap(), armored);
        for (ring, said) in [
            (&b""[..], "it is empty"),
            (b"\0\0\0\x20\x01\x01\0\x02KBXf\0\0", "it is a keybox of gpg's own"),
            (b"<!DOCTYPE html><title>404</title>", "it is a web page, not a key"),
            (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "it holds a private key"),
        ] {
            assert!(readable(ring).unwrap_err().to_string().starts_with(said), "{said}");
        }
    }

    #[test]
    fn one_of_the_named_keys_must_be_there() {
        let (a, b) = ([A.to_owned()], [A.to_owned(), B.to_owned()]);
        assert_eq!(choose(&a, &b).unwrap(), [A]);
        assert_eq!(choose(&b, &[]).unwrap(), [A, B], "nobody said which");
        assert_eq!(choose(&[], &[]).unwrap_err().to_string(), "there is no key in it");
        let error = choose(&a, &[B.to_owned()]).unwrap_err().to_string();
        assert_eq!(error, format!("it must hold the key {B}; its keys are: {A}"));
        let error = choose(&[], &b).unwrap_err().to_string();
        assert_eq!(error, format!("it must hold the key {A} or {B}; its keys are: none"));
    }

    #[test]
    fn a_ring_keeps_the_named_keys_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let gpg = |arguments: &[&str]| {
            let options = ["--batch", "--quiet", "--no-options", "--pinentry-mode=loopback", "--passphrase="];
            Tool::new("gpg").arg("--homedir").arg(&home).args(options).args(arguments).run().unwrap().stdout
        };
        for name in ["one", "two"] {
            gpg(&["--quick-generate-key", name, "ed25519", "sign", "never"]);
        }
        let ring = gpg(&["--armor", "--export"]);
        Tool::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).run().unwrap();
        let there = |data: &[u8]| {
            let listing = gpg_show(data);
            primary_keys(&listing).into_iter().map(|key| key.fingerprint).collect::<Vec<_>>()
        };
        let both = there(&ring);
        assert_eq!(both.len(), 2);
        assert_eq!(there(&select(&ring, &both[1..], Others::LeftOut).unwrap()), both[1..]);
        let given = |data: &[u8], fingerprints: &[String]| {
            let given = Given { plugin: "x/a".into(), fingerprints: fingerprints.to_owned(), data: data.to_owned() };
            read_given("robots", &given).map(|ring| there(&ring.keys)).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(given(&ring, &both).unwrap(), both);
        for (data, fingerprints, said) in [
            (
                &ring[..],
                &both[1..],
                format!("it must hold the key {} and no other; its keys are: {}", both[1], both.join(", ")),
            ),
            (&ring, &[A.to_owned()], format!("it must hold the key {A}; its keys are: ")),
            (
                &select(&ring, &both[1..], Others::LeftOut).unwrap(),
                &both,
                format!("{} and no other", both.join(" and ")),
            ),
            (b"no key", &both, "it is no key ring that gpg can read".to_owned()),
        ] {
            let error = given(data, fingerprints).unwrap_err();
            assert!(
                error.starts_with("cannot use the keys of the repository `robots`, which the plugin `x/a` brings"),
                "{error}"
            );
            assert!(error.contains(&said), "{said}: {error}");
        }

        // As editors of other systems leave it.
        let odd = String::from_utf8(ring.clone()).unwrap().replace('\n', "\r\n");
        assert_eq!(there(&select(&[b"\xef\xbb\xbf", odd.as_bytes()].concat(), &[], Others::LeftOut).unwrap()), both);

        let path = dir.path().join("ring.asc");
        fs::write(&path, &ring).unwrap();
        let error = format!("{:#}", read(&HostPath::named(&path), &[A.to_owned()]).unwrap_err());
        assert!(error.contains(&format!("it must hold the key {A}; its keys are: ")), "{error}");
        fs::write(&path, "no key").unwrap();
        let error = format!("{:#}", read(&HostPath::named(&path), &both).unwrap_err());
        assert!(error.contains("it is no key ring that gpg can read"), "{error}");
    }

    fn gpg_show(data: &[u8]) -> String {
        let home = tempfile::tempdir().unwrap();
        let options = ["--batch", "--no-autostart", "--with-colons", "--show-keys"];
        Tool::new("gpg").arg("--homedir").arg(home.path()).args(options).stdin(data).run().unwrap().stdout_text()
    }

    #[test]
    fn a_missing_ring_is_named_with_what_brings_it() {
        let ring = KeyRing {
            image: "/k.gpg".into(),
            host: vec!["/gone/k.gpg".into()],
            package: Some("k-keyring".into()),
            fingerprints: vec![A.into()],
        };
        let report = report(&find("k", &ring, "Ubuntu 20.04").unwrap_err());
        assert_eq!(
            report.messages,
            ["the key ring `/gone/k.gpg` is missing, with which packages of Ubuntu 20.04 are signed"]
        );
        let given = format!("give the file: --keyring k=FILE; it must hold the key {A}");
        assert_eq!(report.hints, ["install it: sudo apt-get install k-keyring", &given]);
    }
}
