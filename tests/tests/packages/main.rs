//! Packages lie below everything that plugins write, for real: nothing of a plugin is seen by a run of apt or dpkg.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg")]

mod archive;
mod local;
mod shell;
mod wishes;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use piimg::image::ext4::Ext4Reader;
use piimg_tests::{guest, piimg, system_store};

fn build(dir: &Path, epoch: u64, arguments: &[&str]) -> Output {
    build_with("poisons", dir, epoch, arguments)
}

fn build_with(plugin: &str, dir: &Path, epoch: u64, arguments: &[&str]) -> Output {
    let mut command = Command::new(piimg());
    command.current_dir(dir).env("SOURCE_DATE_EPOCH", epoch.to_string());
    command.args(["build", "--release", "bookworm", "--imagedir", "images", "--store"]).arg(system_store());
    command.arg("--plugin").arg(guest(plugin)).arg("--grant-requested");
    command.args(arguments).output().unwrap()
}

/// Set for the guest.
fn param(name: &str, value: &str) -> [String; 2] {
    ["--param".to_owned(), format!("test/poisons:{name}={value}")]
}

fn strings(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn built(dir: &Path, output: &Output) -> (PathBuf, Ext4Reader, String) {
    let said = text(&output.stderr);
    piimg_tests::expect_success(output);
    let image = dir.join(text(&output.stdout).trim_end());
    let file = std::fs::File::open(&image).unwrap();
    let table = piimg::image::mbr::read(&file).unwrap();
    (image, Ext4Reader::open(&file, table.root().unwrap().1.start.to_bytes()).unwrap(), said)
}

#[test]
fn no_package_run_sees_what_a_plugin_wrote() {
    let dir = tempfile::tempdir().unwrap();
    // Another script is another run, in whatever store.
    let own = format!("test ! -e /poisoned # {}", std::process::id());
    let arguments = [param("install", "tree"), param("script", &own)].concat();
    let (_, root, said) = built(dir.path(), &build(dir.path(), 1_750_000_000, &strings(&arguments)));
    for expected in ["starts again: Install tree", "new: tree", "there: true", "status 0:"] {
        assert!(said.contains(expected), "{expected:?} is missing:\n{said}");
    }
    assert_eq!(root.read_text("/poisoned").unwrap(), None);
    assert!(root.read_text("/etc/dpkg/dpkg.cfg.d/zz").unwrap().unwrap().contains("/poisoned"));
    assert!(root.read_text("/var/lib/dpkg/status").unwrap().unwrap().contains("Package: tree\nStatus: install ok"));

    // The next build knows what the plugin asks for, also at another time, and installs nothing.
    let (_, _, said) = built(dir.path(), &build(dir.path(), 1_750_000_000, &strings(&arguments)));
    assert!(!said.contains("starts again") && !said.contains("new: tree"), "{said}");

    // A changed plugin runs, and finds the package where it was.
    let changed = [param("install", "tree"), param("script", &format!("{own} changed"))].concat();
    let (_, _, said) = built(dir.path(), &build(dir.path(), 1_750_000_001, &strings(&changed)));
    for expected in ["new: tree", "Bootstrap bookworm (arm64): unchanged", "Install tree: unchanged"] {
        assert!(said.contains(expected), "{expected:?} is missing:\n{said}");
    }
}

#[test]
fn what_a_plugin_has_the_package_manager_do_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("test/runs:script=echo tar hold | dpkg --set-selections # {}", std::process::id());
    let output = build_with("runs", dir.path(), 1_750_000_000, &["--param", &script]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    let finding = said.lines().find(|line| line.trim_start().starts_with("/var/lib/dpkg/status "));
    assert!(finding.is_some_and(|line| line.contains(", `sh -c")), "{said}");
}

#[test]
fn what_a_plugin_is_built_with_is_not_in_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("mkdir -p /opt/poisons && echo 6*7 | bc > /opt/poisons/made # {}", std::process::id());
    let (_, root, said) = built(dir.path(), &build(dir.path(), 1_750_000_000, &strings(&param("script", &script))));
    assert_eq!(root.read_text("/opt/poisons/made").unwrap().as_deref(), Some("42\n"), "{said}");
    assert_eq!(root.read_text("/usr/bin/bc").unwrap(), None);
    assert!(!root.read_text("/var/lib/dpkg/status").unwrap().unwrap().contains("Package: bc\n"));
}

#[test]
fn what_the_recipe_wants_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [&["--package".to_owned(), "tree".to_owned()], &param("remove", "tree")[..]].concat();
    let output = build(dir.path(), 1_750_000_000, &strings(&arguments));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("cannot remove `tree`: the recipe lists it"), "{said}");
}

/// What the image tells of a path, and the status.
fn blame(image: &Path, path: &str) -> (String, Option<i32>) {
    let output = Command::new(piimg()).arg("blame").arg(image).arg(path).output().unwrap();
    (text(&output.stdout), output.status.code())
}

#[test]
fn what_scripts_make_for_one_machine_is_left_to_the_first_boot_and_every_file_has_its_maker() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [["--package", "munge"], ["--package", "ssl-cert"]].concat();
    let (image, root, said) = built(dir.path(), &build(dir.path(), 1_750_000_000, &arguments));
    assert!(!said.contains("looks like"), "{said}");
    for (gone, unit) in [
        ("/etc/munge/munge.key", "munge"),
        ("/etc/ssl/private/ssl-cert-snakeoil.key", "snakeoil"),
        ("/etc/ssl/certs/ssl-cert-snakeoil.pem", "snakeoil"),
        ("/etc/ssh/ssh_host_ed25519_key", "ssh-host-keys"),
    ] {
        assert_eq!(root.read(gone).unwrap(), None, "{gone}");
        let text = root.read_text(&format!("/etc/systemd/system/piimg-{unit}.service")).unwrap().unwrap();
        assert!(text.contains("\nConditionPathExists=!/etc/"), "{text}");
        let link = format!("/etc/systemd/system/multi-user.target.wants/piimg-{unit}.service");
        assert_eq!(root.read_text(&link).unwrap().as_deref(), Some(&*text));
        let (told, status) = blame(&image, gone);
        assert!(
            told.starts_with("missing: ") && told.contains("piimg: removed from the image, whose first boot makes "),
            "{told}"
        );
        assert_eq!(status, Some(1));
    }
    // While packages were installed, the name of the box was known.
    assert!(root.read_text("/etc/hosts").unwrap().unwrap().starts_with("127.0.0.1\tlocalhost\n"));
    let output = Command::new(piimg()).arg("verify").arg(&image).output().unwrap();
    assert!(
        text(&output.stdout).contains("ok       keys and ids: none looks like that of one machine\n"),
        "{output:?}"
    );

    let user = "piimg: for the user `ubuntu` of the recipe or the release\n";
    let script = "a package's own script: no list of a package, no plugin and no step of piimg names it\n";
    for (path, expected) in [
        ("/home/ubuntu/.bashrc", user.to_owned()),
        ("/etc/shadow", format!("{user}{script}")),
        ("/etc/../etc/passwd", format!("{user}{script}")),
        ("/etc/fstab", "piimg: made for this image\n".to_owned()),
        ("/usr/share/piimg/build.json", "piimg: made for this image\n".to_owned()),
        ("/etc/systemd/system/piimg-munge.service", "piimg: makes the key of munge at the first boot\n".to_owned()),
        (
            "/etc/systemd/system/multi-user.target.wants/piimg-grow-root.service",
            "piimg: a unit that is enabled by bookworm\n".to_owned(),
        ),
        ("/usr/local/sbin/piimg-grow-root", "piimg: a file of bookworm\n".to_owned()),
        ("/boot/firmware/config.txt", script.to_owned()),
        ("/boot/firmware/cmdline.txt", format!("piimg: this image's partitions\n{script}")),
        ("/bin/sh", "package dash\n".to_owned()),
        // A script of base-files makes it.
        ("/srv", script.to_owned()),
        ("/var/lib/dpkg/status", script.to_owned()),
    ] {
        assert_eq!(blame(&image, path), (expected, Some(0)), "{path}");
    }
    let (told, status) = blame(&image, "/usr/bin");
    assert!(told.lines().count() == 1 && told.contains(" packages, ") && status == Some(0), "{told}");
    let missing = "missing: there is no such file in the image\n".to_owned();
    for path in ["/etc/nothing", "/nothing/at/all", "/etc/passwd/x", "/boot/firmware/nothing"] {
        assert_eq!(blame(&image, path), (missing.clone(), Some(1)), "{path}");
    }
}
