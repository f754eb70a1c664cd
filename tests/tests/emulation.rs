//! Images of another architecture: the handler that chooses how a program runs, and the proof that the choice does not
//! show in the tree.
//!
//! Needs user namespaces, the network, and what `cargo xtask setup` installs; without them a test fails and says so.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg and the host's own tools")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use piimg::emulation::HANDLER;
use piimg_tests::{piimg, system_store};

/// A root directory in which whatever the handler starts prints its arguments: qemu's begin with its name.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        root.program("handler", HANDLER);
        // Static: the root has no libraries.
        let echo = root.0.path().join("echo");
        let source = root.0.path().join("echo.rs");
        fs::write(&source, "fn main() { println!(\"{}\", std::env::args().collect::<Vec<_>>().join(\" \")); }")
            .unwrap();
        let compiled = Command::new("rustc")
            .args(["-Ctarget-feature=+crt-static", "-Copt-level=0", "-o"])
            .args([&echo, &source])
            .status()
            .unwrap();
        assert!(compiled.success(), "rustc could not compile a program");
        for place in [
            ".piimg/qemu",
            ".piimg/native/usr/bin/dash",
            ".piimg/native/usr/bin/mkdir",
            ".piimg/native/usr/bin/readlink",
            ".piimg/native/usr/bin/realpath",
            ".piimg/scripts/usr/bin/python3.11/usr/bin/py3compile",
            ".piimg/scripts/usr/bin/python3.11/-m/py_compile",
        ] {
            let path = root.0.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::hard_link(&echo, path).unwrap();
        }
        for (link, target) in [("native/bin", "usr/bin"), ("scripts/bin", "usr/bin")] {
            symlink(target, root.0.path().join(".piimg").join(link)).unwrap();
        }
        root
    }

    fn program(&self, path: &str, content: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// What the handler makes of `path` with `arguments`, the first of which is `argv[0]`.
    fn ask(&self, path: &str, arguments: &[&str]) -> String {
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--root"])
            .arg(self.0.path())
            .args(["/handler", path])
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        assert!(output.status.success(), "{path}: {} (are user namespaces allowed?)", text(&output.stderr));
        text(&output.stdout)
    }
}

#[test]
fn the_handler_finds_a_native_program_by_the_files_own_path() {
    let root = Root::new();
    root.program("usr/bin/dash", b"\x7fELF");
    root.program("usr/bin/uname", b"\x7fELF");
    root.link("bin", "usr/bin");
    root.link("usr/bin/sh", "../bin/./dash");
    root.link("usr/bin/x", "/etc/alternatives/x");
    root.link("etc/alternatives/x", "/usr/../bin//sh");
    root.link("usr/bin/loop", "loop");
    for path in ["/usr/bin/dash", "/bin/sh", "/usr/bin/x", "bin/sh", "./usr/bin/../../bin/x", "/../bin/dash"] {
        assert_eq!(root.ask(path, &["name", "-c", "it"]), "name -c it", "{path}");
    }
    for path in ["/usr/bin/uname", "/usr/bin/missing", "/usr/bin/loop", "/usr/bin/dash/x"] {
        assert_eq!(root.ask(path, &["name", "-a"]), format!("/.piimg/qemu -0 name {path} -a"), "{path}");
    }
}

#[test]
fn the_handler_knows_a_native_program_before_usr_is_merged() {
    let root = Root::new();
    root.program("bin/dash", b"\x7fELF");
    root.link("bin/sh", "dash");
    assert_eq!(root.ask("/bin/sh", &["sh", "-e"]), "sh -e");
}

#[test]
fn the_handler_runs_an_interpreter_natively_for_its_scripts_alone() {
    let root = Root::new();
    root.program("usr/bin/python3.11", b"\x7fELF");
    root.link("usr/bin/python3", "python3.11");
    for (arguments, native) in [
        (&["py", "/usr/bin/py3compile", "-p", "x"][..], true),
        (&["py", "-E", "-S", "/usr/bin/py3compile"], true),
        (&["py", "-m", "py_compile", "-"], true),
        (&["py"], false),
        (&["py", "-m"], false),
        (&["py", "-m", "platform"], false),
        (&["py", "-c", "import platform"], false),
        (&["py", "/usr/bin/other", "/usr/bin/py3compile"], false),
        (&["py", "-W", "ignore", "/usr/bin/py3compile"], false),
        (&["py", "/usr/bin/../bin/py3compile/../other"], false),
    ] {
        let said = root.ask("/usr/bin/python3", arguments);
        let emulated = format!("/.piimg/qemu -0 py /usr/bin/python3 {}", arguments[1..].join(" "));
        assert_eq!(said, if native { arguments.join(" ") } else { emulated.trim_end().to_owned() });
    }
}

/// What is expected is what coreutils 9.1 say; where the program was asked, it printed its arguments.
#[test]
fn the_handler_answers_for_programs_only_what_is_certain() {
    let root = Root::new();
    for program in ["mkdir", "readlink", "realpath", "basename"] {
        root.program(&format!("usr/bin/{program}"), b"\x7fELF");
    }
    for (link, target) in [("bin", "usr/bin"), ("a", "usr/../bin/"), ("dangling", "/not/there"), ("loop", "loop")] {
        root.link(link, target);
    }
    for (program, option, path, said) in [
        ("readlink", "-f", "/bin", "/usr/bin"),
        ("readlink", "-f", "//bin///readlink", "/usr/bin/readlink"),
        ("readlink", "-f", "/a/mkdir", "/usr/bin/mkdir"),
        ("realpath", "-s", "/bin//mkdir", "/bin/mkdir"),
        ("realpath", "-s", "/a", "/a"),
        ("realpath", "-ms", "//usr//lib/x", "/usr/lib/x"),
        ("mkdir", "-p", "/usr/bin", ""),
        ("mkdir", "-p", "/a", ""),
    ] {
        assert_eq!(root.ask(&format!("/bin/{program}"), &[program, option, path]), said, "{program} {option} {path}");
    }
    let long = "/x".repeat(2100);
    for arguments in [
        &["readlink", "-f", "/not/there"][..],
        &["readlink", "-f", "/dangling"],
        &["readlink", "-f", "/loop"],
        &["readlink", "-f", "/bin/"],
        &["readlink", "-f", "/usr/./bin"],
        &["readlink", "-f", "/bin/readlink/"],
        &["readlink", "-f", "/bin/readlink/x"],
        &["readlink", "-f", "bin"],
        &["readlink", "-f", ""],
        &["readlink", "-f", "/bin", "/bin"],
        &["readlink", "-e", "/bin"],
        &["readlink", "/bin"],
        &["readlink"],
        &["realpath", "-s", "/not"],
        &["realpath", "-s", "/usr/../bin"],
        &["realpath", "-ms", "/usr/../lib"],
        &["realpath", "-ms", "/usr/"],
        &["realpath", "-ms", &long],
        &["mkdir", "-p", "/new"],
        &["mkdir", "-p", "/bin/mkdir"],
        &["mkdir", "-p", "/dangling"],
    ] {
        let said = root.ask(&format!("/usr/bin/{}", arguments[0]), arguments);
        assert_eq!(said, arguments.join(" ").trim_end(), "the program was not asked");
    }
    // It has no native build that may run.
    assert!(root.ask("/usr/bin/basename", &["basename", "-f", "/bin"]).starts_with("/.piimg/qemu"));
    fs::remove_file(root.0.path().join(".piimg/native/usr/bin/readlink")).unwrap();
    assert!(root.ask("/usr/bin/readlink", &["readlink", "-f", "/bin"]).starts_with("/.piimg/qemu"));
}

/// The archive from which this host has `suite`, if it has: less is downloaded without updates and security, and there
/// are fewer lists that a mirror may be about to renew.
fn archive(suite: &str) -> Option<String> {
    let format = "$(LABEL) $(CODENAME) $(REPO_URI)";
    let output = Command::new("apt-get").args(["indextargets", "--format", format]).output().ok()?;
    let start = format!("Debian {suite} ");
    String::from_utf8_lossy(&output.stdout).lines().find_map(|line| Some(line.strip_prefix(&start)?.to_owned()))
}

/// Bootstraps `packages` twice and returns the report of the comparison.
fn compare(architecture: &str, packages: &[&str]) -> serde_json::Value {
    let output = Command::new(piimg())
        .args(["doctor", "--compare-emulation", "--json", "--release", "bookworm", "--arch", architecture, "--store"])
        .arg(system_store())
        .args(archive("bookworm").iter().flat_map(|archive| ["--mirror", archive.as_str()]))
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn expect_same(report: &serde_json::Value, at_least: u64) {
    assert_eq!(report["unexplained"], serde_json::json!([]), "{report:#}");
    assert!(report["paths"].as_u64().unwrap() > at_least, "{report:#}");
}

/// The essential packages, and host keys: enough for every kind of program that runs natively.
#[test]
fn an_arm64_tree_is_the_same_however_its_programs_ran() {
    let report = compare("arm64", &["openssh-server"]);
    expect_same(&report, 6_000);
    let explained = report["explained"].as_array().unwrap();
    assert!(explained.iter().any(|entry| entry["path"] == "/etc/ssh/ssh_host_ed25519_key"), "{report:#}");
}

/// What arm64 shows of each native program holds here too; this takes as long.
#[cfg(feature = "long")]
#[test]
fn an_armhf_tree_is_the_same_however_its_programs_ran() {
    expect_same(&compare("armhf", &["adduser"]), 4_000);
}

/// Kernel and initramfs, device manager, Python: what weighs most in a bootstrap and differs most in how. A quarter of an
/// hour of emulation.
#[cfg(feature = "long")]
#[test]
fn a_whole_arm64_tree_is_the_same_however_its_programs_ran() {
    let packages =
        ["linux-image-cloud-arm64", "initramfs-tools", "zstd", "udev", "systemd-sysv", "python3", "openssh-server"];
    expect_same(&compare("arm64", &packages), 12_000);
}

#[cfg(feature = "long")]
#[test]
fn a_whole_armhf_tree_is_the_same_however_its_programs_ran() {
    expect_same(&compare("armhf", &["python3", "udev", "adduser"]), 5_000);
}

/// Its server reserves 8 TiB, of which qemu-user would keep a book until the memory is full.
#[cfg(feature = "long")]
#[test]
fn a_program_that_reserves_terabytes_is_content_with_less() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(piimg())
        .current_dir(dir.path())
        .args(["build", "--release", "bookworm", "--package", "mariadb-server", "--rootfs-only"])
        .args(["--imagedir", "images", "--store"])
        .arg(system_store())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let listed = Command::new("tar").arg("-tf").arg(dir.path().join(stdout.trim_end())).output().unwrap();
    // The system tables are made when the package is configured.
    let files = String::from_utf8_lossy(&listed.stdout);
    assert!(files.lines().any(|line| line.ends_with("var/lib/mysql/mysql/global_priv.MAI")), "{stderr}");
}
