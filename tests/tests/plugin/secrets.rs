//! Secrets: what is done with them, and that nothing of them comes back. The server is made up.

use std::io::Read as _;

use piimg::plugin::audit_log::Transcript;
use piimg::secret::Secret;

use super::*;

const TOKEN: &str = "t0ken-of-ann";

/// What a run with secrets left behind.
struct Secretly {
    told: Vec<String>,
    audit: String,
    authorized: Vec<(String, String)>,
    requests: Vec<String>,
    root: tempfile::TempDir,
}

fn run(scopes: Option<&[&str]>) -> Secretly {
    let root = image();
    for (name, text) in [
        (
            "passwd",
            "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n",
        ),
        (
            "shadow",
            "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nann:!:0:0:99999:7:::\nbob:!:19000:0:99999:7:::\n",
        ),
    ] {
        std::fs::write(root.path().join("etc").join(name), text).unwrap();
    }
    let granted = match scopes {
        None => all(),
        Some(scopes) => Granted { scopes: scopes_of("--grant", scopes).unwrap(), ..Granted::default() },
    };
    let secret = |name: &str, value: &str| Secret::new(name, value.as_bytes().to_vec().into()).unwrap();
    let given = [secret("token", TOKEN), secret("login", "ann:s3cr3t-word"), secret("two-lines", "one\ntwo")];
    let plugin = look("secrets").unwrap();
    let grants = GrantSet::new(&plugin, &BTreeMap::new(), &granted).unwrap();
    let run = Run {
        plugin: &plugin,
        grants: &grants,
        image: image_info(),
        params: BTreeMap::new(),
        assets: BTreeMap::new(),
        secrets: given.iter().map(|secret| (secret.name(), secret)).collect(),
        limits: Limits::EXECUTE,
    };
    let mut bench = Directory::open(root.path());
    let mut told = Vec::new();
    let mut sink = |_: &str, _, line: &str| told.push(line.to_owned());
    let mut log = tempfile::tempfile().unwrap();
    let transcript = Transcript::new(vec![log.try_clone().unwrap()]);
    execute(&engine(), &run, &mut bench, &mut sink, Some(transcript)).unwrap();
    let mut audit = String::new();
    std::io::Seek::rewind(&mut log).unwrap();
    log.read_to_string(&mut audit).unwrap();
    Secretly { told, audit, authorized: bench.authorized, requests: bench.requests, root }
}

#[test]
fn secrets_are_used_where_both_they_and_the_use_are_granted() {
    let ran = run(None);
    let expected = [
        "password: true",
        "again: false",
        "the same for another: true",
        "root: the name `root` is not a plugin's to change",
        "a service: `daemon` has the number 1: it is no account of a person",
        "nobody: needs user:password:carl",
        "another secret: needs secret:database",
        "any secret: `*` is no secret: a secret's name has 1 to 64 lowercase letters, digits and `-`, and begins with no `-`",
        "two lines: the secret `two-lines` cannot be a password: it must be one line of 1 to 512 bytes",
        "not given: no value was given for the secret `not-given`",
        "shadow: 4",
        "bearer: 6",
        "basic: 6",
        "no login: the secret `token` is no `user:password` of one line",
        "no token: the secret `two-lines` is no bearer token: those are ASCII without white space",
        "another: needs secret:database",
        "near: 6",
        "moved: 6",
        "there and back: 6",
        "away: needs net:https://evil.org/x",
        "echo: cannot download `https://example.org/pub/echo`: it leads to an address with the secret in it",
        "changed: `https://example.org/pub/changed` has another digest, not sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "unencrypted: cannot download `http://example.org/pub/hello`: a secret is sent over https only",
        "checkout: there is no server of git",
        "checkout of everybody's: there is no server of git",
        "elsewhere: needs fs:write:/etc/app/**",
        "by another: needs secret:database",
        "unencrypted: `http://example.org/pub/app.git` is no repository: its address must begin with `https://`",
        "a branch: `main` is no commit: name it by all of its 40 or 64 hexadecimal digits, in lowercase",
    ];
    assert_eq!(ran.told, expected);
    let shadow = std::fs::read_to_string(ran.root.path().join("etc/shadow")).unwrap();
    let field = |line: usize, number: usize| shadow.lines().nth(line).unwrap().split(':').nth(number).unwrap();
    assert!(field(2, 1).starts_with("$6$") && field(3, 1).starts_with("$6$"), "{shadow}");
    assert_ne!(field(2, 1), field(3, 1), "equal passwords of two users must not be seen to be equal");
    // Of the build's fixed day, which also ends the order to change it at the first login.
    assert_eq!((field(2, 2), field(1, 1), field(1, 2)), ("19675", "*", "19000"));
    assert_eq!(run(None).shadow(), shadow, "the same in every build");
}

impl Secretly {
    fn shadow(&self) -> String {
        std::fs::read_to_string(self.root.path().join("etc/shadow")).unwrap()
    }
}

#[test]
fn the_first_host_gets_a_secret_and_no_other() {
    let ran = run(None);
    let expected = [
        ("hello", "Bearer t0ken-of-ann"),
        ("hello", "Basic YW5uOnMzY3IzdC13b3Jk"),
        ("near", "Bearer t0ken-of-ann"),
        ("hello", "Bearer t0ken-of-ann"),
        ("moved", "Bearer t0ken-of-ann"),
        ("there-and-back", "Bearer t0ken-of-ann"),
        ("away", "Bearer t0ken-of-ann"),
        ("echo", "Bearer t0ken-of-ann"),
        ("changed", "Bearer t0ken-of-ann"),
    ];
    let mut expected =
        Vec::from(expected.map(|(path, header)| (format!("https://example.org/pub/{path}"), header.to_owned())));
    let checkout = "https://example.org/pub/app.git/git-upload-pack".to_owned();
    expected.push((checkout.clone(), "Basic YW5uOnQwa2VuLW9mLWFubg==".into()));
    assert_eq!(ran.authorized, expected);
    // Asked for once with the secret and once without.
    assert_eq!(ran.requests.iter().filter(|url| **url == checkout).count(), 2);
    // It came back to the first host without it.
    let back = ran.requests.iter().position(|url| url.ends_with("/back")).unwrap();
    assert_eq!(ran.requests[back + 1], "https://example.org/pub/hello");
}

#[test]
fn nothing_of_a_secret_is_told_or_logged() {
    let ran = run(None);
    assert!(
        ran.audit.contains(r#""call":"users.set-password-from","args":{"secret":"token","user":"ann"}"#),
        "{}",
        ran.audit
    );
    assert!(
        ran.audit.contains(r#"{"allowed":true,"scope":"secret:token"}"#)
            || ran.audit.contains(r#"{"scope":"secret:token","allowed":true}"#),
        "{}",
        ran.audit
    );
    assert!(ran.audit.contains("net.fetch-authorized"), "{}", ran.audit);
    for value in [TOKEN, "s3cr3t-word", "one\\ntwo", "YW5uOnMzY3IzdC13b3Jk", "YW5uOnQwa2VuLW9mLWFubg"] {
        assert!(!ran.audit.contains(value), "{value} is in {}", ran.audit);
        assert!(!ran.told.iter().any(|line| line.contains(value)), "{value} was told: {:?}", ran.told);
    }
}

#[test]
fn each_use_needs_both_grants() {
    let uses = ["user:password:ann", "user:password:bob", "net:https://example.org/pub/**"];
    for (granted, needed) in [
        (&["secret:token", "secret:login"][..], ["needs user:password:ann", "needs net:https://example.org/pub/hello"]),
        (&uses[..], ["needs secret:token", "needs secret:token"]),
        (&["secret:login", uses[0], uses[1], uses[2]], ["needs secret:token", "needs secret:token"]),
        (&[], ["needs user:password:ann", "needs secret:token"]),
    ] {
        let ran = run(Some(granted));
        let calls =
            ["password", "bearer"].map(|call| ran.told.iter().find(|line| line.starts_with(&format!("{call}: "))));
        let expected = [format!("password: {}", needed[0]), format!("bearer: {}", needed[1])];
        assert_eq!(calls.map(|it| it.unwrap().as_str()), [expected[0].as_str(), &expected[1]], "{granted:?}");
        assert!(ran.shadow().contains("\nann:!:0:"), "{granted:?}");
        assert!(!ran.authorized.iter().any(|(_, header)| header.contains(TOKEN)), "{granted:?}");
    }
}
