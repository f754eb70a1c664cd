//! What was requested, what was granted, and ways around it.

use super::*;

#[test]
fn missing_grants_are_known_before_anything_runs() {
    let plugin = look("minimal").unwrap();
    let grants = GrantSet::new(&plugin, &BTreeMap::new(), &Granted::default()).unwrap();
    let failure = grants.check().expect("nothing is granted by default");
    let report = report(&failure.into());
    assert_eq!(report.kind, Kind::Grant);
    for scope in ["pkg:install:htop", "fs:write:/etc/piimg-minimal", "exec:htop --version"] {
        assert!(report.messages[0].contains(scope), "{report:?}");
    }
    let command = format!("to see, grant and keep it: piimg grant '{}'", guest("minimal").display());
    assert_eq!(report.hints, [command]);
}

#[test]
fn a_call_without_grant_is_refused_and_says_what_was_needed() {
    let granted = Granted {
        scopes: scopes_of("--grant", &["fs:write:/etc/allowed", "fs:read:/**", "exec:sh **"]).unwrap(),
        ..Granted::default()
    };
    let ran = run("denied", &granted, Limits::EXECUTE);
    assert_eq!(
        ran.log,
        [
            "test/denied: optional granted: false",
            "test/denied: needed: fs:read:/etc/allowed",
            "test/denied: needed: fs:write:/etc/allowed2",
            // It may write the file at the one end, and not read it: at the other end it might.
            "test/denied: needed: fs:read:/etc/allowed",
            // Nor does the file stand for a tree.
            "test/denied: needed: fs:write:/etc/allowed/**",
            "test/denied: needed: exec:sh -c *",
            "test/denied: needed: pkg:install:nano",
        ]
    );
    let report = ran.failure(Kind::Grant);
    assert_eq!(report.messages, ["the plugin `test/denied` failed", "`fs:write:/etc/passwd` was not requested"]);
    assert_eq!(report.hints, ["it is for the author of `test/denied` to request it in conf()"]);
    assert_eq!(ran.read("etc/allowed").as_deref(), Some("fine\n"));
    assert_eq!((ran.read("etc/allowed2"), ran.read("etc/elsewhere"), ran.commands.len()), (None, None, 0));
    assert_eq!(ran.read("etc/passwd").as_deref(), Some("root:x:0:0:root:/root:/bin/bash\n"));
}

/// Whatever a call reads, writes or runs on the way is asked for, too.
#[test]
fn a_file_that_is_taken_along_and_a_variable_are_asked_for() {
    let root = image();
    std::fs::create_dir_all(root.path().join("etc/blind/dir")).unwrap();
    let ran = run_in(root, "judged", &all(), Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    let told: Vec<&str> = ran.log.iter().map(|line| line.trim_start_matches("test/judged: ")).collect();
    let mut expected = vec![
        "rename /etc/shadow: needs fs:read:/etc/shadow".to_owned(),
        "rename /etc/blind/dir: needs fs:read:/etc/blind/dir".into(),
        "rename /opt/judged/tree/leaf: needs fs:write:/etc/elsewhere".into(),
        "rename /opt/judged/tree: done".into(),
        "tar: done".into(),
        "loudly: done".into(),
        "twice: cannot run `tar`: the variable `LANG` is set twice".into(),
    ];
    let variables = [
        "APT_CONFIG",
        "BASH_ENV",
        "GIT_SSH_COMMAND",
        "HOME",
        "LD_PRELOAD",
        "MAKEFLAGS",
        "PATH",
        "PERL5DB",
        "PYTHONPATH",
        "TAR_OPTIONS",
        "TZ",
        "UNHEARD_OF",
    ];
    expected.extend(variables.map(|name| format!("{name}: needs exec:{name}=/opt/x tar x")));
    expected.extend(["greeting: done".to_owned(), "no greeting: needs exec:hello".into()]);
    assert_eq!(told, expected);
    let ran_commands: Vec<_> =
        ran.commands.iter().map(|command| (command.program.as_str(), command.env.len())).collect();
    assert_eq!(ran_commands, [("tar", 2), ("tar", 1), ("hello", 1)]);
    assert_eq!(ran.read("etc/shadow").as_deref(), Some("root:secret\n"));
    assert_eq!((ran.read("opt/judged/loot"), ran.read("etc/elsewhere")), (None, None));
    assert_eq!(ran.read("etc/blind/tree/leaf").as_deref(), Some("green\n"));
    let uses = &ran.result.as_ref().unwrap().uses;
    assert!(
        uses.contains_key("fs:read:/opt/judged/tree/**") && uses.contains_key("fs:write:/etc/blind/tree/**"),
        "{uses:?}"
    );
}

/// A variable is granted like the rest of a command: with its value, by whoever grants the command.
#[test]
fn a_variable_that_was_requested_must_be_granted_too() {
    let granted = Granted {
        scopes: scopes_of("--grant", &["exec:tar x", "fs:write:/**", "fs:read:/**"]).unwrap(),
        ..Granted::default()
    };
    let ran = run("judged", &granted, Limits::EXECUTE);
    let line = "test/judged: loudly: needs exec:TAR_OPTIONS=--verbose tar x";
    assert!(ran.log.iter().any(|told| told == line), "{:?}", ran.log);
}

#[test]
fn a_request_that_was_not_granted_says_how_to_grant_it() {
    let ran = run("denied", &Granted::default(), Limits::EXECUTE);
    let report = ran.failure(Kind::Grant);
    assert_eq!(report.messages[1], "`fs:write:/etc/allowed` was requested, but not granted");
    assert_eq!(report.hints, ["to allow it: --grant 'fs:write:/etc/allowed'"]);
    assert_eq!(ran.read("etc/allowed"), None);
}

#[test]
fn a_link_in_its_own_directory_is_no_way_out() {
    let ran = run("escapes", &all(), Limits::EXECUTE);
    for path in ["/opt/own/link", "/opt/own/dir/shadow", "/opt/own/../../etc/shadow"] {
        for need in ["fs:write:/etc/shadow", "fs:read:/etc/shadow", "fs:write:/etc/shadow/**"] {
            let line = format!("test/escapes: {path}: ErrorCode::Denied {need}");
            assert!(ran.log.contains(&line), "{line} is not in {:?}", ran.log);
        }
    }
    let message = &ran.failure(Kind::Grant).messages[1];
    // The last call is a rename, which reads what it takes away.
    assert_eq!(message, "`fs:read:/etc/shadow` was not requested");
    assert_eq!(ran.read("etc/shadow").as_deref(), Some("root:secret\n"));
    assert_eq!((ran.read("etc/none"), ran.read("opt/own/loot")), (None, None));
}

#[test]
fn a_parameter_decides_whose_home_is_written_to() {
    let plugin = look("asks").unwrap();
    for (user, granted, lines) in [
        ("ann", all(), ["exec:id: true", "fs:write:/home/{params.user}/.asks: true"]),
        (
            "bob",
            Granted {
                scopes: scopes_of("--grant", &["fs:write:/etc/asks", "fs:write:/home/{params.user}/.asks"]).unwrap(),
                ..Granted::default()
            },
            ["exec:id: false", "fs:write:/home/{params.user}/.asks: true"],
        ),
    ] {
        let root = image();
        for name in ["ann", "bob", "other"] {
            std::fs::create_dir_all(root.path().join("home").join(name)).unwrap();
        }
        let ran = run_plugin(root, &plugin, &granted, &[("user", user)], Limits::EXECUTE);
        let report = ran.result.as_ref().unwrap();
        let mut expected: Vec<String> = lines.iter().map(|line| format!("test/asks: {line}")).collect();
        expected.push("test/asks: fs:write:/home/{params.nobody}/.asks: false".into());
        expected.push("test/asks: needed: fs:write:/home/other/.asks".into());
        assert_eq!(ran.log, expected);
        for name in ["ann", "bob", "other"] {
            assert_eq!(ran.read(&format!("home/{name}/.asks")).is_some(), name == user, "{user} {name}");
        }
        assert!(report.uses.contains_key(&format!("fs:write:/home/{user}/.asks")), "{report:?}");
    }
}

#[test]
fn links_above_and_second_names_are_no_way_to_a_file() {
    for (user, prepare, expected) in [
        // The user's home is a link: what counts is where it leads.
        ("ann", "link", Some("fs:write:/etc/.asks")),
        ("ann", "link-inside", Some("fs:write:/srv/ann/.asks")),
        // A second name of another file: that keeps its content, for a write makes a new file.
        ("ann", "hard", None),
        ("ann", "plain", None),
    ] {
        let root = image();
        let home = root.path().join("home");
        std::fs::create_dir_all(home.join("other")).unwrap();
        std::fs::create_dir_all(root.path().join("srv/ann")).unwrap();
        match prepare {
            "link" => std::os::unix::fs::symlink("/etc", home.join(user)).unwrap(),
            "link-inside" => std::os::unix::fs::symlink("../srv/ann", home.join(user)).unwrap(),
            _ => std::fs::create_dir(home.join(user)).unwrap(),
        }
        if prepare == "hard" {
            std::fs::hard_link(root.path().join("etc/shadow"), home.join(user).join(".asks")).unwrap();
        }
        let ran = run_plugin(root, &look("asks").unwrap(), &all(), &[("user", user)], Limits::EXECUTE);
        assert_eq!(ran.read("etc/shadow").as_deref(), Some("root:secret\n"), "{prepare}");
        match expected {
            Some(needed) => {
                let message = &ran.failure(Kind::Grant).messages[1];
                assert_eq!(message, &format!("`{needed}` was not requested"), "{prepare}");
                assert_eq!((ran.read("etc/.asks"), ran.read("srv/ann/.asks")), (None, None), "{prepare}");
            }
            None => assert_eq!(ran.read("home/ann/.asks").as_deref(), Some("a note\n"), "{prepare}"),
        }
    }
}
