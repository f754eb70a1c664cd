//! How far a plugin reaches if all that it asks for is granted: by single capabilities, and by what they make possible
//! together. Every rank comes with its reason.

use serde::Serialize;

use super::{Possible, Row};
pub use crate::plugin::Risk;
use crate::plugin::capability::begins_anywhere;
use crate::plugin::{Capability, Kind, Template};

/// Why a plugin has its rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub risk: Risk,
    /// The capabilities that it follows from.
    pub from: Vec<String>,
    pub says: String,
}

/// The rank and all that led to it, the gravest first.
pub(super) fn judge(rows: &[Row]) -> (Risk, Vec<Finding>) {
    let mut findings: Vec<Finding> =
        rows.iter().filter(|row| row.possible != Possible::Never).filter_map(alone).collect();
    findings.extend(together(rows));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.risk));
    let risk = findings.first().map_or(Risk::Low, |finding| finding.risk);
    (risk, findings)
}

/// Ranks one capability by itself.
fn alone(row: &Row) -> Option<Finding> {
    let finding = |(risk, says): (Risk, String)| Finding { risk, from: vec![row.declared.clone()], says };
    let unknown = |what: &str| finding((Risk::High, format!("`{what}` is nothing that this piimg can judge")));
    let Some((_, scope)) = Kind::split(&row.declared) else { return Some(unknown(&row.declared)) };
    match widest(row) {
        Some(capability) => capability.risk(scope).map(finding),
        None => Some(unknown(scope)),
    }
}

/// The capability with each parameter as a wildcard, where it can be one: a value may be any name.
fn widest(row: &Row) -> Option<Capability> {
    Template::parse(&row.declared).ok().map(|template| template.widest())
}

/// Where programs are, and what they load and run.
const PROGRAMS: [&str; 7] =
    ["/usr/**", "/bin/**", "/sbin/**", "/lib/**", "/lib64/**", "/etc/alternatives/**", "/etc/ld.so*"];

/// What several make possible together.
fn together(rows: &[Row]) -> Vec<Finding> {
    let of = |wanted: &str| -> Vec<&Row> {
        rows.iter()
            .filter(|row| row.possible != Possible::Never && row.kind().is_some_and(|kind| kind.name == wanted))
            .collect()
    };
    let mut found = Vec::new();
    let mut add = |risk, a: &Row, b: &Row, says: &str| {
        found.push(Finding { risk, from: vec![a.declared.clone(), b.declared.clone()], says: says.to_owned() });
    };
    let (execs, writes, packages) = (of("exec"), of("fs:write"), of("pkg:install"));
    for exec in &execs {
        let Some(Capability::Exec(pattern)) = widest(exec) else { continue };
        for write in &writes {
            let Some(Capability::FsWrite(glob)) = widest(write) else { continue };
            let (glob, program) = (glob.to_string(), pattern.program());
            // A bare name may be any of these, and a path may be one that links to it.
            let is_own = crate::glob::meets_path(&glob, program);
            if is_own || PROGRAMS.iter().any(|place| crate::glob::meets_path(&glob, place)) {
                add(Risk::Critical, exec, write, "can replace the program that it may run");
            }
        }
    }
    for unit in of("svc:install") {
        if let Some(write) =
            writes.iter().find(|row| is_program(Kind::split(&row.declared).map_or("", |(_, scope)| scope)))
        {
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
        let is_of_shadow = |row: &&Row| match widest(row) {
            Some(Capability::FsRead(glob)) => crate::glob::meets_path(&glob.to_string(), "/etc/shadow"),
            _ => false,
        };
        let reads = of("fs:read").into_iter().find(is_of_shadow);
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
    ["/usr", "/opt", "/srv", "/bin", "/sbin", "/home"].iter().any(|top| scope.starts_with(top))
        || begins_anywhere(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::places::PLACES;

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
            (&["fs:write:/etc/systemd/system/x.service"], Risk::High, "says what systemd runs"),
            (&["fs:write:/etc/*/system/x"], Risk::High, "covers /etc/sudoers.d/**, which says who may become root"),
            (&["fs:write:/home/ann/.ssh/authorized_keys"], Risk::High, "says who may log in"),
            (&["fs:write:/home/{params.user}/.bashrc"], Risk::High, "is run or obeyed by what its user starts"),
            (&["fs:write:/home/ann/{params.name}"], Risk::High, "covers /home/*/.ssh/**"),
            (&["fs:write:/etc/{params.a}{params.b}.d/x"], Risk::High, "/etc/sudoers.d/**"),
            (&["fs:write:/{params.a}/x"], Risk::Critical, "anywhere"),
            (&["fs:write:/etc/hosts"], Risk::Medium, "`/etc/hosts` decides with which machines it talks"),
            (&["fs:write:/etc/cron.d"], Risk::High, "is run by the clock"),
            (&["fs:write:/etc/NetworkManager"], Risk::High, "leads to /etc/NetworkManager/dispatcher.d/**"),
            (&["fs:write:/etc"], Risk::High, "leads to /etc/sudoers, which says who may become root"),
            (&["fs:write:/**"], Risk::Critical, "anywhere"),
            (&["fs:write:/*"], Risk::Critical, "anywhere"),
            (&["fs:write:/home/ann/data/**"], Risk::Medium, "any file that"),
            (&["fs:write:/var/lib/app/**"], Risk::Medium, "any file that"),
            (&["fs:write:/etc/app/app.conf"], Risk::Low, ""),
            (&["fs:write:/opt/{params.a}/x"], Risk::Low, ""),
            (&["fs:read:/**"], Risk::Medium, "password hashes"),
            (&["exec:htop --version"], Risk::High, "as root of the image"),
            (&["exec:/usr/bin/env **"], Risk::Critical, "whatever it is told"),
            (&["exec:python3.11 x"], Risk::Critical, "whatever it is told"),
            (&["exec:{params.program} x"], Risk::Critical, "a parameter names"),
            (&["exec:A=b {params.program}"], Risk::Critical, "a parameter names"),
            (&["exec:TAR_OPTIONS=-v tar x"], Risk::Critical, "tells `tar` by the variable `TAR_OPTIONS`"),
            (&["exec:UNHEARD=* tar x"], Risk::Critical, "by the variable `UNHEARD`"),
            (&["exec:UNHEARD=1 tar x"], Risk::High, "runs `tar` with `UNHEARD=1` as root"),
            (&["exec:LANG=C sh"], Risk::Critical, "`sh` does whatever"),
            (&["boot:config:gpu_mem"], Risk::Medium, "how the Pi boots"),
            (&["boot:config:kern*"], Risk::High, "what the Pi boots"),
            (&["boot:cmdline:quiet"], Risk::Medium, "how the Pi boots"),
            (&["boot:cmdline:init"], Risk::High, "what the kernel starts"),
            (&["boot:cmdline:{params.name}"], Risk::High, "what the kernel starts"),
            (&["nonsense"], Risk::High, "can judge"),
            (&["pkg:install:htop"], Risk::Medium, "scripts run as root"),
            (&["pkg:install:*"], Risk::High, "any package"),
            (&["pkg:repo:https://h/debian"], Risk::Critical, "whoever signs `https://h/debian` is root of the image"),
            (&["pkg:pin:ros-*"], Risk::Medium, "which version of `ros-*` is installed"),
            (&["pkg:pin:*"], Risk::High, "which version of any package"),
            (&["debconf:openssh-server/permit-root-login"], Risk::Medium, "by which a package sets itself up"),
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
    fn every_place_gives_its_rank_to_a_scope() {
        for place in PLACES {
            let (risk, findings) = judge(&rows(&[&format!("fs:write:{}", place.within("/**").unwrap())]));
            assert!(risk >= place.risk, "{}: {findings:?}", place.id);
        }
    }
}
