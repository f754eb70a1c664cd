//! How far a plugin reaches if all that it asks for is granted: by single capabilities, and by what they make possible
//! together. Every rank comes with its reason.

use serde::Serialize;

use super::kinds::kind_of;
use super::{Possible, Row};
use crate::plugin::{Capability, ServiceAction, Template, UserAction};
pub use crate::rootfs::places::Risk;
use crate::rootfs::places::{PLACES, Place};

/// Why a plugin has its rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub risk: Risk,
    /// The capabilities that it follows from.
    pub from: Vec<String>,
    pub says: String,
}

/// Programs that do whatever their arguments or input say.
const INTERPRETERS: [&str; 50] = [
    "sh",
    "ash",
    "bash",
    "dash",
    "fish",
    "ksh",
    "rbash",
    "zsh",
    "busybox",
    "toybox",
    "python",
    "python2",
    "python3",
    "perl",
    "ruby",
    "node",
    "nodejs",
    "lua",
    "php",
    "tclsh",
    "expect",
    "gdb",
    "awk",
    "gawk",
    "mawk",
    "sed",
    "ed",
    "vi",
    "vim",
    "find",
    "env",
    "xargs",
    "parallel",
    "chroot",
    "nsenter",
    "unshare",
    "setpriv",
    "runuser",
    "su",
    "sudo",
    "nice",
    "nohup",
    "timeout",
    "script",
    "flock",
    "run-parts",
    "start-stop-daemon",
    "systemd-run",
    "make",
    "ld.so",
];

/// Keys of config.txt by which another kernel, firmware or command line is booted.
const BOOTING: [&str; 13] = [
    "kernel",
    "kernel_address",
    "initramfs",
    "ramfsfile",
    "cmdline",
    "include",
    "os_prefix",
    "overlay_prefix",
    "start_file",
    "start",
    "armstub",
    "device_tree",
    "boot_ramdisk",
];

/// Kernel parameters by which other code becomes the first process, or what protects the system is turned off.
const STARTING: [&str; 12] = [
    "init",
    "rdinit",
    "root",
    "initrd",
    "break",
    "systemd.run",
    "systemd.unit",
    "systemd.wants",
    "systemd.debug_shell",
    "apparmor",
    "lsm",
    "module_blacklist",
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

/// What one capability means by itself; nothing if it only touches what nothing runs. Each kind is named, so that no new
/// one is forgotten here.
fn alone(row: &Row) -> Option<Finding> {
    let finding = |risk, says: String| Some(Finding { risk, from: vec![row.declared.clone()], says });
    let Some((_, scope)) = split(row) else {
        return finding(Risk::High, format!("`{}` is nothing that this piimg can judge", row.declared));
    };
    let Some(capability) = widest(row) else {
        return finding(Risk::High, format!("`{scope}` is nothing that this piimg can judge"));
    };
    match &capability {
        Capability::Exec(_) if program_is_a_parameter(scope) => {
            finding(Risk::Critical, "runs whatever program a parameter names".into())
        }
        Capability::Exec(pattern) => {
            let name = pattern.program().rsplit('/').next().unwrap_or_default();
            if is_interpreter(name) {
                return finding(Risk::Critical, format!("`{name}` does whatever it is told: any command in the image"));
            }
            if let Some(variable) = pattern.telling_variable() {
                let says = format!("tells `{name}` by the variable `{variable}` what else to run, or may");
                return finding(Risk::Critical, says);
            }
            if pattern.has_any_arguments() {
                return finding(Risk::High, format!("runs `{name}` with any arguments, as root of the image"));
            }
            let with: Vec<String> = pattern.variables().map(|(name, value)| format!("`{name}={value}`")).collect();
            let with = if with.is_empty() { String::new() } else { format!(" with {}", with.join(", ")) };
            finding(Risk::High, format!("runs `{name}`{with} as root of the image; what it changes is still checked"))
        }
        Capability::FsWrite(glob) if first_is_wild(&glob.to_string()) => {
            finding(Risk::Critical, "writes anywhere in the image".into())
        }
        Capability::FsWrite(glob) => match reached(scope, &glob.to_string()) {
            Some((risk, says)) => finding(risk, says),
            None if scope.contains('*') => finding(Risk::Medium, format!("writes any file that `{scope}` matches")),
            None => None,
        },
        Capability::FsRead(glob)
            if SECRET_FILES.iter().any(|path| crate::glob::meets_path(&glob.to_string(), path)) =>
        {
            finding(Risk::Medium, "reads password hashes and keys".into())
        }
        Capability::FsRead(_) => None,
        Capability::Service(pattern) => match pattern.action() {
            ServiceAction::Install => {
                finding(Risk::High, format!("`{scope}` runs what the plugin writes into it, at boot if enabled"))
            }
            ServiceAction::Enable => finding(Risk::Medium, format!("`{scope}` starts at boot")),
            ServiceAction::Disable | ServiceAction::Mask => {
                finding(Risk::Medium, format!("`{scope}` no longer starts"))
            }
        },
        Capability::User(pattern) => match pattern.action() {
            UserAction::Create => finding(Risk::Medium, format!("creates the user `{scope}`")),
            UserAction::Group => finding(Risk::High, format!("puts users into `{scope}`, which may lend them rights")),
            UserAction::Password => finding(
                Risk::High,
                format!("`{scope}` can log in with a password that the plugin chooses among its secrets"),
            ),
            UserAction::Keys => finding(Risk::High, format!("decides who may log in as `{scope}` from afar")),
        },
        Capability::BootConfig(glob) if BOOTING.iter().any(|key| glob.matches(key)) => {
            finding(Risk::High, format!("`{scope}` decides what the Pi boots"))
        }
        Capability::BootCmdline(glob) if STARTING.iter().any(|name| glob.matches(name)) => {
            finding(Risk::High, format!("`{scope}` decides what the kernel starts"))
        }
        Capability::BootConfig(_) | Capability::BootCmdline(_) => {
            finding(Risk::Medium, format!("`{scope}` changes how the Pi boots"))
        }
        Capability::PkgInstall(_) if scope.starts_with('*') => {
            finding(Risk::High, "installs any package; its scripts run as root of the image".into())
        }
        Capability::PkgInstall(_) => {
            finding(Risk::Medium, format!("installs `{scope}`; its scripts run as root of the image"))
        }
        Capability::PkgRemove(_) if scope.starts_with('*') => finding(Risk::High, "removes any package".into()),
        Capability::PkgRemove(_) => finding(Risk::Medium, format!("removes `{scope}`")),
        Capability::PkgBuild(_) => {
            finding(Risk::Medium, format!("runs above `{scope}`, which the image does not have"))
        }
        Capability::PkgRepo(_) => {
            let says = format!(
                "whoever signs `{scope}` is root of the image: any package may come from there, and in later updates too"
            );
            finding(Risk::Critical, says)
        }
        Capability::PkgPin(_) if scope.starts_with('*') => {
            finding(Risk::High, "decides which version of any package is installed, in later updates too".into())
        }
        Capability::PkgPin(_) => {
            finding(Risk::Medium, format!("decides which version of `{scope}` is installed, in later updates too"))
        }
        Capability::Debconf(_) => {
            finding(Risk::Medium, format!("answers `{scope}`, by which a package sets itself up"))
        }
        // What it does with what it gets is judged where it writes or runs it.
        Capability::Net(_) | Capability::Asset(_) | Capability::Secret(_) => None,
    }
}

/// Files that are nobody's to read but root's.
const SECRET_FILES: [&str; 9] = [
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/ssh/ssh_host_*",
    "/etc/ssl/private/**",
    "/etc/NetworkManager/system-connections/**",
    "/etc/wpa_supplicant/**",
    "/etc/wireguard/**",
    "/home/*/.ssh/**",
    "/root/**",
];

/// The places that a scope could write to, the gravest risk and the first of them first.
fn reached(scope: &str, glob: &str) -> Option<(Risk, String)> {
    // A directory's owner and mode are in reach too, and a link in its place.
    let mut found: Vec<(&Place, &str, &str)> = PLACES
        .iter()
        .filter_map(|place| {
            let within = place.within(glob).map(|at| (place, "covers", at));
            within.or_else(|| place.below(glob).map(|at| (place, "leads to", at)))
        })
        .collect();
    found.sort_by_key(|(place, ..)| std::cmp::Reverse(place.risk));
    let risk = found.first()?.0.risk;
    if !scope.contains(['*', '{']) && found[0].1 == "covers" {
        return Some((risk, format!("`{scope}` {}", found[0].0.does)));
    }
    const LISTED: usize = 3;
    let listed = found.iter().take(LISTED).map(|(place, how, at)| format!("{how} {at}, which {}", place.does));
    let more = match found.len().saturating_sub(LISTED) {
        0 => String::new(),
        1 => "; and one more such place".to_owned(),
        more => format!("; and {more} more such places"),
    };
    Some((risk, format!("`{scope}` {}{more}", listed.collect::<Vec<_>>().join("; "))))
}

/// The capability with each parameter as a wildcard, where it can be one: a value may be any name.
fn widest(row: &Row) -> Option<Capability> {
    Template::parse(&row.declared).ok().map(|template| template.widest())
}

/// Whether a program does whatever its arguments or input say, by its name without a version.
fn is_interpreter(name: &str) -> bool {
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&name) || INTERPRETERS.contains(&plain) || name.starts_with("ld-linux")
}

/// Whether the first word that sets no variable has a parameter in it.
fn program_is_a_parameter(scope: &str) -> bool {
    scope.split(' ').find(|word| word.starts_with('/') || !word.contains('=')).is_some_and(|word| word.contains('{'))
}

/// Where programs are, and what they load and run.
const PROGRAMS: [&str; 7] =
    ["/usr/**", "/bin/**", "/sbin/**", "/lib/**", "/lib64/**", "/etc/alternatives/**", "/etc/ld.so*"];

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
    ["/usr", "/opt", "/srv", "/bin", "/sbin", "/home"].iter().any(|top| scope.starts_with(top)) || first_is_wild(scope)
}

/// Whether the glob matches in any directory.
fn first_is_wild(scope: &str) -> bool {
    scope.split('/').nth(1).is_some_and(|first| first.is_empty() || first.contains('*'))
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
