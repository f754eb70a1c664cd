//! Where packages come from: mirror, key ring, state, and how they are fetched.

use std::path::PathBuf;

use super::Findings;
use crate::recipe::check;
use crate::recipe::fetching::Fetching;
use crate::recipe::file::RecipeFile;
use crate::recipe::overrides::Overrides;
use crate::ui::printable;

/// In the address of a mirror that keeps old states.
const TIMESTAMP: &str = "{timestamp}";

pub(super) struct Archive {
    pub(super) mirror: Option<String>,
    pub(super) keyring: Option<PathBuf>,
    pub(super) snapshot: Option<String>,
    pub(super) fetching: Fetching,
}

pub(super) fn choose(file: &RecipeFile, flags: &Overrides, findings: &mut Findings) -> Archive {
    let mirror = flags.mirror.as_ref().or(file.mirror.as_ref());
    let (mirror, snapshot) = match flags.snapshot.as_ref().or(file.snapshot.as_ref()) {
        Some(wanted) => dated(wanted, flags.mirror.as_ref().or(file.snapshot_mirror.as_ref()), findings),
        None => (mirror.cloned(), None),
    };
    if let Some(mirror) = &mirror {
        findings.check("the mirror", mirror, check::mirror(mirror));
    }
    let keyring = flags.keyring.clone().or_else(|| file.keyring.clone());
    if let (Some(keyring), None) = (&keyring, &mirror) {
        let shown = printable(&keyring.display().to_string());
        findings.add(format!("the key ring `{shown}` is for a mirror, and none is given: name it with --mirror"));
    }
    let mut fetching = file.downloads.clone();
    fetching.proxy = flags.apt_proxy.clone().or(fetching.proxy);
    fetching.offline |= flags.offline;
    if let Some(proxy) = &fetching.proxy {
        findings.check("the proxy", proxy, check::proxy(proxy));
    }
    if let Err(rule) = fetching.check() {
        findings.add(format!("of `[downloads]`, {rule}"));
    }
    Archive { mirror, keyring, snapshot, fetching }
}

/// The mirror of the state that is wanted, and the time in its usual form.
fn dated(wanted: &str, mirror: Option<&String>, findings: &mut Findings) -> (Option<String>, Option<String>) {
    let time = check::snapshot(wanted);
    findings.check("the snapshot", wanted, time.as_ref().map(|_| ()).map_err(Clone::clone));
    let Some(mirror) = mirror.filter(|mirror| mirror.contains(TIMESTAMP)) else {
        findings.add(format!(
            "a snapshot needs a mirror that keeps old states of the archive: `snapshot-mirror` in the recipe, or --mirror, an address with `{TIMESTAMP}` for the time"
        ));
        return (None, None);
    };
    time.map_or((None, None), |time| (Some(mirror.replace(TIMESTAMP, &time)), Some(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(recipe: &str, flags: &Overrides) -> (Archive, Vec<String>) {
        let mut findings = Findings::default();
        let archive = choose(&toml::from_str(recipe).unwrap(), flags, &mut findings);
        (archive, findings.0)
    }

    #[test]
    fn a_snapshot_is_a_mirror_with_a_time() {
        let recipe =
            "mirror = \"http://h/now\"\nsnapshot = \"2025-06-01\"\nsnapshot-mirror = \"http://h/{timestamp}/d\"\n";
        let (archive, findings) = chosen(recipe, &Overrides::default());
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(archive.mirror.as_deref(), Some("http://h/20250601T000000Z/d"));
        assert_eq!(archive.snapshot.as_deref(), Some("20250601T000000Z"));
        let flags = Overrides {
            snapshot: Some("20240229T010203Z".into()),
            mirror: Some("http://m/{timestamp}".into()),
            ..Overrides::default()
        };
        assert_eq!(chosen(recipe, &flags).0.mirror.as_deref(), Some("http://m/20240229T010203Z"));
        let (archive, _) =
            chosen("mirror = \"http://h/now\"\nsnapshot-mirror = \"http://h/{timestamp}\"\n", &Overrides::default());
        assert_eq!((archive.mirror.as_deref(), archive.snapshot), (Some("http://h/now"), None));
    }

    #[test]
    fn what_cannot_be_meant_is_found() {
        for (recipe, expected) in [
            ("snapshot = \"2025-06-01\"\n", "a snapshot needs a mirror that keeps old states"),
            ("snapshot = \"2025-06-01\"\nsnapshot-mirror = \"http://h/\"\n", "a snapshot needs a mirror"),
            ("snapshot = \"June\"\nsnapshot-mirror = \"http://h/{timestamp}\"\n", "the snapshot `June` must be"),
            ("keyring = \"k.gpg\"\n", "the key ring `k.gpg` is for a mirror"),
            ("[downloads]\nproxy = \"cache:3142\"\n", "the proxy `cache:3142` must be"),
            ("[downloads]\nretries = 1000\n", "of `[downloads]`, `retries` must be at most 100"),
        ] {
            let (_, findings) = chosen(recipe, &Overrides::default());
            assert!(findings.len() == 1 && findings[0].starts_with(expected), "{recipe}: {findings:?}");
        }
    }
}
