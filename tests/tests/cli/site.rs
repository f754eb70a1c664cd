//! `/etc/piimg/policy.toml` itself, for the program as it is: in a private mount namespace, where `/etc` is the test's own.
//! Root is whoever runs the tests; a file of somebody else is one whose owner has no number there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use piimg_tests::Ran;

use super::*;

/// A host whose `/etc/piimg` is a copy of a directory of the test's.
struct Site {
    scratch: Scratch,
}

impl Site {
    /// With `asks.wasm`, to which all is granted that it asks for, and the policy.
    fn with(policy: &str) -> Self {
        let scratch = with_guests(&["asks"]);
        let site = Self { scratch };
        fs::create_dir(site.scratch.path("etc")).unwrap();
        site.set_mode("etc", 0o755);
        site.write(policy);
        site
    }

    fn write(&self, policy: &str) {
        self.scratch.write("etc/policy.toml", policy);
        self.set_mode("etc/policy.toml", 0o644);
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.scratch.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs the program where `/etc/piimg` is that copy, after `prepare` has changed what is there.
    fn run_after(&self, prepare: &str, args: &[&str]) -> Ran {
        // An `/etc` with nothing else in it will do.
        let script =
            format!("set -e; mount -t tmpfs -o mode=755 site /etc; cp -a etc /etc/piimg; {prepare}\nexec \"$@\"");
        let mut command = self.scratch.command("/usr/bin/unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", &script, "sh"])
            .arg(piimg_tests::piimg());
        // The tools of the host, and those that stand for others.
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.scratch.path("../bin").display()));
        let ran = self.scratch.taken(&command.args(args).output().unwrap());
        assert!(
            !ran.stderr.contains("unshare: ") && !ran.stderr.contains("mount: "),
            "the test needs a user namespace of its own; allow them to ordinary users, or run the tests as root: {ran:?}"
        );
        ran
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_after("", args)
    }

    /// A file of somebody who is not who runs the tests, and who has no number in the namespace: an ordinary user's if that
    /// is root, and root's otherwise.
    fn of_a_stranger(&self, mode: u32) -> PathBuf {
        if !nix::unistd::geteuid().is_root() {
            return if mode & 0o004 == 0 { "/etc/shadow".into() } else { "/etc/passwd".into() };
        }
        let path = self.scratch.path("stranger");
        fs::write(&path, "version = 1\nallow = []\n").unwrap();
        std::os::unix::fs::chown(&path, Some(1000), Some(1000)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The program refuses to do anything under such a policy.
    #[track_caller]
    fn refuses(&self, prepare: &str, code: i32, message: &str) {
        for args in [&PLAN[..], &["build", "--plugin", "asks.wasm"], &["grant", "--yes", "asks.wasm"]] {
            let ran = self.run_after(prepare, args);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{args:?}: {}", ran.stderr);
            assert!(ran.stderr.starts_with(&format!("error: {message}")), "{args:?}: {}", ran.stderr);
        }
    }
}

const PLAN: [&str; 4] = ["plan", "--grant-requested", "--plugin", "asks.wasm"];

#[test]
fn what_the_site_does_not_allow_is_refused_whatever_is_granted() {
    let site = Site::with("version = 1\nallow = [\"fs:write:/etc/**\", \"exec\"]\n");
    let expected = "\
error: the plugin `test/asks` needs capabilities that are not allowed here:
  fs:write:/home/{params.user}/.asks → fs:write:/home/ubuntu/.asks  [not in `/etc/piimg/policy.toml`]  (it says: a note for the user)
  hint: only a change of `/etc/piimg/policy.toml` could allow it
";
    for more in [&["--grant", "fs:write:/**"][..], &[]] {
        let ran = site.run(&[&PLAN[..], more].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(GRANT), expected));
    }
    // Another policy cannot raise what the site's says.
    site.scratch.write("more.toml", "version = 1\nallow = [\"fs:write\", \"exec\"]\n");
    let ran = site.run(&[&PLAN[..], &["--policy", "more.toml"]].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(GRANT), expected));
}

#[test]
fn what_the_site_allows_is_planned_and_another_policy_narrows_it() {
    let site = Site::with("version = 1\nallow = [\"fs:write\", \"exec\"]\n");
    let ran = site.run(&PLAN);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    contains(&ran.stdout, &["test/asks"]);
    site.scratch.write("less.toml", "version = 1\nallow = [\"exec\"]\n");
    let ran = site.run(&[&PLAN[..], &["--policy", "less.toml"]].concat());
    assert_eq!(ran.code, Some(GRANT), "{ran:?}");
    contains(&ran.stderr, &["[not in `less.toml`]"]);
    assert!(!ran.stderr.contains("/etc/piimg"), "{}", ran.stderr);
}

#[test]
fn a_host_without_the_file_has_no_ceiling() {
    let site = Site::with("");
    for prepare in ["rm /etc/piimg/policy.toml", "rm -r /etc/piimg"] {
        site.write("nonsense");
        let ran = site.run_after(prepare, &PLAN);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{prepare}");
    }
}

#[test]
fn a_policy_with_a_mistake_is_named_with_its_line() {
    let cannot_use = "cannot use `/etc/piimg/policy.toml`\n  caused by: TOML parse error at line ";
    for (policy, line) in [
        ("nonsense\n", "1"),
        ("version = 1\nallow = [\"fs:write:etc\"]\n", "2"),
        ("version = 1\nallow = []\ndeny = []\n", "3"),
    ] {
        Site::with(policy).refuses("", USAGE, &format!("{cannot_use}{line}, "));
    }
}

#[test]
fn a_policy_that_cannot_be_read_stops_everything() {
    let site = Site::with("version = 1\nallow = []\n");
    let cannot_read = "cannot read the site's policy `/etc/piimg/policy.toml`\n";
    // Of a user who has no number in the namespace, and whose files its root therefore cannot read.
    let stranger = site.of_a_stranger(0o600);
    let over = format!("mount --bind {} /etc/piimg/policy.toml", stranger.display());
    site.refuses(&over, HOST, &format!("{cannot_read}  caused by: Permission denied"));
    site.refuses(
        "mv /etc/piimg/policy.toml /etc/site.toml; ln -s /etc/site.toml /etc/piimg/policy.toml",
        HOST,
        &format!("{cannot_read}  hint: replace the symbolic link"),
    );
}

#[test]
fn a_policy_that_others_can_change_is_not_trusted() {
    let site = Site::with("version = 1\nallow = [\"fs:write\", \"exec\"]\n");
    let by_others = |name: &str| {
        format!(
            "the site's policy cannot be trusted: `{name}` can be written to by others than root\n  hint: as root: chown"
        )
    };
    for mode in [0o664, 0o646, 0o666] {
        site.set_mode("etc/policy.toml", mode);
        site.refuses("", HOST, &by_others("/etc/piimg/policy.toml"));
        site.set_mode("etc/policy.toml", 0o644);
    }
    site.set_mode("etc", 0o777);
    site.refuses("", HOST, &by_others("/etc/piimg"));
    // That there is none says nothing, where everybody could have removed it.
    site.refuses("rm /etc/piimg/policy.toml", HOST, &by_others("/etc/piimg"));
    site.write("");
    site.set_mode("etc", 0o755);
    let stranger = site.of_a_stranger(0o644);
    let over = format!("mount --bind {} /etc/piimg/policy.toml", stranger.display());
    let foreign =
        "the site's policy cannot be trusted: `/etc/piimg/policy.toml` belongs to the user 65534, not to root";
    site.refuses(&over, HOST, foreign);
    site.refuses(
        "rm /etc/piimg/policy.toml; mkdir /etc/piimg/policy.toml",
        HOST,
        "the site's policy cannot be trusted: `/etc/piimg/policy.toml` is not a file",
    );
}
