use super::*;

#[test]
fn nobody_is_logged_in_unless_named() {
    let text = gdm_settings("", true);
    assert!(text.ends_with("\n[daemon]\nWaylandEnable=true\n"), "{text}");
    let text = gdm_settings("ann", false);
    assert!(
        text.ends_with("\n[daemon]\nWaylandEnable=false\nAutomaticLoginEnable=true\nAutomaticLogin=ann\n"),
        "{text}"
    );
}

#[test]
fn who_is_logged_in_is_a_user_of_the_image() {
    let accounts = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\n";
    assert_eq!(check_user("ann", accounts), Ok(()));
    for (user, expected) in [
        (
            "an",
            "the image has no user `an` to log in: make it with `[user]` of the recipe, or a plugin before this one",
        ),
        ("root", "`root` cannot be logged in by itself: gdm3 refuses it"),
        ("ann\nx", "`ann\\nx` is no name of a user: lowercase letters, digits, `-` and `_`"),
    ] {
        assert_eq!(check_user(user, accounts).unwrap_err(), expected);
    }
}

#[test]
fn the_profile_keeps_what_is_in_it() {
    assert_eq!(profile(None).as_deref(), Some("user-db:user\nsystem-db:piimg-desktop\n"));
    let old = "user-db:user\nsystem-db:site\n";
    let new = profile(Some(old)).unwrap();
    assert_eq!(new, format!("{old}system-db:piimg-desktop\n"));
    assert_eq!(profile(Some(&new)), None);
}

#[test]
fn it_asks_for_exactly_what_it_writes_runs_and_masks() {
    let scopes: Vec<String> = Desktop::conf().capabilities().into_iter().map(|capability| capability.scope).collect();
    let of = |kind: &str| scopes.iter().filter_map(|scope| scope.strip_prefix(kind)).collect::<Vec<_>>();
    assert_eq!(of("fs:write:"), [GDM, GDM_UBUNTU, SETTINGS_DIRECTORY, SETTINGS, DATABASE, PROFILES, PROFILE]);
    assert_eq!(of("exec:"), [format!("dconf compile {DATABASE} {SETTINGS_DIRECTORY}")]);
    assert_eq!(of("svc:mask:"), SLEEP);
}
