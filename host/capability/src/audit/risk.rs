//! The reach of a plugin if all that it asks for is granted: by single capabilities, and by what they make possible
//! together. Every rank comes with its reason.

use serde::Serialize;

use super::{Possible, Row};
pub use crate::capability::Risk;
use crate::capability::{Capability, Kind, Template};
use crate::capability::{CodeFrom, begins_anywhere, runs_nothing};
use crate::places::{self, PLACES, Place};

/// A reason for a plugin's rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub risk: Risk,
    /// The capabilities that it follows from.
    pub from: Vec<String>,
    pub says: String,
}

/// Returns the rank and all that led to it, the gravest first.
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

/// Returns the capability with each parameter as a wildcard, where it can be one: a value may be any name.
fn widest(row: &Row) -> Option<Capability> {
    Template::parse(&row.declared).ok().map(|template| template.widest())
}

/// Directories in which a program of a bare name is looked for, and files that may decide which file a name means.
const PATH: [&str; 8] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/games", "/etc/alternatives"];

/// Returns the usable rows of one kind.
fn of<'a>(rows: &'a [Row], kind: &str) -> Vec<&'a Row> {
    rows.iter().filter(|row| row.possible != Possible::Never && row.kind().is_some_and(|it| it.name == kind)).collect()
}

/// Makes a finding about several capabilities, each of which the text names.
fn finding(risk: Risk, from: &[&Row], says: String) -> Finding {
    Finding { risk, from: from.iter().map(|row| row.declared.clone()).collect(), says }
}

/// Finds what several make possible together.
fn together(rows: &[Row]) -> Vec<Finding> {
    let mut found = commands_and_files(rows);
    found.extend(units_and_files(rows));
    found.extend(commands_and_others(rows));
    found.extend(secrets(rows));
    let packages = of(rows, "pkg:install");
    let sources = of(rows, "fs:write").into_iter().find(|row| row.declared.contains(":/etc/apt"));
    if let (Some(package), Some(write)) = (packages.first(), sources) {
        let says = format!("can choose the archive that packages come from: `{}`", write.declared);
        found.push(finding(Risk::Critical, &[package, write], says));
    }
    found
}

/// Finds who may write what a command is, loads or takes its orders from.
fn commands_and_files(rows: &[Row]) -> Vec<Finding> {
    let mut found = Vec::new();
    let writes = of(rows, "fs:write");
    for exec in of(rows, "exec") {
        let Some(Capability::Exec(pattern)) = widest(exec) else { continue };
        let (program, from) = (pattern.program(), pattern.code_from());
        for write in &writes {
            let Some(Capability::FsWrite(glob)) = widest(write) else { continue };
            let glob = glob.to_string();
            let says = if takes_code(&from, &glob) {
                format!("`{}` runs what `{}` writes", exec.declared, write.declared)
            } else if is_program_of(program, &glob) {
                format!("`{}` can replace the program of `{}`", write.declared, exec.declared)
            } else if loads(&glob) {
                format!("`{}` can replace code that `{}` loads", write.declared, exec.declared)
            } else {
                continue;
            };
            found.push(finding(Risk::Critical, &[exec, write], says));
        }
    }
    found
}

fn takes_code(from: &CodeFrom, glob: &str) -> bool {
    match from {
        CodeFrom::Program => false,
        // What nobody runs by its path is taken in by name alone, and that is what the rank of the command says.
        CodeFrom::Anywhere => begins_anywhere(glob) || is_own_tree(glob),
        CodeFrom::Paths(paths) => paths
            .iter()
            .any(|path| crate::glob::meets_path(glob, path) || crate::glob::meets_path(glob, &format!("{path}/**"))),
    }
}

/// Returns whether files that the glob matches are a plugin's own, such as a workspace: they may be scripts.
fn is_own_tree(glob: &str) -> bool {
    ["/opt", "/srv", "/home", "/usr/local", "/var/lib", "/root"].iter().any(|top| glob.starts_with(&format!("{top}/")))
}

/// Returns whether the file of a program may match the glob: any of that name where a bare one is looked for.
fn is_program_of(program: &str, glob: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    crate::glob::meets_path(glob, program)
        || PATH.iter().any(|directory| crate::glob::meets_path(glob, &format!("{directory}/{name}")))
        || !glob.contains('*') && PATH.contains(&glob)
}

/// Returns whether a glob matches code that programs load, but are not programs themselves.
fn loads(glob: &str) -> bool {
    let is_loaded =
        |place: &&Place| place.is_code() && !["first-in-path", "programs", "alternatives"].contains(&place.id);
    if glob.contains('*') {
        return PLACES.iter().filter(is_loaded).any(|place| place.within(glob).is_some())
            && !places::PLACES.iter().any(|place| !place.is_code() && place.has_all_of(glob));
    }
    places::of_file(glob).is_some_and(|place| is_loaded(&place))
}

fn units_and_files(rows: &[Row]) -> Option<Finding> {
    let units: Vec<&Row> = of(rows, "svc:install").into_iter().filter(|row| !runs_nothing(&row.declared)).collect();
    let is_run = |row: &&Row| match widest(row) {
        Some(Capability::FsWrite(glob)) => is_program(&glob.to_string()),
        _ => false,
    };
    let programs: Vec<&Row> = of(rows, "fs:write").into_iter().filter(is_run).collect();
    let (unit, write) = (units.first()?, programs.first()?);
    let says = format!("can run what it writes at every boot: `{}` runs `{}`", unit.declared, write.declared);
    Some(finding(Risk::Critical, &[&units[..], &programs[..]].concat(), says))
}

fn commands_and_others(rows: &[Row]) -> Vec<Finding> {
    let mut found = Vec::new();
    // What the helpers of the SDK run takes nothing in.
    let execs: Vec<&Row> = of(rows, "exec").into_iter().filter(|row| row.declared != "exec:locale-gen").collect();
    let Some(exec) = execs.iter().max_by_key(|row| alone(row).map(|finding| finding.risk)) else { return found };
    if let Some(net) = of(rows, "net").first() {
        let says = format!("can run what it downloads: `{}` and `{}`", exec.declared, net.declared);
        found.push(finding(Risk::Critical, &[exec, net], says));
    }
    if let Some(asset) = of(rows, "asset").first() {
        let says = format!("can run what it is handed over: `{}` and `{}`", exec.declared, asset.declared);
        found.push(finding(Risk::High, &[exec, asset], says));
    }
    found
}

fn secrets(rows: &[Row]) -> Vec<Finding> {
    let mut found = Vec::new();
    let secrets = of(rows, "secret");
    let Some(secret) = secrets.first() else { return found };
    for net in of(rows, "net").iter().filter(|net| net.possible == Possible::Yes) {
        let says = format!("can have piimg send the secret to any address that `{}` covers", net.declared);
        found.push(finding(Risk::High, &[secret, net], says));
    }
    let is_of_shadow = |row: &&Row| match widest(row) {
        Some(Capability::FsRead(glob)) => crate::glob::meets_path(&glob.to_string(), "/etc/shadow"),
        _ => false,
    };
    let reads = of(rows, "fs:read").into_iter().find(is_of_shadow);
    let reader = reads.or(of(rows, "exec").first().copied());
    if let (false, Some(reader)) = (of(rows, "user:password").is_empty(), reader) {
        let says = "can read the hash of a secret that it made a password, and try values".to_owned();
        found.push(finding(Risk::Medium, &[secret, reader], says));
    }
    found
}

/// Returns whether a file that the glob matches is likely to be run.
fn is_program(glob: &str) -> bool {
    if begins_anywhere(glob) {
        return true;
    }
    match places::of_file(glob).filter(|_| !glob.contains('*')) {
        Some(place) => place.is_code(),
        None => {
            ["/usr", "/opt", "/srv", "/bin", "/sbin", "/home"].iter().any(|top| glob.starts_with(top))
                && !PLACES.iter().any(|place| !place.is_code() && place.has_all_of(glob))
        }
    }
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
            (
                &["svc:install:x.service", "fs:write:/opt/x"],
                Risk::Critical,
                "can run what it writes at every boot: `svc:install:x.service` runs `fs:write:/opt/x`",
            ),
            (&["svc:install:x.timer", "fs:write:/opt/x"], Risk::Medium, "`x.timer` says what starts"),
            (
                &["exec:htop", "fs:write:/usr/bin/htop"],
                Risk::Critical,
                "`fs:write:/usr/bin/htop` can replace the program of `exec:htop`",
            ),
            (&["exec:/usr/bin/htop", "fs:write:/bin/*"], Risk::Critical, "can replace the program of"),
            (&["exec:htop", "fs:write:/etc/ld.so.preload"], Risk::Critical, "can replace code that `exec:htop` loads"),
            (&["exec:htop", "fs:write:/usr/lib/**"], Risk::Critical, "can replace code that"),
            (&["exec:htop", "fs:write:/usr/local/sbin/name-machine"], Risk::High, "runs `htop` as root"),
            // A locale archive is no program.
            (&["fs:write:/usr/lib/locale/locale-archive"], Risk::Medium, "says how programs show text"),
            (&["exec:locale-gen", "fs:write:/usr/lib/locale/locale-archive"], Risk::High, "runs `locale-gen`"),
            (&["svc:install:x.service", "fs:write:/usr/lib/locale/locale-archive"], Risk::High, "`x.service` runs"),
            (&["exec:locale-gen", "net:https://example.org/**"], Risk::High, "runs `locale-gen`"),
            // What a command takes its orders from.
            (
                &["exec:npm --prefix /home/robot/ws ci", "fs:write:/home/robot/ws/**"],
                Risk::Critical,
                "`exec:npm --prefix /home/robot/ws ci` runs what `fs:write:/home/robot/ws/**` writes",
            ),
            (&["exec:pip3 install /opt/app", "fs:write:/opt/app/setup.py"], Risk::Critical, "runs what"),
            (&["exec:npm --prefix /home/robot/ws ci", "fs:write:/home/robot/data/**"], Risk::High, "runs `npm`"),
            (&["exec:dconf compile /etc/dconf/db/x", "fs:write:/etc/dconf/db/x"], Risk::High, ""),
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
    fn the_makefile_that_it_writes_is_told() {
        let (risk, findings) = judge(&rows(&["exec:make -C /home/robot/ws", "fs:write:/home/robot/ws/**"]));
        let expected = "`exec:make -C /home/robot/ws` runs what `fs:write:/home/robot/ws/**` writes";
        assert_eq!(risk, Risk::Critical);
        assert!(findings.iter().any(|finding| finding.says == expected), "{findings:?}");
    }

    #[test]
    fn no_sentence_is_there_twice() {
        let scopes =
            ["svc:install:a.service", "svc:install:b.service", "fs:write:/opt/x", "fs:write:/opt/y", "exec:make"];
        let (_, findings) = judge(&rows(&scopes));
        let says: std::collections::BTreeSet<&str> = findings.iter().map(|finding| finding.says.as_str()).collect();
        assert_eq!(says.len(), findings.len(), "{findings:?}");
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
