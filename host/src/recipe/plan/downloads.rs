//! Plans downloads, and the state of the archive.

use super::Findings;
use crate::recipe::check;
use crate::recipe::fetching::Fetching;
use crate::recipe::file::RecipeFile;
use crate::recipe::overrides::Overrides;

pub(super) fn fetching(file: &RecipeFile, flags: &Overrides, findings: &mut Findings) -> Fetching {
    let mut fetching = file.downloads.clone();
    fetching.proxy = flags.apt_proxy.clone().or(fetching.proxy);
    fetching.offline |= flags.offline;
    if let Some(proxy) = &fetching.proxy {
        findings.check("the proxy", proxy, check::proxy(proxy));
    }
    if let Err(rule) = fetching.check() {
        findings.add(format!("of `[downloads]`, {rule}"));
    }
    fetching
}

/// Returns the time of the state in its usual form, if one is meant.
pub(super) fn snapshot(file: &RecipeFile, flags: &Overrides, findings: &mut Findings) -> Option<String> {
    let wanted = flags.snapshot.as_ref().or(file.snapshot.as_ref())?;
    let time = check::snapshot(wanted);
    findings.check("the snapshot", wanted, time.as_ref().map(|_| ()).map_err(Clone::clone));
    time.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_and_what_cannot_be_meant_is_found() {
        let file = |text: &str| -> RecipeFile { toml::from_str(text).unwrap() };
        let flags = Overrides {
            snapshot: Some("2025-06-01".into()),
            apt_proxy: Some("http://flag".into()),
            offline: true,
            ..Overrides::default()
        };
        let recipe = file("snapshot = \"2024-01-01\"\n[downloads]\nproxy = \"http://recipe\"\n");
        let mut findings = Findings::default();
        assert_eq!(snapshot(&recipe, &flags, &mut findings).as_deref(), Some("20250601T000000Z"));
        let chosen = fetching(&recipe, &flags, &mut findings);
        assert!(chosen.offline && chosen.proxy.as_deref() == Some("http://flag"), "{chosen:?}");
        assert_eq!(findings.0, Vec::<String>::new());
        for (text, expected) in [
            ("snapshot = \"June\"\n", "the snapshot `June` must be"),
            ("[downloads]\nproxy = \"cache:3142\"\n", "the proxy `cache:3142` must be"),
            ("[downloads]\nretries = 1000\n", "of `[downloads]`, `retries` must be at most 100"),
        ] {
            let (recipe, none, mut findings) = (file(text), Overrides::default(), Findings::default());
            snapshot(&recipe, &none, &mut findings);
            fetching(&recipe, &none, &mut findings);
            assert!(findings.0.len() == 1 && findings.0[0].starts_with(expected), "{text}: {findings:?}");
        }
    }
}
