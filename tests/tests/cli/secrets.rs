//! Secrets: where they come from, when they are read, and that no message has one in it.

use super::*;

const VALUE: &str = "hunter2-and-more";

/// A command for the plugin, with everything granted.
fn with<'a>(command: &'a str, secrets: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![command, "--plugin", "secrets.wasm", "--grant-requested"];
    secrets.iter().for_each(|secret| args.extend(["--secret", *secret]));
    args
}

#[test]
fn a_secret_that_is_needed_and_not_given_is_known_before_anything_starts() {
    let scratch = with_guests(&["secrets"]);
    let expected = "\
error: secrets that plugins need were not given:
  `token`, for `test/secrets`
  hint: give each: --secret token=SOURCE, or `token = \"SOURCE\"` in `[secrets]` of the recipe
  hint: a source is `file:PATH`, `env:VARIABLE` or `cmd:COMMAND`
";
    for command in ["plan", "build"] {
        // Those that it can do without are not missed.
        assert_eq!(fails(&scratch, USAGE, &with(command, &[])), expected);
        assert_eq!(fails(&scratch, USAGE, &with(command, &["login=env:LOGIN"])), expected);
    }
    // Without the grant it is the grant that is missing.
    contains(
        &fails(&scratch, GRANT, &["plan", "--plugin", "secrets.wasm", "--secret", "token=env:TOKEN"]),
        &["  secret:token  (it says: a secret that must be given)\n", "piimg grant 'secrets.wasm'"],
    );
}

#[test]
fn what_is_no_source_is_refused_and_not_repeated() {
    let scratch = with_guests(&["secrets"]);
    let form = "must be `file:PATH`, `env:VARIABLE` or `cmd:COMMAND`, not the value itself\n";
    for (secret, message) in [
        (format!("token={VALUE}"), format!("error: --secret: the source of `token` {form}")),
        (VALUE.to_owned(), "error: --secret must be NAME=SOURCE, with `file:PATH`, ".to_owned()),
        ("Token=env:X".to_owned(), "error: --secret: `Token` is no name: a secret's name has 1 to 64 ".to_owned()),
        ("database=env:X".to_owned(), "error: no plugin of this build asks for the secret `database`\n".to_owned()),
    ] {
        for command in ["plan", "build"] {
            let stderr = fails(&scratch, USAGE, &with(command, &[&secret, "token=env:TOKEN"]));
            assert!(stderr.starts_with(&message) && !stderr.contains(VALUE), "{secret}: {stderr}");
        }
    }
    for value in [format!("{VALUE:?}"), "42424242".into()] {
        scratch.write("piimg.toml", format!("[secrets]\ntoken = {value}\n"));
        let stderr = fails(&scratch, USAGE, &with("plan", &[]));
        assert_eq!(stderr, format!("error: `[secrets]`: the source of `token` {form}"));
    }
}

#[test]
fn a_secret_that_cannot_be_read_ends_a_build_and_no_plan() {
    let scratch = with_guests(&["secrets"]);
    for (source, message, cause) in [
        ("file:none", "from the file `none`", "No such file or directory (os error 2)"),
        ("env:NOT_SET", "from the variable `NOT_SET`", "it is not set"),
        ("cmd:echo hunter2-and-more; exit 3", "from its command", "it failed with status 3"),
        ("cmd:true", "from its command", "it is empty"),
    ] {
        let secret = format!("token={source}");
        let stderr = fails(&scratch, USAGE, &with("build", &[&secret]));
        assert_eq!(stderr, format!("error: cannot read the secret `token` {message}\n  caused by: {cause}\n"));
        // A plan says it in full.
        let shown = match source.strip_prefix("cmd:") {
            Some(command) => format!("from the command `{command}`"),
            None => message.to_owned(),
        };
        contains(&fine(&scratch, &with("plan", &[&secret])), &[&format!("secret      token, {shown}\n")]);
    }
    // What a command complains about is for the user.
    let ran = scratch.run(with("build", &["token=cmd:echo 'locked' >&2; exit 1"]));
    assert!(ran.code == Some(USAGE) && ran.stderr.starts_with("locked\nerror: cannot read"), "{ran:?}");
}

#[test]
fn a_plan_has_names_and_no_values() {
    let mut scratch = with_guests(&["secrets"]);
    scratch.set("TOKEN", VALUE);
    scratch.write("login", VALUE);
    scratch.write("piimg.toml", "[secrets]\ntoken = \"cmd:exit 1\"\nlogin = \"file:login\"\nunused = \"env:UNUSED\"\n");
    let args = with("plan", &["token=env:TOKEN"]);
    let text = fine(&scratch, &args);
    contains(&text, &["secret      login, from the file `login`\nsecret      token, from the variable `TOKEN`\n"]);
    let mut args = args;
    args.push("--json");
    let document = json(&scratch, &args);
    assert_eq!(document["secrets"], serde_json::json!(["login", "token"]));
    let whole = text + &document.to_string();
    assert!(!whole.contains(VALUE) && !whole.contains("exit 1") && !whole.contains("unused"), "{whole}");
}

#[test]
fn what_a_plugin_can_do_with_secrets_is_audited() {
    let scratch = with_guests(&["secrets", "settings"]);
    // The lines are as long as a terminal is wide.
    let joined = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = joined(fine(&scratch, &["audit", "secrets.wasm"]));
    contains(
        &text,
        &[
            "have piimg use, without reading them, the secrets (secret) token a secret that must be given \
             login, two-lines, not-given the test decides",
            "can have piimg send the secret to any address that each of `net:http://example.org/pub/**`, \
             `net:https://example.org/pub/**` and",
            "each of `ann`, `bob` and `daemon` can log in with a password that the plugin chooses among its secrets",
        ],
    );
    contains(&joined(fine(&scratch, &["audit", "settings.wasm"])), &["use secrets"]);
}
