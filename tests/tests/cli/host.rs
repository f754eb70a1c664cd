//! What a recipe that comes with a clone can make of the host: nothing but what lies in its own directory, unless the user
//! says so. Each attack looks at the host afterwards.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use piimg_tests::host::Canary;

use super::*;

/// A clone with a plugin that uses a secret, and a lock that grants all of it.
fn clone(recipe: &str) -> Scratch {
    let scratch = with_guests(&["secrets"]);
    scratch.write("piimg.toml", format!("plugins = [\"secrets.wasm\"]\n{recipe}"));
    scratch
}

/// What every refusal says.
const REFUSED: &str = "error: the recipe in `$DIR/work` wants to use what is not its own:\n";

#[test]
fn a_command_of_a_recipe_is_not_run() {
    let scratch = clone("[secrets]\ntoken = \"cmd:touch owned; echo token-of-many-bytes\"\n");
    let digest = digest(&scratch, "secrets.wasm");
    let inspected = json(&scratch, &["inspect", "secrets.wasm", "--json"]);
    let scopes: Vec<&str> =
        inspected["requests"].as_array().unwrap().iter().map(|request| request["scope"].as_str().unwrap()).collect();
    scratch.write("piimg.lock", lock("test/secrets", &digest, &scopes));
    for args in
        [&["plan"][..], &["build"], &["plan", "--locked"], &["build", "--locked"], &["build", "--grant-requested"]]
    {
        let stderr = fails(&scratch, GRANT, args);
        assert!(stderr.starts_with(REFUSED), "{stderr}");
        contains(
            &stderr,
            &[
                "\n  runs the command `touch owned; echo token-of-many-bytes`, for the secret `token`\n",
                "add to `$DIR/home/.config/piimg/config.toml`:\n",
                "[[recipe]]\n",
                "directory = \"$DIR/work\"\n",
                "commands = [\"touch owned; echo token-of-many-bytes\"]\n",
                "hint: or agree for this time, at a terminal: --trust-recipe\n",
            ],
        );
        // Nobody is there to answer, and that is no yes.
        assert_eq!(fails(&scratch, GRANT, &[args, &["--trust-recipe"]].concat()), stderr);
    }
    assert!(!scratch.path("owned").exists());
}

#[test]
fn a_plan_shows_what_would_be_run_and_read() {
    let mut scratch = clone("[secrets]\nlogin = \"env:PIIMG_SECRET_LOGIN\"\n[assets]\nlogo = \"logo.png\"\n");
    scratch.guest("wants-asset");
    scratch.write("logo.png", "x");
    scratch.set("PIIMG_SECRET_LOGIN", "value-of-it");
    let plugin = ["plan", "--plugin", "wants-asset.wasm"];
    let args = [&plugin[..], &["--grant-requested", "--secret", "token=cmd:pass show\u{202e} 'a'"]].concat();
    contains(
        &fine(&scratch, &args),
        &[
            "file        secrets.wasm, for the plugin test/secrets\n",
            "asset       logo, from logo.png\n",
            "secret      login, from the variable `PIIMG_SECRET_LOGIN`\n",
            "secret      token, from the command `pass show\\u{202e} 'a'`\n",
        ],
    );
    let document = json(&scratch, &[&args[..], &["--json"]].concat());
    let uses = document["host"].as_array().unwrap();
    let found = |purpose: &str| uses.iter().find(|one| one["for"] == purpose).unwrap().clone();
    assert_eq!(found("secret token")["command"], "pass show\u{202e} 'a'");
    assert_eq!(found("secret login")["variable"], "PIIMG_SECRET_LOGIN");
    assert_eq!(found("asset logo")["path"], "logo.png");
    assert_eq!(found("output")["path"], ".");
    assert!(!document.to_string().contains("value-of-it"));
}

#[test]
fn the_users_own_configuration_allows_just_what_it_says() {
    let scratch = clone("[secrets]\ntoken = \"cmd:true\"\nlogin = \"env:LOGIN\"\n[assets]\nlogo = \"/etc/hostname\"\n");
    scratch.guest("wants-asset");
    std::fs::create_dir_all(scratch.path("../home/.config/piimg")).unwrap();
    let config = scratch.path("../home/.config/piimg/config.toml");
    let work = scratch.path("").canonicalize().unwrap();
    let args = ["plan", "--grant-requested", "--plugin", "wants-asset.wasm"];
    let entry = |more: &str| format!("[[recipe]]\ndirectory = {work:?}\n{more}");
    let mode = |mode| std::fs::set_permissions(&config, std::fs::Permissions::from_mode(mode)).unwrap();
    let allow = |text: String| {
        std::fs::write(&config, text).unwrap();
        mode(0o644);
    };

    allow(entry("paths = [\"/etc\"]\ncommands = [\"true\"]\nvariables = [\"LOGIN\"]\n"));
    contains(&fine(&scratch, &args), &["asset       logo, from /etc/hostname\n", "from the command `true`\n"]);
    allow(entry("commands = [\"true\"]\nvariables = [\"LOGIN\"]\n"));
    let stderr = fails(&scratch, GRANT, &args);
    assert!(
        stderr.starts_with(&format!("{REFUSED}  reads `/etc/hostname`, as the asset `logo`\n  hint: ")),
        "{stderr}"
    );
    allow(entry("paths = [\"/etc/hostname\"]\ncommands = [\"true \"]\nvariables = [\"LOGIN\"]\n"));
    contains(&fails(&scratch, GRANT, &args), &["  runs the command `true`, for the secret `token`\n"]);
    allow(entry("paths = [\"/etc/hostname\"]\ncommands = [\"true\"]\n"));
    contains(&fails(&scratch, GRANT, &args), &["  reads the variable `LOGIN`, for the secret `login`\n"]);
    // That of another directory is another recipe's.
    allow(
        "[[recipe]]\ndirectory = \"/etc\"\npaths = [\"/etc\"]\ncommands = [\"true\"]\nvariables = [\"LOGIN\"]\n".into(),
    );
    contains(
        &fails(&scratch, GRANT, &args),
        &["reads `/etc/hostname`", "runs the command", "reads the variable `LOGIN`"],
    );
    allow(entry("command = [\"true\"]\n"));
    contains(
        &fails(&scratch, USAGE, &args),
        &["error: cannot use `$DIR/home/.config/piimg/config.toml`\n", "unknown field"],
    );
    allow(entry("commands = [\"true\"]\n"));
    mode(0o666);
    contains(&fails(&scratch, USAGE, &args), &["caused by: others can write to it; remove it\n"]);
}

#[test]
fn nothing_outside_the_clone_is_read_or_written() {
    let scratch = with_guests(&["minimal"]);
    let canaries = Canary::new(&scratch.path("../home"), &["id_rsa", "minimal.wasm"]);
    symlink("../home", scratch.path("out")).unwrap();
    symlink("../home/none", scratch.path("nothing")).unwrap();
    for (recipe, wish) in [
        (
            "plugins = [\"../home/minimal.wasm\"]",
            "reads `$DIR/home/minimal.wasm`, as a plugin, by the name `../home/minimal.wasm`",
        ),
        (
            "plugins = [\"out/minimal.wasm\"]",
            "reads `$DIR/home/minimal.wasm`, as a plugin, by the name `out/minimal.wasm`",
        ),
        ("base = \"/dev/sda\"", "reads `/dev/sda`, as the base"),
        ("imagedir = \"/etc/cron.d\"", "writes to `/etc/cron.d`, as the directory of images"),
        ("imagedir = \"out/images\"", "writes to `$DIR/home/images`, as the directory of images"),
        ("imagedir = \"nothing\"", "writes to `$DIR/home/none`, as the directory of images"),
        ("store = \"../home\"", "writes to `$DIR/home`, as the store"),
        ("rootfs = \"/var/cache/piimg\"", "writes to `/var/cache/piimg`, as the store"),
        ("[assets]\na = \"out/id_rsa\"", "reads `$DIR/home/id_rsa`, as the asset `a`"),
        ("[assets]\na = \"/proc/self/environ\"", "/environ`, as the asset `a`"),
        ("[keyrings]\ndebian = \"../home/id_rsa\"", "reads `$DIR/home/id_rsa`, as the key ring `debian`"),
        (
            "[[repository]]\nname = \"r\"\nurl = \"http://h/\"\nsuite = \"s\"\ncomponents = [\"main\"]\nkeyring = \"out/id_rsa\"",
            "reads `$DIR/home/id_rsa`, as the key ring `r`",
        ),
    ] {
        scratch.write("piimg.toml", recipe);
        for command in ["plan", "build"] {
            let stderr = fails(&scratch, GRANT, &[command, "--grant-requested"]);
            assert!(stderr.starts_with(REFUSED), "{recipe}: {stderr}");
            contains(&stderr, &[wish]);
        }
    }
    scratch.write("piimg.toml", "plugins = [\"out/minimal.wasm\"]");
    contains(&fails(&scratch, GRANT, &["grant"]), &[REFUSED, "as a plugin, by the name"]);
    canaries.assert_well();
}

#[test]
fn a_recipe_or_lock_that_is_a_link_out_is_not_read() {
    let scratch = with_guests(&["minimal"]);
    let canaries = Canary::new(&scratch.path("../home"), &["shadow"]);
    symlink("../home/shadow", scratch.path("piimg.toml")).unwrap();
    for args in [&["plan"][..], &["plan", "--recipe", "piimg.toml"], &["grant", "minimal.wasm", "--yes"]] {
        let stderr = fails(&scratch, USAGE, args);
        let expected = "error: cannot read `piimg.toml`\n  hint: it is a link that leads out of its directory: name the file itself with --recipe\n";
        assert_eq!(stderr, expected);
    }
    std::fs::remove_file(scratch.path("piimg.toml")).unwrap();
    for target in ["../home/shadow", "../home/new"] {
        symlink(target, scratch.path("piimg.lock")).unwrap();
        for args in [&["plan"][..], &["build"], &["grant", "minimal.wasm", "--yes"], &["plan", "--locked"]] {
            let stderr = fails(&scratch, USAGE, args);
            let expected =
                "error: cannot read `piimg.lock`\n  caused by: it is a symbolic link, which leads somewhere else\n";
            assert_eq!(stderr, expected, "{target}");
        }
        std::fs::remove_file(scratch.path("piimg.lock")).unwrap();
    }
    assert!(!scratch.path("../home/new").exists());
    canaries.assert_well();
}

#[test]
fn events_are_not_written_through_a_link() {
    let scratch = Scratch::new();
    let canaries = Canary::new(&scratch.path("../home"), &["bashrc"]);
    symlink("../home/bashrc", scratch.path("events")).unwrap();
    let ran = scratch.run_to_write(["build", "--json-events", "events", "--release", "none"]);
    assert_eq!(ran.code, Some(USAGE), "{ran:?}");
    assert!(!scratch.path("events").is_symlink());
    canaries.assert_well();
}

#[test]
fn a_directory_that_is_no_store_is_not_touched() {
    let scratch = Scratch::new();
    let home = scratch.path("../home/ann");
    std::fs::create_dir(&home).unwrap();
    let canaries = Canary::new(&home, &["thesis"]);
    let mode = || home.metadata().unwrap().permissions().mode() & 0o7777;
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o750)).unwrap();
    let ran = scratch.run(["build", "--store", "../home/ann", "--offline"]);
    // A machine that cannot build says that first.
    let is_refused = ran.stderr.starts_with("error: cannot use `../home/ann` as the store\n  caused by: it is no store and not empty: `thesis` is in it\n  hint: choose another place with --store\n");
    assert!(ran.code == Some(HOST) && is_refused, "{ran:?}");
    assert_eq!(mode(), 0o750);
    canaries.assert_well();
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
}

#[test]
fn a_store_that_came_with_the_clone_is_not_believed() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "store = \"store\"\n");
    std::fs::create_dir_all(scratch.path("store/data/layers")).unwrap();
    for (ids, flags, cause) in [
        (524_288, &[][..], "only the recipe names it, and it is not known to be made by you on this machine"),
        (0, &[], "its ids, from 0 on, are this machine's own"),
        (0, &["--store", "store"], "its ids, from 0 on, are this machine's own"),
    ] {
        let description = serde_json::json!({ "format": 2, "ids": { "uid_base": ids, "gid_base": ids } });
        scratch.write("store/store.json", description.to_string());
        let ran = scratch.run([&["build", "--offline"][..], flags].concat());
        let expected = format!("error: cannot use `store` as the store\n  caused by: {cause}\n");
        assert!(ran.code == Some(HOST) && ran.stderr.starts_with(&expected), "{ran:?}");
    }
}
