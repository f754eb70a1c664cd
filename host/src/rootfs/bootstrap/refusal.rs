//! Explains what apt refused and what to do. Pure: works on single lines of its output.
//!
//! apt's own words are in several lines, the cause often not in the first, and some of what makes a bootstrap senseless
//! is to it a mere warning.

use crate::error::Failure;
use crate::ui::{printable, shell_quoted};

/// Rank of a kind of refusal: of several lines, the one with the highest rank is the cause of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A download failed.
    Fetch,
    /// A package cannot be found.
    Package,
    /// The archive is not signed by a known key; it may be signed by somebody else.
    Unsigned,
    /// The archive itself is faulty.
    Archive,
}

/// A line of apt that was understood.
#[derive(Debug)]
pub(super) struct Refusal {
    rank: Rank,
    pub(super) failure: Failure,
}

/// Picks the more specific of two refusals; on a tie the first.
pub(super) fn better(old: Option<Refusal>, new: Option<Refusal>) -> Option<Refusal> {
    match (old, new) {
        (Some(old), Some(new)) if new.rank > old.rank => Some(new),
        (Some(old), _) => Some(old),
        (None, new) => new,
    }
}

/// Returns whether the line tells something without which the bootstrap must not go on, although apt does.
pub(super) fn is_only_a_warning(line: &str) -> bool {
    line.starts_with("W: ") && explain(line).is_some_and(|refusal| refusal.rank == Rank::Archive)
}

/// Explains a line of apt's output; `None` if it is not known as the cause of a failure.
pub(super) fn explain(line: &str) -> Option<Refusal> {
    let text = line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: "))?;
    let refusal = |rank, failure| Some(Refusal { rank, failure });
    if let Some(failure) = archive(text) {
        return refusal(Rank::Archive, failure);
    }
    if let Some(failure) = unsigned(text) {
        return refusal(Rank::Unsigned, failure);
    }
    if let Some(failure) = package(text) {
        return refusal(Rank::Package, failure);
    }
    fetch(text).and_then(|failure| refusal(Rank::Fetch, failure))
}

/// Makes the failure of an offline build that lacks these files.
pub(in crate::rootfs) fn not_in_the_store<'a>(files: impl Iterator<Item = &'a str>) -> Failure {
    let files: Vec<&str> = files.collect();
    Failure::build(format!("the build is offline, and the store lacks: {}", files.join(", ")))
        .hint("build once without --offline: what is fetched is kept")
}

/// Explains apt's refusal by its output `text`.
pub(in crate::rootfs) fn refusal_in(text: &str) -> Option<Failure> {
    let refusal = text.lines().fold(None, |found, line| better(found, explain(&printable(line))));
    refusal.map(|refusal| refusal.failure)
}

fn archive(text: &str) -> Option<Failure> {
    if let Some(archive) = between(text, "GPG error: ", ": ").filter(|_| is_of_the_future(text)) {
        return Some(
            Failure::host(format!("the signature of `{archive}` is of the future: this machine's clock is wrong"))
                .hint("set the clock (see `date`, `timedatectl`) and build again"),
        );
    }
    if let Some((archive, key)) = between(text, "GPG error: ", ": ").zip(text.split_once("NO_PUBKEY ")) {
        return Some(not_in_the_ring(archive, key.1.split(' ').next().unwrap_or_default()));
    }
    if let Some(failure) = between(text, "GPG error: ", ": ").and_then(|archive| by_sqv(archive, text)) {
        return Some(failure);
    }
    if let Some((archive, rest)) = between(text, "GPG error: ", ": ").zip(text.split_once("signatures were invalid: "))
    {
        const RENEW: &str =
            "its maker must sign it anew; if that was done, use another mirror, or give the newer key ring";
        let (why, hint) = match rest.1.split(' ').next() {
            Some("EXPKEYSIG") => ("the key has expired", RENEW),
            Some("REVKEYSIG") => ("the key was revoked", RENEW),
            Some("EXPSIG") => ("the signature has expired", RENEW),
            Some("BADSIG") => (
                "it does not belong to this content",
                "the archive was changed after it was signed, or was only half copied: use another mirror",
            ),
            _ => (WEAK, SIGN_ANEW),
        };
        return Some(Failure::build(format!("the signature of `{archive}` does not hold: {why}")).hint(hint));
    }
    if let Some((file, since)) = dated(text, " is expired (invalid since ") {
        return Some(
            Failure::build(format!("`{file}` expired {since} ago: the archive has not been renewed since"))
                .hint("use a mirror that is renewed")
                .hint("if the archive is current, this machine's clock is wrong: see `date`"),
        );
    }
    if let Some((file, another)) = dated(text, " is not valid yet (invalid for another ") {
        return Some(
            Failure::host(format!("`{file}` was signed {another} from now: this machine's clock is wrong"))
                .hint("set the clock (see `date`, `timedatectl`) and build again"),
        );
    }
    if let Some(archive) = between(text, "as repository '", "'") {
        let component = between(text, "doesn't have the component '", "'")?;
        return Some(
            Failure::build(format!("`{archive}` has no component `{component}`"))
                .hint("use a mirror of all components of the release"),
        );
    }
    if let Some((_, rest)) = text.split_once("did not find any indices for architecture '") {
        let (architecture, suite) = (rest.split('\'').next()?, between(rest, "suite '", "'")?);
        return Some(
            Failure::build(format!("the suite `{suite}` of the archive has no architecture `{architecture}`"))
                .hint("use a mirror that has the architecture of the image"),
        );
    }
    if let Some(archive) = between(text, "Conflicting distribution: ", " (expected ") {
        let (expected, got) = text.split_once("(expected ")?.1.split_once(" but got ")?;
        let got = got.trim_end_matches(')');
        return Some(
            Failure::build(format!("`{archive}` calls itself `{got}`, not `{expected}`"))
                .hint("another suite lies in the place of this one: use another mirror"),
        );
    }
    None
}

/// Reason for a rejected signature: programs that check signatures for apt no longer accept SHA-1.
const WEAK: &str = "it was made with an algorithm that is too weak, such as SHA-1";
const SIGN_ANEW: &str = "its maker must sign it with SHA-256 or better, and with a key that is certified by such";

/// Explains the output of sqv, which checks signatures where there is no gpgv.
fn by_sqv(archive: &str, text: &str) -> Option<Failure> {
    let (_, said) = text.split_once("sqv returned an error code")?;
    if let Some(key) = between(said, "Missing key ", ",") {
        return Some(not_in_the_ring(archive, key));
    }
    let why = [("SHA1", WEAK, SIGN_ANEW), ("expired", "the key has expired", "give the key ring with the newer key")];
    let (_, why, hint) = why.into_iter().find(|(word, ..)| said.contains(word))?;
    Some(Failure::build(format!("the signature of `{archive}` does not hold: {why}")).hint(hint))
}

fn not_in_the_ring(archive: &str, key: &str) -> Failure {
    Failure::build(format!("`{archive}` is signed with the key {key}, which is not in the key ring"))
        .hint("if you trust that key, give a key ring that has it: --keyring NAME=FILE#FINGERPRINT")
}

fn unsigned(text: &str) -> Option<Failure> {
    let archive = between(text, "The repository '", "' ")?;
    if text.contains("signed.") {
        return Some(
            Failure::build(format!("`{archive}` is not signed"))
                .hint("sign it, for example with `gpg --clearsign --output InRelease Release`, and give its key ring: --keyring NAME=FILE#FINGERPRINT"),
        );
    }
    text.contains("a Release file").then(|| {
        Failure::build(format!("there is no archive at `{archive}`"))
            .hint("check the address (--mirror): `dists/` with the suite must be below it")
    })
}

fn package(text: &str) -> Option<Failure> {
    if let Some(name) = text.strip_prefix("Unable to locate package ") {
        return Some(
            Failure::build(format!("the archive has no package `{name}`"))
                .hint("check the name, and whether the mirror has all components of the release"),
        );
    }
    if let (Some(version), Some(name)) = (between(text, "Version '", "'"), between(text, "' for '", "' was not found"))
    {
        return Some(
            Failure::build(format!("the archive has no version `{version}` of the package `{name}`"))
                .hint("archives keep the newest version only: take another one, or a snapshot of the archive"),
        );
    }
    None
}

/// Parses `Failed to fetch URL  REASON`, or a reason alone.
fn fetch(text: &str) -> Option<Failure> {
    let (address, reason) = text.strip_prefix("Failed to fetch ")?.split_once("  ")?;
    let reason = reason.split(" [IP: ").next().unwrap_or(reason).trim();
    let failed = |why: &str| Failure::build(format!("cannot fetch `{address}`: {why}"));
    Some(if is_of_the_future(reason) {
        Failure::host(format!("the certificate of `{address}` is of the future: this machine's clock is wrong"))
            .hint("set the clock (see `date`, `timedatectl`) and build again")
    } else if reason.starts_with("Hash Sum mismatch") || reason.contains("unexpected size") {
        let is = if is_too_long(reason) { "longer than" } else { "not what" };
        failed(&format!("it is {is} the archive's signature says"))
            .hint("a mirror that is being renewed is whole again in some minutes; a proxy may keep an old file")
            .hint("if it stays so, the file was changed: use another mirror")
    } else if reason.starts_with("404") {
        failed("the server does not have it (404)")
            .hint("a mirror that is not whole, or that has dropped the version which its lists name: use another one")
    } else if reason.contains("timed out") || reason.contains("Connection failed") || reason.contains("Timeout") {
        failed("the server does not answer").hint(format!("try it: curl --head {}", shell_quoted(address)))
    } else {
        failed(reason).hint("check the network, the mirror (--mirror) and the proxy")
    })
}

/// Returns whether a fetched file has more bytes than were signed: `unexpected size (HAS != SIGNED)`.
fn is_too_long(reason: &str) -> bool {
    let sizes = between(reason, "unexpected size (", ")").and_then(|sizes| sizes.split_once(" != "));
    let number = |text: &str| text.parse::<u64>().ok();
    sizes.and_then(|(has, signed)| Some(number(has)? > number(signed)?)).unwrap_or(false)
}

/// Returns whether gpgv, sqv or GnuTLS says that what was signed is not valid yet.
fn is_of_the_future(text: &str) -> bool {
    ["in the future", "ot live until", "not yet valid", "not yet activated"].iter().any(|words| text.contains(words))
}

/// Returns a Release file and how long its date is off.
fn dated<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let (file, rest) = text.strip_prefix("Release file for ")?.split_once(word)?;
    Some((file, rest.split_once(')')?.0))
}

/// Returns the text after the first `start`, up to the next `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> Option<String> {
        explain(line).map(|refusal| refusal.failure.to_string())
    }

    #[test]
    fn what_apt_says_is_understood() {
        for (line, expected) in [
            (
                "W: GPG error: http://h/d bookworm InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 0E98404D386FA1D9 NO_PUBKEY 6ED0E7B82643E131",
                "`http://h/d bookworm InRelease` is signed with the key 0E98404D386FA1D9, which is not in the key ring",
            ),
            (
                "E: GPG error: http://h/d bookworm InRelease: The following signatures were invalid: EXPKEYSIG 0E98 Debian",
                "the signature of `http://h/d bookworm InRelease` does not hold: the key has expired",
            ),
            (
                "E: The repository 'http://h/d bookworm InRelease' is not signed.",
                "`http://h/d bookworm InRelease` is not signed",
            ),
            (
                "E: The repository 'http://h/d bookworm Release' does not have a Release file.",
                "there is no archive at `http://h/d bookworm Release`",
            ),
            (
                "E: Release file for http://h/d/dists/x/InRelease is expired (invalid since 4d 1h 2min 3s). Updates for this repository will not be applied.",
                "`http://h/d/dists/x/InRelease` expired 4d 1h 2min 3s ago: the archive has not been renewed since",
            ),
            (
                "E: Failed to fetch http://h/d/x.deb  404  Not Found [IP: 1.2.3.4 80]",
                "cannot fetch `http://h/d/x.deb`: the server does not have it (404)",
            ),
            (
                "E: Failed to fetch http://h/d/x.deb  File has unexpected size (3 != 4). Mirror sync in progress? [IP: 1.2.3.4 80]",
                "cannot fetch `http://h/d/x.deb`: it is not what the archive's signature says",
            ),
            (
                "E: Failed to fetch http://h/d/Packages  File has unexpected size (65540 != 4). Mirror sync in progress? [IP: 1.2.3.4 80]",
                "cannot fetch `http://h/d/Packages`: it is longer than the archive's signature says",
            ),
            (
                "E: Failed to fetch http://h/d/x.deb  Temporary failure resolving 'h'",
                "cannot fetch `http://h/d/x.deb`: Temporary failure resolving 'h'",
            ),
            (
                "W: GPG error: http://h/d trixie InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Verifying signature: Not live until 2025-08-09T11:00:00Z",
                "the signature of `http://h/d trixie InRelease` is of the future: this machine's clock is wrong",
            ),
            (
                "E: Failed to fetch https://h/d/x.deb  Certificate verification failed: The certificate is NOT trusted. The certificate chain uses not yet valid certificate. [IP: 1.2.3.4 443]",
                "the certificate of `https://h/d/x.deb` is of the future: this machine's clock is wrong",
            ),
            (
                "W: GPG error: http://h/d trixie InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key 6ED0E7B82643E131AB, which is needed to verify signature.",
                "`http://h/d trixie InRelease` is signed with the key 6ED0E7B82643E131AB, which is not in the key ring",
            ),
            (
                "W: GPG error: http://h/d x InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Signing key on AB is not bound:            No binding signature at time 2026-11-30   because: SHA1 is not considered secure since 2026-02-01T00:00:00Z",
                "the signature of `http://h/d x InRelease` does not hold: it was made with an algorithm that is too weak, such as SHA-1",
            ),
            (
                "E: GPG error: http://h/d x InRelease: The following signatures were invalid: BADSIG 0E98 Debian",
                "the signature of `http://h/d x InRelease` does not hold: it does not belong to this content",
            ),
            ("E: Version '1' for 'x' was not found", "the archive has no version `1` of the package `x`"),
        ] {
            assert_eq!(message(line).as_deref(), Some(expected), "{line}");
        }
        for other in
            ["Get:1 http://h/d bookworm InRelease [1 B]", "E: Some index files failed to download.", "W: x", ""]
        {
            assert_eq!(message(other), None, "{other}");
        }
    }

    #[test]
    fn the_cause_is_told_rather_than_what_followed_from_it() {
        let said = |lines: &[&str]| {
            lines.iter().fold(None, |found, line| better(found, explain(line))).unwrap().failure.to_string()
        };
        let unsigned = "E: The repository 'http://h/d x InRelease' is not signed.";
        let key = "W: GPG error: http://h/d x InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY AB";
        assert!(said(&[unsigned, key]).contains("the key AB"));
        assert!(said(&[key, unsigned]).contains("the key AB"));
        let (first, second) =
            ("E: Failed to fetch http://h/1  404  Not Found", "E: Failed to fetch http://h/2  404  Not Found");
        assert!(said(&[first, second]).contains("http://h/1"));
    }

    #[test]
    fn a_bootstrap_does_not_go_on_without_what_apt_only_warns_of() {
        let component = "W: Skipping acquire of configured file 'c/binary-arm64/Packages' as repository 'http://h/d x InRelease' doesn't have the component 'c' (component misspelt in sources.list?)";
        let suite = "W: Conflicting distribution: http://h/d x InRelease (expected x but got y)";
        assert!(is_only_a_warning(component) && is_only_a_warning(suite));
        assert_eq!(message(component).unwrap(), "`http://h/d x InRelease` has no component `c`");
        assert_eq!(message(suite).unwrap(), "`http://h/d x InRelease` calls itself `y`, not `x`");
        for other in ["W: Failed to fetch http://h/1  404  Not Found", "W: skipping mounting of sysfs"] {
            assert!(!is_only_a_warning(other), "{other}");
        }
    }
}
