//! `piimg cache` where there is nothing yet, and how much a store may have.

use super::*;

#[test]
fn where_nothing_was_built_there_is_nothing() {
    let scratch = Scratch::new();
    for (args, stdout) in [
        (&["list"][..], "0 B  in all\n"),
        (&["gc", "--all", "--store-limit", "none"], "0 B freed; 0 B left\n"),
        (&["verify"], "0 things compared, 0 damaged\n"),
    ] {
        let ran = scratch.run([&["cache"], args, &["--store", "none"]].concat());
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (Some(0), "there is no store in `none`: nothing was built yet\n"),
            "{args:?}"
        );
        assert!(ran.stdout.ends_with(stdout), "{args:?}: {}", ran.stdout);
    }
    let ran = scratch.run(["cache", "size", "--json", "--store-limit", "3G", "--store", "none"]);
    let size: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&size["size"], &size["limit"]), (&0.into(), &(3_u64 << 30).into()), "{size}");
}

#[test]
fn a_store_where_no_program_runs_is_refused() {
    let scratch = Scratch::new();
    let run = |options: &str| {
        let script = format!("set -e; mkdir -p store; mount -t tmpfs -o mode=755,{options} own store; exec \"$@\"");
        let mut command = scratch.command("/usr/bin/unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", &script, "sh"])
            .arg(piimg_tests::piimg());
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", scratch.path("../bin").display()));
        scratch.taken(&command.args(["cache", "size", "--store", "store"]).output().unwrap()).stderr
    };
    let refusal = "its file system is mounted `noexec`, and programs of the image run from it";
    contains(&run("noexec"), &["cannot use `store` as the store", refusal, "choose another place with --store"]);
    assert!(!run("nodev,nosuid").contains("mounted"), "{}", run("nodev,nosuid"));
}

#[test]
fn a_limit_is_the_users_word() {
    let scratch = Scratch::new();
    contains(&fails(&scratch, USAGE, &["plan", "--store-limit", "20"]), &["must be a size such as `20G`"]);
    // A recipe says nothing of this machine.
    scratch.write("piimg.toml", "[store]\nlimit = \"20G\"\n");
    contains(&fails(&scratch, USAGE, &["plan"]), &["[store]\n", "invalid type: map, expected path string"]);
    std::fs::create_dir_all(scratch.path("../home/.config/piimg")).unwrap();
    let config = |text: &str| std::fs::write(scratch.path("../home/.config/piimg/config.toml"), text).unwrap();
    let limit = || {
        let ran = scratch.run(["cache", "size", "--json"]);
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["limit"].clone()
    };
    config("[store]\nlimit = \"5 GiB\"\n");
    assert_eq!(limit(), 5_u64 << 30);
    config("[store]\nlimit = \"none\"\n");
    assert_eq!(limit(), Value::Null);
    config("[store]\nlimit = \"much\"\n");
    let stderr = fails(&scratch, USAGE, &["cache", "size"]);
    contains(&stderr, &["cannot use `$DIR/home/.config/piimg/config.toml`", "`much` must be a size such as `20G`"]);
}
