use super::*;
use crate::conf::{Param, ParamKind};
use crate::{lock, policy};
use piimg_sandbox::error::{Kind, report};

fn info(requests: &[(&str, bool)]) -> PluginInfo {
    let requests = requests
        .iter()
        .map(|(scope, optional)| Request {
            scope: (*scope).into(),
            reason: "because".into(),
            optional: *optional,
            listed: false,
        })
        .collect();
    let mut info = PluginInfo { digest: format!("sha256:{}", "a".repeat(64)), requests, ..PluginInfo::default() };
    info.conf.id = "a/b".into();
    info.path = "it's.wasm".into();
    let kind = ParamKind::Text;
    info.conf.params = vec![Param { name: "user".into(), title: String::new(), kind, default: None }];
    info
}

/// The rights of a plugin whose parameter `user` is `ann`.
fn set(requests: &[(&str, bool)], from: &Granted) -> Result<GrantSet> {
    GrantSet::new(&info(requests), &BTreeMap::from([("user".into(), "ann".into())]), from)
}

fn grant(scopes: &[&str]) -> Granted {
    Granted { scopes: scopes_of("--grant", scopes).unwrap(), ..Granted::default() }
}

#[test]
fn a_call_needs_request_and_grant() {
    let need = Need::fs_write("/etc/x".into());
    for (requested, granted, expected) in [
        ("fs:write:/etc/x", "fs:write:/etc/x", None),
        ("fs:write:/etc/**", "fs:write:/etc/x", None),
        ("fs:write:/etc/x", "fs:write:/etc/**", None),
        ("fs:write:/etc/x", "fs:write:/etc/y", Some("`fs:write:/etc/x` was requested, but not granted")),
        ("fs:write:/etc/y", "fs:write:/**", Some("`fs:write:/etc/x` was not requested")),
        ("fs:read:/etc/x", "fs:write:/etc/x", Some("`fs:write:/etc/x` was not requested")),
    ] {
        let set = set(&[(requested, false)], &grant(&[granted])).unwrap();
        assert_eq!(set.allows(&need).err().map(|refusal| refusal.to_string()).as_deref(), expected);
    }
}

#[test]
fn nothing_is_granted_by_default_and_the_fix_is_told() {
    let set = set(&[("fs:write:/etc/x", false), ("exec:sh", true)], &Granted::default()).unwrap();
    let report = report(&set.check().unwrap().into());
    assert_eq!(report.kind, Kind::Grant);
    assert!(report.messages[0].ends_with("nobody granted:\n  fs:write:/etc/x  (it says: because)"), "{report:?}");
    assert_eq!(report.hints, ["to see, grant and keep it: piimg grant 'it'\\''s.wasm'"]);
    assert!(!set.has("exec:sh"));
}

#[test]
fn all_requests_can_be_granted_at_once() {
    let from = Granted { requested: true, ..Granted::default() };
    let set = set(&[("fs:write:/etc/**", false), ("exec:sh", true)], &from).unwrap();
    assert!(set.check().is_none());
    assert!(set.has("fs:write:/etc/x") && set.has("exec:sh") && !set.has("fs:write:/**") && !set.has("nonsense"));
}

#[test]
fn grants_for_another_build_do_not_count() {
    let text =
        format!("version = 1\n{}", lock::lines("a/b", &format!("sha256:{}", "b".repeat(64)), ["fs:write:/etc/x"]));
    let from = Granted { lock: Some(Lock::parse(&text).unwrap()), ..Granted::default() };
    let told = |scope| set(&[(scope, false)], &from).unwrap().check().unwrap().to_string();
    let same = "the plugin `a/b` is another build than the one in the lock file, which asks for nothing new";
    assert_eq!(told("fs:write:/etc/x"), same);
    assert!(told("fs:write:/etc/y").contains("are for another build of it"), "{}", told("fs:write:/etc/y"));
}

#[test]
fn what_is_not_offered_cannot_be_requested() {
    let error = set(&[("gpio:17", false)], &Granted::default()).unwrap_err();
    let report = report(&error);
    assert_eq!(report.kind, Kind::Usage);
    assert!(report.messages[1].contains("its kind is not offered"), "{report:?}");
}

#[test]
fn a_call_needs_the_site_too_and_the_refusal_says_what_was_missing() {
    let need = Need::fs_write("/etc/x".into());
    let hint = "only a change of `policy.toml` could allow it";
    for (requested, granted, allowed, message, expected_hint) in [
        ("fs:write:/etc/x", "fs:write:/etc/x", "fs:write:/etc/**", "", ""),
        ("fs:write:/**", "fs:write:/**", "fs:write:/etc/x", "", ""),
        (
            "fs:write:/etc/x",
            "fs:write:/etc/x",
            "fs:write:/etc/y",
            "`fs:write:/etc/x` was requested and granted, but `policy.toml` does not allow it",
            hint,
        ),
        (
            "fs:write:/etc/x",
            "fs:write:/etc/y",
            "fs:read:/**",
            "`fs:write:/etc/x` was requested, but not granted, and `policy.toml` does not allow it",
            hint,
        ),
        (
            "fs:write:/etc/x",
            "fs:write:/etc/y",
            "fs:write:/**",
            "`fs:write:/etc/x` was requested, but not granted",
            "to allow it: --grant 'fs:write:/etc/x'",
        ),
        (
            "fs:write:/etc/y",
            "fs:write:/etc/x",
            "fs:read:/**",
            "`fs:write:/etc/x` was not requested",
            "it is for the author of `a/b` to request it in conf()",
        ),
    ] {
        let ceiling = policy::ceiling(&format!("version = 1\nallow = [{allowed:?}]"));
        let set = set(&[(requested, false)], &Granted { ceiling, ..grant(&[granted]) }).unwrap();
        let refusal = set.allows(&need).err();
        let told = refusal.map(|refusal| (refusal.to_string(), refusal.hint())).unwrap_or_default();
        assert_eq!(told, (message.to_owned(), expected_hint.to_owned()), "{requested} {granted} {allowed}");
    }
}

#[test]
fn a_path_that_no_scope_can_spell_has_another_hint() {
    let set = set(&[("fs:write:/etc/*", false)], &Granted::default()).unwrap();
    for path in ["/etc/{x}", "/etc/a\nb"] {
        let hint = set.allows(&Need::fs_write(path.into())).unwrap_err().hint();
        assert_eq!(hint, "to allow it: --grant a scope that covers it with `*`");
    }
}

#[test]
fn what_the_site_does_not_allow_is_refused_before_the_build() {
    let ceiling = policy::ceiling("version = 1\nallow = [\"fs:write:/etc/**\"]");
    let from = Granted { requested: true, ceiling, ..Granted::default() };
    let requests = [("fs:write:/etc/x", false), ("exec:id", false), ("asset:x", true)];
    let narrow = set(&requests, &from).unwrap();
    let report = report(&narrow.check().unwrap().into());
    assert_eq!(report.kind, Kind::Grant);
    assert_eq!(
        report.messages[0],
        "the plugin `a/b` needs capabilities that are not allowed here:\n  exec:id  [not in `policy.toml`]  (it says: because)"
    );
    assert_eq!(report.hints, ["only a change of `policy.toml` could allow it"]);
    assert!(!narrow.wants_grants(), "no grant could help");
    let states: Vec<State> = narrow.standings().into_iter().map(|standing| standing.state).collect();
    let forbidden = || State::Forbidden("policy.toml".into());
    assert_eq!(states, [State::Granted, forbidden(), forbidden()]);
    assert!(narrow.has("fs:write:/etc/x") && !narrow.has("exec:id") && !narrow.has("asset:x"));
    // What it can do without is no reason to refuse it.
    assert!(set(&[("fs:write:/etc/x", false), ("asset:x", true)], &from).unwrap().check().is_none());
}

#[test]
fn scopes_with_parameters_are_compared_with_their_values() {
    let scope = "fs:write:/home/{params.user}/x";
    let granted = grant(&[scope]);
    let rights = set(&[(scope, false)], &granted).unwrap();
    assert!(rights.check().is_none());
    assert!(rights.allows(&Need::fs_write("/home/ann/x".into())).is_ok());
    assert!(rights.allows(&Need::fs_write("/home/bob/x".into())).is_err());
    assert!(rights.has(scope) && rights.has("fs:write:/home/ann/x") && !rights.has("fs:write:/home/{params.other}/x"));
    assert_eq!(rights.standings()[0].means, "fs:write:/home/ann/x");
    // The site bounds what comes of it.
    for (allowed, expected) in [("fs:write:/home/ann/**", true), ("fs:write:/home/bob/**", false)] {
        let ceiling = policy::ceiling(&format!("version = 1\nallow = [{allowed:?}]"));
        let rights = set(&[(scope, false)], &Granted { ceiling, ..granted.clone() }).unwrap();
        assert_eq!(rights.check().is_none(), expected, "{allowed}");
    }
    // The message has what is granted, and what it means.
    let report = report(&set(&[(scope, false)], &Granted::default()).unwrap().check().unwrap().into());
    assert!(report.messages[0].contains("\n  fs:write:/home/{params.user}/x → fs:write:/home/ann/x  (it says"));
}

#[test]
fn a_parameter_that_the_plugin_has_not_is_no_parameter() {
    let scope = "fs:write:/home/{params.other}/x";
    let error = format!("{:#}", set(&[(scope, false)], &Granted::default()).unwrap_err());
    assert!(error.ends_with("`fs:write:/home/{params.other}/x`: it has no parameter `other`"), "{error}");
    // A grant for all plugins may be meant for another one.
    let from = grant(&[scope, "exec:id"]);
    assert!(!set(&[("exec:id", false)], &from).unwrap().has(scope));
    assert_eq!(set(&[], &from).unwrap().scopes(), ["exec:id"]);
}

#[test]
fn a_value_that_is_more_than_a_name_is_refused() {
    let plugin = info(&[("fs:write:/home/{params.user}/x", false)]);
    let error = GrantSet::new(&plugin, &BTreeMap::from([("user".into(), "../etc".into())]), &Granted::default());
    let report = report(&error.unwrap_err());
    assert_eq!(report.kind, Kind::Usage);
    assert_eq!(report.messages[0], "the plugin `a/b` cannot ask for `fs:write:/home/{params.user}/x`");
    assert!(
        report.messages[1].starts_with("the value `../etc` of the parameter `user` cannot stand in `fs:write:"),
        "{report:?}"
    );
}

#[test]
fn locked_means_the_lock_file_and_nothing_else() {
    let requests = [("fs:write:/etc/x", false), ("exec:id", true)];
    let listed = |scopes: &[&str]| {
        let lines = lock::lines("a/b", &info(&[]).digest, scopes.iter().copied());
        let lock = Some(Lock::parse(&format!("version = 1\n{lines}")).unwrap());
        set(&requests, &Granted { lock, locked: true, ..Granted::default() }).unwrap()
    };
    assert!(listed(&["fs:write:/etc/x"]).check().is_none());
    let told = |set: &GrantSet| report(&set.check().unwrap().into());
    let missing = told(&listed(&[]));
    assert!(missing.messages[0].contains("nobody granted:\n  fs:write:/etc/x"), "{missing:?}");
    assert_eq!(missing.hints, ["to see, grant and keep it, without --locked: piimg grant 'it'\\''s.wasm'"]);
    for lock in [None, Some(Lock::parse("version = 1").unwrap())] {
        let from = Granted { lock, locked: true, ..Granted::default() };
        for requests in [&requests[..], &[]] {
            let set = set(requests, &from).unwrap();
            assert!(!set.wants_grants(), "it never asks");
            let unlisted = told(&set);
            assert_eq!(unlisted.kind, Kind::Grant);
            assert_eq!(unlisted.messages, ["the plugin `a/b` is not in the lock file, by its digest"]);
        }
    }
}

#[test]
fn the_command_in_the_hint_names_the_recipe_that_was_named() {
    let from = Granted { recipe: " --recipe 'robot/piimg.toml'".into(), ..Granted::default() };
    let report = report(&set(&[("exec:id", false)], &from).unwrap().check().unwrap().into());
    assert_eq!(report.hints, ["to see, grant and keep it: piimg grant --recipe 'robot/piimg.toml' 'it'\\''s.wasm'"]);
}

#[test]
fn commands_reach_what_was_requested_and_granted_whole() {
    for (requested, granted, expected) in [
        ("net:https://example.org/**", "net:https://example.org/**", true),
        ("net:https://example.org/**", "net:https://*.example.org/**", false),
        ("net:https://example.org/**", "net:https://example.org/pub/**", false),
        ("net:https://example.org/pub/**", "net:https://example.org/**", false),
    ] {
        let granted = Granted { scopes: scopes_of("--grant", &[granted]).unwrap(), ..Granted::default() };
        let set = set(&[(requested, false)], &granted).unwrap();
        assert_eq!(set.reaches("example.org", 443), expected, "{requested} {granted:?}");
    }
}

#[test]
fn rights_travel_as_they_were_decided() {
    let mut from = grant(&["fs:write:/home/{params.user}/x", "exec:sh -c *"]);
    from.ceiling = policy::ceiling("version = 1\nallow = [\"fs:write:/**\", \"exec\"]\n");
    let requests = [("fs:write:/home/{params.user}/x", false), ("exec:sh -c *", true), ("exec:id", true)];
    let set = set(&requests, &from).unwrap();
    let mut json = serde_json::to_value(&set).unwrap();
    let passed: GrantSet = serde_json::from_value(json.clone()).unwrap();
    assert_eq!((passed.standings(), passed.scopes()), (set.standings(), set.scopes()));
    assert!(passed.allows(&Need::fs_write("/home/ann/x".into())).is_ok());
    assert!(passed.allows(&Need::fs_write("/home/bob/x".into())).is_err());
    json["granted"][0] = "fs:write:home".into();
    let error = serde_json::from_value::<GrantSet>(json).unwrap_err().to_string();
    assert!(error.contains("`fs:write:home` is no capability: the path is not absolute"), "{error}");
}
