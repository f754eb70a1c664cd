use std::path::Path;

use super::*;
use crate::conf::{Param, ParamKind};
use crate::grant::scopes_of;
use crate::policy;
use piimg_sandbox::error::{Kind, report};

/// A plugin that asks for these, of which those with `?` before them are optional.
fn info(digit: char, scopes: &[&str]) -> PluginInfo {
    let request = |scope: &&str| {
        let optional = scope.starts_with('?');
        Request { scope: scope.trim_start_matches('?').into(), reason: "because".into(), optional, listed: false }
    };
    let digest = format!("sha256:{}", digit.to_string().repeat(64));
    let requests = scopes.iter().map(request).collect();
    let mut info = PluginInfo { digest, requests, path: "p.wasm".into(), ..PluginInfo::default() };
    (info.conf.id, info.conf.version) = ("a/b".into(), "1.0.0".into());
    let kind = ParamKind::Text;
    info.conf.params = vec![Param { name: "user".into(), title: String::new(), kind, default: None }];
    info
}

fn values(user: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("user".into(), user.into())])
}

/// The lock file after a yes to everything that `info` asks for.
fn locked(info: &PluginInfo, lock: Option<&Lock>, optional: bool) -> Lock {
    let ceiling = Ceiling::default();
    let proposal = Proposal::new(info, &values("ann"), &Basis { lock, ceiling: &ceiling, flags: &[] }).unwrap();
    Lock::parse(&crate::lock::set(None, &proposal.entry(optional)).unwrap()).unwrap()
}

fn propose(info: &PluginInfo, lock: Option<&Lock>) -> Proposal {
    let ceiling = Ceiling::default();
    Proposal::new(info, &values("ann"), &Basis { lock, ceiling: &ceiling, flags: &[] }).unwrap()
}

const NAME: &str = "`a/b` 1.0.0 (p.wasm, sha256:bbbbbbbbbbbb…)";

#[test]
fn a_new_plugin_is_shown_whole() {
    let proposal = propose(&info('b', &["fs:write:/etc/x", "?exec:id", "pkg:install:htop"]), None);
    let first = proposal.first().unwrap();
    assert_eq!(
        first.lines,
        [
            format!("the plugin {NAME} asks for:"),
            "  fs:write:/etc/x  (it says: because)".into(),
            "  pkg:install:htop  (it says: because)".into()
        ]
    );
    assert_eq!(first.question, "Grant these 2?");
    let second = proposal.second().unwrap();
    assert_eq!(
        second.into_text(),
        ["`a/b` can do without, but would use:", "  exec:id  (it says: because)", "Grant this too?"]
    );
    let entry = proposal.entry(false);
    assert_eq!(entry.grant, ["fs:write:/etc/x", "pkg:install:htop"]);
    assert_eq!(entry.request.unwrap(), ["fs:write:/etc/x", "exec:id", "pkg:install:htop"]);
    assert_eq!(proposal.entry(true).grant, ["fs:write:/etc/x", "pkg:install:htop", "exec:id"]);
}

#[test]
fn a_plugin_that_asks_for_nothing_is_still_asked_about() {
    for scopes in [&[][..], &["?exec:id"]] {
        let first = propose(&info('b', scopes), None).first().unwrap();
        assert_eq!(first.lines, [format!("the plugin {NAME} asks for nothing that it could not do without")]);
        assert_eq!(first.question, "Accept it?");
    }
}

#[test]
fn what_this_build_has_is_not_asked_again() {
    let plugin = info('b', &["fs:write:/etc/x", "?exec:id"]);
    let lock = locked(&plugin, None, true);
    assert!(propose(&plugin, Some(&lock)).is_empty());
    let lock = locked(&plugin, None, false);
    let proposal = propose(&plugin, Some(&lock));
    assert!(!proposal.is_empty() && proposal.first().is_none());
    assert_eq!(proposal.entry(true).grant, ["fs:write:/etc/x", "exec:id"]);
    // A wider grant that somebody wrote by hand stays as it is.
    let by_hand = crate::lock::lines("a/b", &plugin.digest, ["fs:write:/etc/**"]);
    let by_hand = Lock::parse(&format!("version = 1\n{by_hand}")).unwrap();
    let proposal = propose(&plugin, Some(&by_hand));
    assert!(proposal.first().is_none());
    assert_eq!(proposal.entry(true).grant, ["fs:write:/etc/**", "exec:id"]);
    // What was granted with a flag is for this build only.
    let (ceiling, flags) = (Ceiling::default(), [Template::parse("fs:write:/etc/**").unwrap()]);
    let proposal = Proposal::new(&plugin, &values("ann"), &Basis { lock: None, ceiling: &ceiling, flags: &flags });
    assert_eq!(proposal.unwrap().entry(true).grant, ["exec:id"]);
}

#[test]
fn another_build_with_the_same_or_fewer_is_one_line() {
    let old = info('a', &["fs:write:/etc/**", "pkg:install:htop", "?exec:id"]);
    for (scopes, declined, question, grants) in [
        (
            &["fs:write:/etc/**", "pkg:install:htop", "?exec:id"][..],
            false,
            "nothing new. Grant it the 3 that the other had and it asks for?",
            &["fs:write:/etc/**", "pkg:install:htop", "exec:id"][..],
        ),
        (
            &["pkg:install:htop", "fs:write:/etc/**", "?exec:id"],
            true,
            "nothing new. Grant it the 2 that the other had and it asks for?",
            &["pkg:install:htop", "fs:write:/etc/**"],
        ),
        (
            &["fs:write:/etc/x"],
            false,
            "nothing new, and for 3 less. Grant it the 1 that the other had and it asks for?",
            &["fs:write:/etc/x"],
        ),
        (&[], false, "nothing new, and for 3 less. Accept it without any grant?", &[]),
    ] {
        let lock = locked(&old, None, !declined);
        let proposal = propose(&info('b', scopes), Some(&lock));
        let first = proposal.first().unwrap();
        assert_eq!(first.question, format!("{NAME} is another build, which asks for {question}"));
        assert!(first.lines.is_empty() && proposal.second().is_none(), "{scopes:?}");
        assert_eq!(proposal.entry(true).grant, grants, "{scopes:?}");
    }
}

#[test]
fn of_a_wider_build_only_the_difference_is_shown() {
    let lock = locked(&info('a', &["fs:write:/etc/x", "pkg:install:htop", "asset:old"]), None, true);
    let proposal =
        propose(&info('b', &["fs:write:/etc/**", "pkg:install:htop", "?exec:id", "exec:sh **"]), Some(&lock));
    let first = proposal.first().unwrap();
    assert_eq!(
        first.lines,
        [
            &format!("the plugin {NAME} is another build than the one in the lock file, and asks for more:"),
            "  exec:sh **  (it says: because)",
            "  fs:write:/etc/**  (it says: because)",
            "it asks no longer for:",
            "  fs:write:/etc/x",
            "  asset:old",
        ]
    );
    assert_eq!(first.question, "Grant these 2, beside 2 that the other had?");
    assert_eq!(proposal.second().unwrap().lines[1], "  exec:id  (it says: because)");
    assert_eq!(
        proposal.entry(true).grant,
        ["fs:write:/etc/x", "pkg:install:htop", "fs:write:/etc/**", "exec:sh **", "exec:id"]
    );
}

#[test]
fn no_wildcard_is_taken_over_that_the_plugin_does_not_ask_for() {
    let by_hand = crate::lock::lines("a/b", &info('a', &[]).digest, ["fs:write:/**", "exec:sh **"]);
    let by_hand = Lock::parse(&format!("version = 1\n{by_hand}")).unwrap();
    let proposal = propose(&info('b', &["fs:write:/etc/x", "exec:sh -c *"]), Some(&by_hand));
    assert_eq!(proposal.entry(true).grant, ["fs:write:/etc/x", "exec:sh -c *"]);
}

#[test]
fn scopes_are_kept_before_and_shown_after_their_values() {
    let plugin = info('b', &["fs:write:/home/{params.user}/x"]);
    let proposal = propose(&plugin, None);
    let line = &proposal.first().unwrap().lines[1];
    assert_eq!(line, "  fs:write:/home/{params.user}/x → fs:write:/home/ann/x  (it says: because)");
    assert_eq!(proposal.entry(true).grant, ["fs:write:/home/{params.user}/x"]);
    let ceiling = Ceiling::default();
    let basis = Basis { lock: None, ceiling: &ceiling, flags: &[] };
    let unknown = Proposal::new(&plugin, &BTreeMap::new(), &basis).unwrap();
    assert_eq!(unknown.first().unwrap().lines[1], "  fs:write:/home/{params.user}/x  (it says: because)");
    let error = Proposal::new(&plugin, &values("../root"), &basis).unwrap_err();
    assert_eq!(report(&error).kind, Kind::Usage);
    assert!(format!("{error:#}").contains("the value `../root` of the parameter `user`"), "{error:#}");
}

#[test]
fn only_what_the_user_typed_is_granted() {
    let plugin = info('b', &["fs:write:/etc/**", "exec:id", "asset:*"]);
    let old = locked(&info('a', &["fs:write:/etc/**", "exec:id"]), None, true);
    let ceiling = Ceiling::default();
    let only = |lock, scopes: &[&str]| {
        let basis = Basis { lock, ceiling: &ceiling, flags: &[] };
        Proposal::only(&plugin, &values("ann"), &basis, &scopes_of("--only", scopes)?)
            .map(|proposal| proposal.entry(true).grant)
    };
    let (this, nothing): (Option<&Lock>, Vec<Template>) = (None, Vec::new());
    assert_eq!(only(this, &["fs:write:/etc/x", "asset:logo"]).unwrap(), ["fs:write:/etc/x", "asset:logo"]);
    assert_eq!(only(Some(&old), &["exec:id"]).unwrap(), ["exec:id"], "the other build's grants do not come along");
    assert_eq!(only(None, &["fs:write:/**", "exec:id x", "pkg:install:x"]).unwrap(), nothing);
    assert_eq!(report(&only(None, &["nonsense"]).unwrap_err()).messages[0], "cannot use `--only`");
    for (scope, expected) in [("fs:write:/etc/x", true), ("fs:write:/**", false), ("exec:id", true)] {
        let scope = &Template::parse(scope).unwrap();
        assert_eq!(Proposal::concerns(&plugin, &values("ann"), scope).unwrap(), expected, "{scope}");
    }
}

#[test]
fn what_the_site_does_not_allow_is_not_proposed() {
    let ceiling = policy::ceiling("version = 1\nallow = [\"fs:write:/etc/**\"]\n");
    let basis = Basis { lock: None, ceiling: &ceiling, flags: &[] };
    let proposal = Proposal::new(&info('b', &["fs:write:/etc/x", "?exec:id"]), &values("ann"), &basis).unwrap();
    assert!(proposal.second().is_none());
    assert_eq!(proposal.entry(true).grant, ["fs:write:/etc/x"]);
    assert_eq!(
        proposal.notes(),
        ["`policy.toml` does not allow `a/b` what it can do without: exec:id  (it says: because)"]
    );
    let needs = info('b', &["fs:write:/etc/x", "fs:write:/home/{params.user}/x"]);
    let only = scopes_of("--only", &["fs:write:/home/{params.user}/x"]).unwrap();
    for error in [
        Proposal::new(&needs, &values("ann"), &basis).unwrap_err(),
        Proposal::only(&needs, &values("ann"), &basis, &only).unwrap_err(),
    ] {
        let report = report(&error);
        assert_eq!(report.kind, Kind::Grant);
        assert_eq!(
            report.messages[0],
            "the plugin `a/b` cannot be granted what is not allowed here:\n  \
             fs:write:/home/{params.user}/x → fs:write:/home/ann/x  [not in `policy.toml`]  (it says: because)"
        );
    }
    assert!(Path::new(policy::SITE).is_absolute());
}

#[test]
fn hostile_text_cannot_hide_anything() {
    let mut plugin = info('b', &["fs:write:/etc/\u{435}x"]);
    plugin.conf.version = "1\u{1b}[2J".into();
    plugin.requests[0].reason = format!("ok\n\u{202e}{}", "long ".repeat(100));
    let first = propose(&plugin, None).first().unwrap();
    assert!(first.lines[0].contains("`a/b` 1\\u{1b}[2J ("), "{first:?}");
    assert!(
        first.lines[1].starts_with("  fs:write:/etc/\u{435}x  [not ASCII: \\u{435}]  (it says: ok\\u{a}\\u{202e}long ")
    );
    assert!(first.lines[1].ends_with("…)") && first.lines[1].chars().count() < 300, "{first:?}");
}

#[test]
fn many_scopes_come_by_kind_with_what_helps_to_judge_them() {
    let paths: Vec<String> = (0..20).map(|number| format!("fs:write:/etc/{number}")).collect();
    let mut scopes: Vec<&str> = paths.iter().map(String::as_str).collect();
    scopes.push("exec:id");
    let first = propose(&info('b', &scopes), None).first().unwrap();
    assert!(first.lines[1].starts_with("(to see what they come to: piimg audit '"), "{first:?}");
    assert_eq!((first.lines.len(), first.lines[2].as_str()), (23, "  exec:id  (it says: because)"));
    assert_eq!(first.question, "Grant these 21?");
}
