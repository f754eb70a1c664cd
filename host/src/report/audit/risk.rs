//! How far a plugin reaches if all that it asks for is granted: by single capabilities, and by what they make possible
//! together. Every rank comes with its reason.

use std::fmt;

use serde::Serialize;

use super::kinds::kind_of;
use super::{Possible, Row};

/// By reach, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Named files that nothing runs.
    Low,
    /// Parts of the system, within what the distribution made.
    Medium,
    /// Decides what runs on the Pi, or who gets in.
    High,
    /// Whatever it likes, within the image.
    Critical,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

impl std::str::FromStr for Risk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Low, Self::Medium, Self::High, Self::Critical];
        all.into_iter()
            .find(|risk| risk.to_string() == text)
            .ok_or_else(|| "there are low, medium, high and critical".to_owned())
    }
}

/// Why a plugin has its rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub risk: Risk,
    /// The capabilities that it follows from.
    pub from: Vec<String>,
    pub says: String,
}

/// Programs that do whatever their arguments or input say.
const INTERPRETERS: [&str; 17] = [
    "sh",
    "bash",
    "dash",
    "zsh",
    "busybox",
    "python",
    "python3",
    "perl",
    "ruby",
    "node",
    "awk",
    "sed",
    "env",
    "xargs",
    "chroot",
    "nsenter",
    "systemd-run",
];

/// Where a file is run or loaded, or decides who may do what.
const DECIDING: [(&str, &str); 16] = [
    ("/usr/bin", "holds programs that everybody runs"),
    ("/usr/sbin", "holds programs that root runs"),
    ("/usr/local", "comes first where programs are looked for"),
    ("/usr/lib", "holds libraries and units"),
    ("/etc/systemd", "holds what runs at boot"),
    ("/etc/cron.d", "holds what runs by the clock"),
    ("/etc/init.d", "holds what runs at boot"),
    ("/etc/udev/rules.d", "holds what runs when a device appears"),
    ("/etc/sudoers.d", "says who may become root"),
    ("/etc/sudoers", "says who may become root"),
    ("/etc/pam.d", "decides who may log in"),
    ("/etc/passwd", "says who exists"),
    ("/etc/shadow", "holds the passwords"),
    ("/etc/ld.so.preload", "is loaded into every program"),
    ("/etc/ssh", "decides who may log in from afar"),
    ("/root", "is root's own directory"),
];

/// The rank and all that led to it, the gravest first.
pub(super) fn judge(rows: &[Row]) -> (Risk, Vec<Finding>) {
    let mut findings: Vec<Finding> =
        rows.iter().filter(|row| row.possible != Possible::Never).filter_map(alone).collect();
    findings.extend(together(rows));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.risk));
    let risk = findings.first().map_or(Risk::Low, |finding| finding.risk);
    (risk, findings)
}

fn split(row: &Row) -> Option<(&'static str, &str)> {
    let kind = kind_of(&row.declared)?.name;
    Some((kind, row.declared.get(kind.len() + 1..).unwrap_or_default()))
}

/// What one capability means by itself.
fn alone(row: &Row) -> Option<Finding> {
    let (kind, scope) = split(row)?;
    let finding = |risk, says: String| Some(Finding { risk, from: vec![row.declared.clone()], says });
    match kind {
        "exec" => {
            let program = scope.split(' ').next().unwrap_or_default();
            let name = program.rsplit('/').next().unwrap_or(program);
            if INTERPRETERS.contains(&name) {
                return finding(Risk::Critical, format!("`{name}` does whatever it is told: any command in the image"));
            }
            if scope.ends_with(" **") {
                return finding(Risk::High, format!("runs `{name}` with any arguments, as root of the image"));
            }
            finding(Risk::High, format!("runs `{name}` as root of the image; what it changes is still checked"))
        }
        "fs:write" if first_is_wild(scope) => finding(Risk::Critical, "writes anywhere in the image".into()),
        "fs:write" => {
            if let Some((_, why)) = DECIDING.iter().find(|(directory, _)| reaches(scope, directory)) {
                return finding(Risk::High, format!("`{scope}` {why}"));
            }
            if scope.contains("/.ssh") {
                return finding(Risk::High, format!("`{scope}` decides who may log in from afar"));
            }
            if scope.contains('*') {
                return finding(Risk::Medium, format!("writes any file that `{scope}` matches"));
            }
            None
        }
        "fs:read" if first_is_wild(scope) || reaches(scope, "/etc/shadow") => {
            finding(Risk::Medium, "reads password hashes and keys".into())
        }
        "svc:install" => {
            finding(Risk::High, format!("`{scope}` runs what the plugin writes into it, at boot if enabled"))
        }
        "svc:enable" => finding(Risk::Medium, format!("`{scope}` starts at boot")),
        "svc:disable" | "svc:mask" => finding(Risk::Medium, format!("`{scope}` no longer starts")),
        "user:create" => finding(Risk::Medium, format!("creates the user `{scope}`")),
        "user:group" => finding(Risk::High, format!("puts users into `{scope}`, which may lend them rights")),
        "user:password" => finding(
            Risk::High,
            format!("`{scope}` can log in with a password that the plugin chooses among its secrets"),
        ),
        "user:keys" => finding(Risk::High, format!("decides who may log in as `{scope}` from afar")),
        "boot:config" | "boot:cmdline" => finding(Risk::Medium, format!("`{scope}` changes how the Pi boots")),
        "pkg:install" if scope.starts_with('*') => {
            finding(Risk::High, "installs any package; its scripts run as root of the image".into())
        }
        "pkg:install" => finding(Risk::Medium, format!("installs `{scope}`; its scripts run as root of the image")),
        "pkg:remove" if scope.starts_with('*') => finding(Risk::High, "removes any package".into()),
        "pkg:remove" => finding(Risk::Medium, format!("removes `{scope}`")),
        "pkg:build" => finding(Risk::Medium, format!("runs above `{scope}`, which the image does not have")),
        _ => None,
    }
}

/// What several make possible together.
fn together(rows: &[Row]) -> Vec<Finding> {
    let of = |wanted: &str| -> Vec<&Row> {
        rows.iter()
            .filter(|row| row.possible != Possible::Never && split(row).is_some_and(|(kind, _)| kind == wanted))
            .collect()
    };
    let mut found = Vec::new();
    let mut add = |risk, a: &Row, b: &Row, says: &str| {
        found.push(Finding { risk, from: vec![a.declared.clone(), b.declared.clone()], says: says.to_owned() });
    };
    let (execs, writes, packages) = (of("exec"), of("fs:write"), of("pkg:install"));
    for exec in &execs {
        let program = split(exec).map(|(_, scope)| scope.split(' ').next().unwrap_or_default()).unwrap_or_default();
        for write in &writes {
            let scope = split(write).map(|(_, scope)| scope).unwrap_or_default();
            if scope.starts_with("/usr") || scope.starts_with("/bin") || scope == program {
                add(Risk::Critical, exec, write, "can replace the program that it may run");
            }
        }
    }
    for unit in of("svc:install") {
        if let Some(write) = writes.iter().find(|row| is_program(split(row).map_or("", |(_, scope)| scope))) {
            add(Risk::Critical, unit, write, "runs what it writes at every boot");
        }
    }
    if let (Some(exec), Some(net)) = (execs.first(), of("net").first()) {
        add(Risk::Critical, exec, net, "can run what it downloads");
    }
    let secrets = of("secret");
    if let Some(secret) = secrets.first() {
        for net in of("net").iter().filter(|net| net.possible == Possible::Yes) {
            add(Risk::High, secret, net, "can have piimg send the secret to any address that this covers");
        }
        let passwords = of("user:password");
        let reads =
            of("fs:read").into_iter().find(|row| reaches(split(row).map_or("", |(_, scope)| scope), "/etc/shadow"));
        if let (false, Some(reader)) = (passwords.is_empty(), reads.or(execs.first().copied())) {
            add(Risk::Medium, secret, reader, "can read the hash of a secret that it made a password, and try values");
        }
    }
    if let (Some(exec), Some(asset)) = (execs.first(), of("asset").first()) {
        add(Risk::High, exec, asset, "can run what it is handed over");
    }
    if let (Some(package), Some(write)) =
        (packages.first(), writes.iter().find(|row| row.declared.contains(":/etc/apt")))
    {
        add(Risk::Critical, package, write, "can choose the archive that packages come from");
    }
    found
}

/// Whether a file that the glob matches is likely to be run.
fn is_program(scope: &str) -> bool {
    ["/usr", "/opt", "/srv", "/bin", "/sbin", "/home"].iter().any(|top| scope.starts_with(top)) || first_is_wild(scope)
}

/// Whether the glob matches in any directory.
fn first_is_wild(scope: &str) -> bool {
    scope.split('/').nth(1).is_some_and(|first| first.is_empty() || first.contains('*'))
}

/// Whether the glob matches `directory`, or something in it; a wildcard segment may match anything.
fn reaches(scope: &str, directory: &str) -> bool {
    let mut scope = scope.split('/').skip(1);
    for segment in directory.split('/').skip(1) {
        match scope.next() {
            Some("**") => return true,
            Some(part) if part == segment || part.contains('*') => {}
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(scopes: &[&str]) -> Vec<Row> {
        let row = |scope: &&str| Row {
            declared: scope.to_string(),
            reason: String::new(),
            listed: false,
            optional: false,
            possible: Possible::Yes,
            granted: None,
            used: None,
            changed: None,
        };
        scopes.iter().map(row).collect()
    }

    #[test]
    fn each_rank_has_its_reason() {
        for (scopes, risk, reason) in [
            (&["fs:write:/etc/breadcrumb"][..], Risk::Low, ""),
            (&["fs:write:/opt/app/**"], Risk::Medium, "any file that `/opt/app/**` matches"),
            (&["fs:write:/etc/systemd/system/x.service"], Risk::High, "runs at boot"),
            (&["fs:write:/etc/*/system/x"], Risk::High, "runs at boot"),
            (&["fs:write:/home/ann/.ssh/authorized_keys"], Risk::High, "log in from afar"),
            (&["fs:write:/**"], Risk::Critical, "anywhere"),
            (&["fs:read:/**"], Risk::Medium, "password hashes"),
            (&["exec:htop --version"], Risk::High, "as root of the image"),
            (&["exec:/usr/bin/env **"], Risk::Critical, "whatever it is told"),
            (&["pkg:install:htop"], Risk::Medium, "scripts run as root"),
            (&["pkg:install:*"], Risk::High, "any package"),
            (&["svc:enable:ssh.service"], Risk::Medium, "starts at boot"),
            (&["user:keys:ann"], Risk::High, "log in as `ann`"),
            (&["user:password:ann"], Risk::High, "log in with a password"),
            (&["secret:token"], Risk::Low, ""),
            (&["secret:token", "net:https://example.org/**"], Risk::High, "send the secret to any address"),
            (&["secret:token", "fs:read:/etc/shadow", "user:password:ann"], Risk::High, ""),
            (&["svc:install:x.service", "fs:write:/opt/x"], Risk::Critical, "at every boot"),
            (&["exec:htop", "fs:write:/usr/bin/htop"], Risk::Critical, "replace the program"),
            (&["pkg:install:htop", "fs:write:/etc/apt/sources.list.d/x.sources"], Risk::Critical, "choose the archive"),
        ] {
            let (found, findings) = judge(&rows(scopes));
            assert_eq!(found, risk, "{scopes:?}: {findings:?}");
            assert!(reason.is_empty() || findings[0].says.contains(reason), "{scopes:?}: {findings:?}");
        }
    }

    #[test]
    fn the_hash_of_a_secret_is_a_way_to_try_values() {
        let says = |scopes: &[&str]| judge(&rows(scopes)).1.iter().any(|it| it.says.contains("try values"));
        assert!(says(&["secret:a", "user:password:ann", "fs:read:/etc/*"]));
        assert!(says(&["secret:a", "user:password:ann", "exec:id"]));
        assert!(!says(&["secret:a", "user:password:ann", "fs:read:/etc/passwd"]));
        assert!(!says(&["secret:a", "fs:read:/etc/shadow"]));
    }

    #[test]
    fn what_cannot_be_used_is_no_risk() {
        let mut rows = rows(&["exec:sh **"]);
        rows[0].possible = Possible::Never;
        assert_eq!(judge(&rows), (Risk::Low, Vec::new()));
    }

    #[test]
    fn near_misses_reach_nothing() {
        for (scope, directory, expected) in [
            ("/usr/bin/x", "/usr/bin", true),
            ("/usr/binary", "/usr/bin", false),
            ("/usr/*", "/usr/bin", true),
            ("/usr", "/usr/bin", false),
            ("/etc/sudoers", "/etc/sudoers", true),
            ("/**", "/etc/sudoers", true),
        ] {
            assert_eq!(reaches(scope, directory), expected, "{scope} {directory}");
        }
    }
}
