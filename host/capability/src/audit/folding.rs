//! Requests of the SDK's helpers, folded into one line each: a reviewer reads `sets the time zone`, not four scopes.
//!
//! Only a whole set is folded, and only in what people read: the rank is still that of the gravest scope in it.

use std::collections::BTreeSet;

/// A helper, and the scopes that it needs.
struct Folding {
    /// A sentence for what it does; `{}` as in the scopes.
    does: &'static str,
    /// All that it asks for; `{}` is a name, the same one in all of them.
    scopes: &'static [&'static str],
}

/// The wider set first. A test looks for each of them in the source of the SDK.
const FOLDINGS: &[Folding] = &[
    Folding {
        does: "sets the language",
        scopes: &[
            "fs:read:/etc/locale.gen",
            "fs:write:/etc/locale.gen",
            "exec:locale-gen",
            "fs:write:/usr/lib/locale/locale-archive",
            "fs:write:/etc/default/locale",
        ],
    },
    Folding {
        does: "makes languages",
        scopes: &[
            "fs:read:/etc/locale.gen",
            "fs:write:/etc/locale.gen",
            "exec:locale-gen",
            "fs:write:/usr/lib/locale/locale-archive",
        ],
    },
    Folding { does: "sets the keyboard", scopes: &["fs:write:/etc/default/keyboard"] },
    Folding {
        does: "sets the time zone",
        scopes: &[
            "fs:read:/usr/share/zoneinfo/**",
            "fs:read:/etc/localtime",
            "fs:write:/etc/localtime",
            "fs:write:/etc/timezone",
        ],
    },
    Folding { does: "lets `{}` become root with sudo", scopes: &["fs:write:/etc/sudoers.d/piimg-{}"] },
    Folding {
        does: "adds the archive `{}` to apt",
        scopes: &[
            "fs:write:/etc/apt/keyrings",
            "fs:write:/etc/apt/keyrings/{}.asc",
            "fs:write:/etc/apt/sources.list.d/{}.sources",
        ],
    },
    Folding { does: "sets up the connection `{}`", scopes: &["fs:write:/etc/systemd/network/{}.network"] },
    Folding {
        does: "sets up the connection `{}`",
        scopes: &["fs:write:/etc/NetworkManager/system-connections/{}.nmconnection"],
    },
    Folding { does: "sets up the connection `{}`", scopes: &["fs:write:/etc/netplan/{}.yaml"] },
    Folding { does: "writes the unit `{}` and starts it at boot", scopes: &["svc:install:{}", "svc:enable:{}"] },
    Folding {
        does: "writes the unit `{}` and starts it in each user's session",
        scopes: &[
            "fs:write:/etc/systemd/user/{}",
            "fs:write:/etc/systemd/user/default.target.wants",
            "fs:write:/etc/systemd/user/default.target.wants/{}",
        ],
    },
];

/// A set of scopes that is one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    pub does: String,
    pub scopes: BTreeSet<String>,
}

/// Finds the sets among what a plugin asks for; no scope is in two of them.
pub(super) fn fold<'a>(asked: impl Iterator<Item = &'a str>) -> Vec<Folded> {
    let mut left: BTreeSet<&str> = asked.collect();
    let mut found = Vec::new();
    for folding in FOLDINGS {
        for name in names(folding, &left) {
            let fill = |text: &str| text.replace("{}", &name);
            let scopes: BTreeSet<String> = folding.scopes.iter().map(|scope| fill(scope)).collect();
            if scopes.iter().all(|scope| left.contains(scope.as_str())) {
                left.retain(|scope| !scopes.contains(*scope));
                found.push(Folded { does: fill(folding.does), scopes });
            }
        }
    }
    found
}

/// Returns the names that may stand for `{}`: a single empty one if nothing stands for it.
fn names(folding: &Folding, asked: &BTreeSet<&str>) -> Vec<String> {
    let Some((before, after)) = folding.scopes.iter().find_map(|scope| scope.split_once("{}")) else {
        return vec![String::new()];
    };
    let name = |scope: &&str| {
        let name = scope.strip_prefix(before)?.strip_suffix(after)?;
        // A name of one thing: neither a directory nor a wildcard.
        (!name.is_empty() && !name.contains(['/', '*'])).then(|| name.to_owned())
    };
    asked.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources of the helpers, whose comments say what each needs.
    const SDK: [&str; 6] = [
        include_str!("../../../../plugin-sdk/src/region.rs"),
        include_str!("../../../../plugin-sdk/src/sudo.rs"),
        include_str!("../../../../plugin-sdk/src/apt.rs"),
        include_str!("../../../../plugin-sdk/src/network.rs"),
        include_str!("../../../../plugin-sdk/src/services.rs"),
        include_str!("../../../../plugin-sdk/src/fs.rs"),
    ];

    #[test]
    fn each_folding_is_of_a_helper() {
        let sources = SDK.concat();
        for scope in FOLDINGS.iter().flat_map(|folding| folding.scopes) {
            let subject =
                scope.trim_start_matches("fs:write:").trim_start_matches("fs:read:").trim_start_matches("exec:");
            let subject = subject.trim_end_matches("/**").split("{}").next().unwrap();
            assert!(sources.contains(subject), "no helper of the SDK has to do with `{subject}`");
        }
    }

    #[test]
    fn what_each_helper_needs_is_one_line() {
        for folding in FOLDINGS {
            let scopes: Vec<String> = folding.scopes.iter().map(|scope| scope.replace("{}", "x.service")).collect();
            let folded = fold(scopes.iter().map(String::as_str));
            assert_eq!(folded.len(), 1, "{scopes:?}: {folded:?}");
            assert_eq!(folded[0].does, folding.does.replace("{}", "x.service"));
            assert_eq!(folded[0].scopes.len(), scopes.len());
        }
    }

    #[test]
    fn half_a_set_and_a_wildcard_stay_as_they_are() {
        for scopes in [
            &["fs:write:/etc/localtime", "fs:write:/etc/timezone"][..],
            &["exec:locale-gen"],
            &["fs:write:/etc/sudoers.d/*"],
            &["fs:write:/etc/sudoers.d/piimg-*"],
            &["fs:write:/etc/netplan/a/b.yaml"],
            &["svc:install:a.service", "svc:enable:b.service"],
        ] {
            assert_eq!(fold(scopes.iter().copied()), [], "{scopes:?}");
        }
        let two = fold(
            ["svc:install:a.service", "svc:enable:a.service", "svc:install:b.service", "svc:enable:b.service"]
                .into_iter(),
        );
        assert_eq!(two.len(), 2, "{two:?}");
    }
}
