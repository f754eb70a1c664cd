//! Helpers of the SDK: each is granted what it says that it takes, and does its work with that and nothing less.

use std::io::{Seek as _, Write as _};
use std::sync::LazyLock;

use super::shipped::image_with;
use super::*;

const FILES: [(&str, &str); 11] = [
    ("etc/locale.gen", "# en_GB.UTF-8 UTF-8\n# en_US.UTF-8 UTF-8\n"),
    ("etc/default/keyboard", ""),
    ("etc/localtime", "TZif"),
    ("etc/sudoers.d/README", ""),
    ("etc/systemd/network/README", ""),
    ("etc/systemd/user/README", ""),
    ("etc/NetworkManager/system-connections/README", ""),
    ("etc/netplan/README", ""),
    ("etc/lightdm/README", ""),
    ("etc/apt/sources.list.d/README", ""),
    ("usr/share/zoneinfo/Europe/London", "TZif2"),
];

/// Looked at and compiled once for all runs.
static HELPERS: LazyLock<(Engine, InspectedPlugin)> = LazyLock::new(|| (engine(), look("helpers").unwrap()));

fn apply(helper: &str, scopes: &[String]) -> Ran {
    let file = |text: &str| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    };
    let assets = BTreeMap::from([
        ("site/bin/run".to_owned(), file("#!/bin/sh\n")),
        ("site/index.html".to_owned(), file("<html>\n")),
    ]);
    let root = image_with(&FILES);
    // What the base layer of each release has.
    let getty = root.path().join("usr/lib/systemd/system/getty@.service");
    std::fs::create_dir_all(getty.parent().unwrap()).unwrap();
    std::fs::write(getty, "[Service]\n[Install]\nWantedBy=getty.target\n").unwrap();
    let params = [("of", helper), ("user", "ann"), ("address", "10.0.0.2/8")];
    let granted = Granted { scopes: scopes_of("--grant", scopes).unwrap(), ..Granted::default() };
    let (engine, plugin) = &*HELPERS;
    run_with_assets(engine, root, plugin, &granted, (&params, assets), Limits::EXECUTE)
}

/// Each helper with the scopes that it asks for, packages left out.
fn helpers() -> Vec<(String, Vec<String>)> {
    let ran = apply("all", &[]);
    ran.result.as_ref().unwrap();
    let lines = ran.log.iter().map(|line| line.trim_start_matches("test/helpers: "));
    let parts = lines.map(|line| line.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    parts.map(|parts| (parts[0].clone(), parts[1..].to_vec())).collect()
}

/// Scopes for what programs of the image write: there are none in these tests that would.
const BY_PROGRAMS: [&str; 1] = ["fs:write:/usr/lib/locale/locale-archive"];

#[test]
fn a_helper_takes_what_it_asks_for_and_nothing_else() {
    let helpers = helpers();
    assert_eq!(helpers.len(), 37, "{helpers:?}");
    for (name, scopes) in &helpers {
        assert!(!scopes.is_empty(), "{name} asks for nothing");
        let ran = apply(name, scopes);
        assert!(ran.result.is_ok(), "{name} with {scopes:?}: {:?}", ran.result);
        for missing in scopes.iter().filter(|scope| !BY_PROGRAMS.contains(&scope.as_str())) {
            let fewer: Vec<String> = scopes.iter().filter(|scope| *scope != missing).cloned().collect();
            let ran = apply(name, &fewer);
            let report = ran.result.expect_err(&format!("{name} does not use `{missing}`"));
            assert_eq!(report.kind, Kind::Grant, "{name} without `{missing}`: {report:?}");
        }
    }
}

#[test]
fn words_of_helpers_have_parameters_in_them() {
    let scopes = |name: &str| helpers().into_iter().find(|(it, _)| it == name).unwrap().1;
    let ran = apply("sudo", &scopes("sudo"));
    let rule = ran.read("etc/sudoers.d/piimg-ann").unwrap();
    assert_eq!(rule, "ann ALL=(root) NOPASSWD: /usr/sbin/reboot\n");
    let ran = apply("networkd", &scopes("networkd"));
    assert!(ran.read("etc/systemd/network/10-field.network").unwrap().ends_with("\nAddress=10.0.0.2/8\n"));
    let ran = apply("command", &scopes("command"));
    assert_eq!(ran.commands[0].args, ["ann"]);
    let ran = apply("console", &scopes("console"));
    let login = ran.read("etc/systemd/system/getty@tty1.service.d/autologin.conf").unwrap();
    assert!(login.contains("\nExecStart=-/sbin/agetty --autologin ann --noclear %I $TERM\n"), "{login}");
}

#[test]
fn programs_among_assets_can_be_run() {
    let scopes = vec!["asset:site".to_owned(), "fs:write:/opt/**".to_owned()];
    let ran = apply("assets", &scopes);
    ran.result.as_ref().unwrap();
    let mode = |path: &str| std::fs::metadata(ran.root.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("opt/bin/run"), mode("opt/index.html"), mode("opt/bin")), (0o755, 0o640, 0o755));
}

#[test]
fn a_text_that_is_not_there_is_not_replaced_without_a_word() {
    let scopes = ["fs:read:/etc/locale.gen", "fs:write:/etc/locale.gen"].map(str::to_owned).to_vec();
    let ran = apply("replace", &scopes);
    assert!(ran.read("etc/locale.gen").unwrap().starts_with("# en_IE.UTF-8"));
    let granted = Granted { scopes: scopes_of("--grant", &scopes).unwrap(), ..Granted::default() };
    let params = [("of", "replace"), ("user", "ann"), ("address", "10.0.0.2/8")];
    let root = image_with(&[("etc/locale.gen", "C.UTF-8 UTF-8\n")]);
    let ran = run_with(&HELPERS.0, root, &HELPERS.1, &granted, &params, Limits::EXECUTE);
    let message = &ran.failure(Kind::Plugin).messages[1];
    assert_eq!(message, "`en_GB` is nowhere in `/etc/locale.gen`: nothing was replaced");
}
