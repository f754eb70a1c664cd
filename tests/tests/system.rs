//! The whole way, for real: packages from the archive, the private namespace, an image that boots in QEMU.
//!
//! Needs user namespaces, the network, and what `cargo xtask setup` installs; without them a test fails and says so.
//! The store is kept in the target directory, so that a second run bootstraps nothing.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg and look at the host with its own tools")]

#[path = "system/boots.rs"]
mod boots;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use piimg_tests::host::Host;
use piimg_tests::ordinary::{Ordinary, UID};
use piimg_tests::{guest, piimg, system_store};

/// A user who can log in at once, which the default user cannot.
const RECIPE: &str = "[user]\nname = \"ubuntu\"\npassword = \"raspberry\"\n";

struct Workplace {
    dir: tempfile::TempDir,
}

impl Workplace {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("piimg.toml"), RECIPE).unwrap();
        Self { dir }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(piimg());
        command.current_dir(self.dir.path()).env("SOURCE_DATE_EPOCH", "1750000000");
        command.args(["build", "--imagedir", "images", "--store"]).arg(system_store()).args(arguments);
        command
    }

    /// Builds, and returns the image and what was said.
    fn build(&self, arguments: &[&str]) -> (PathBuf, String) {
        let output = self.command(arguments).output().unwrap();
        let (stdout, stderr) = texts(&output);
        piimg_tests::expect_success(&output);
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(lines.len(), 1, "standard output is the image's path: {stdout:?}");
        let image = self.dir.path().join(lines[0]);
        assert!(image.is_file(), "{} is missing", image.display());
        (image, stderr)
    }

    fn images(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join("images")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_doctor_tries_what_a_build_needs() {
    let before = Host::now();
    let output = Command::new(piimg()).args(["doctor", "--store"]).arg(system_store()).output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
    for line in
        ["✓ the programs that a build starts", "✓ user, mount, PID, IPC", "✓ overlays in the store", "✓ the store"]
    {
        assert!(stdout.contains(line), "{line:?} is missing:\n{stdout}");
    }
    assert!(stdout.contains("private binfmt_misc (Linux "), "{stdout}");
    assert_eq!(Host::now(), before, "the doctor left something on the host");
}

#[test]
fn a_command_inside_the_image_is_in_its_box() {
    let place = Workplace::new();
    let plugin = guest("probe");
    // A new reason for the layer each time: an unchanged one would not run.
    let flavour = format!("probe-{}", std::process::id());
    let (_, said) = place.build(&[
        "--release",
        "bookworm",
        "--flavour",
        &flavour,
        "--plugin",
        plugin.to_str().unwrap(),
        "--grant-requested",
    ]);
    let answer = |name: &str| {
        let start = format!("test/probe | {name} = ");
        let line = said.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no answer to {name}:\n{said}")).to_owned()
    };
    assert_eq!(answer("uid"), "0");
    assert_eq!(answer("uid-map"), "0 0 65536");
    // chown, dac_override, fowner, fsetid, kill, setgid, setuid, sys_chroot, setfcap; nothing else can come back.
    assert_eq!(answer("capabilities"), "CapEff:\\u{9}00000000800400fb");
    assert_eq!(answer("bounding"), "CapBnd:\\u{9}00000000800400fb");
    assert_eq!(answer("no-new-privs"), "NoNewPrivs:\\u{9}1");
    assert_eq!(answer("interfaces"), "lo");
    assert_eq!(answer("sys"), "0");
    assert_eq!(answer("descriptors"), "0 1 2 3", "3 is the directory that ls reads");
    assert!(answer("store").contains("No such file"), "{}", answer("store"));
    assert_eq!(answer("mount"), "status 32", "mount(8): it failed");
    assert!(answer("mknod").contains("Operation not permitted"), "{}", answer("mknod"));
    assert_eq!(answer("straggler"), "started");
    assert_eq!(answer("user"), "ubuntu");
    assert_eq!(Host::now().processes(), Vec::<String>::new(), "a process outlived its command");
}

#[test]
fn events_tell_each_step_and_the_first_host_call() {
    let place = Workplace::new();
    let plugin = guest("busy");
    let flavour = format!("busy-{}", std::process::id());
    place.build(&[
        "--release",
        "bookworm",
        "--flavour",
        &flavour,
        "--plugin",
        plugin.to_str().unwrap(),
        "--grant-requested",
        "--json-events",
        "events",
    ]);
    let text = std::fs::read_to_string(place.dir.path().join("events")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &'static str| lines.iter().filter(move |line| line["event"] == event);
    let find = |event: &'static str| of(event).next().unwrap_or_else(|| panic!("no {event} in:\n{text}"));
    let title = "Run the plugin test/busy";
    assert!(of("step-begins").any(|line| line["step"] == title), "{text}");
    let step = of("step-ends").find(|line| line["step"] == title).unwrap();
    assert_eq!(step["ok"], true);
    let (start, length) = (step["start"].as_f64().unwrap(), step["seconds"].as_f64().unwrap());
    let call = find("first-host-call");
    assert_eq!(call["plugin"], "test/busy");
    let at = call["at"].as_f64().unwrap();
    assert!(start > 0.0 && start < at && at < start + length, "{text}");
    assert!(find("result")["path"].as_str().unwrap().ends_with(".img"), "{text}");
    let ends = find("ends");
    assert!(
        ends["code"] == 0 && lines.last().unwrap() == ends && start + length < ends["at"].as_f64().unwrap(),
        "{text}"
    );
}

#[test]
fn a_killed_build_leaves_nothing_and_the_next_one_works() {
    let place = Workplace::new();
    // So that there is something to come back to.
    place.build(&["--release", "bookworm"]);
    std::fs::remove_dir_all(place.dir.path().join("images")).unwrap();
    let before = Host::now();
    for seconds in [0.05, 0.3, 2.0, 8.0, 20.0] {
        let mut build = place
            .command(&["--release", "bookworm", "--refresh"])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs_f64(seconds));
        build.kill().unwrap();
        build.wait().unwrap();
        // The kernel ends a namespace's processes at once, but not in no time.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while Host::now() != before && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(Host::now(), before, "after SIGKILL at {seconds} s");
        assert_eq!(place.images(), Vec::<String>::new(), "after SIGKILL at {seconds} s");
    }
    let (_, said) = place.build(&["--release", "bookworm"]);
    assert!(said.contains("Bootstrap bookworm (arm64): unchanged, from the store"), "{said}");
}

/// Runs a line of shell in the directory of images.
fn shell(place: &Workplace, line: &str) -> (bool, String) {
    let images = place.dir.path().join("images");
    let output = Command::new("sh").args(["-c", line]).current_dir(images).output().unwrap();
    let (stdout, stderr) = texts(&output);
    (output.status.success(), stdout + &stderr)
}

#[test]
fn a_compressed_image_is_the_same_image_with_the_same_map() {
    let place = Workplace::new();
    let name = "2025-06-15T1506Z-custom-bookworm-raspberry-pi.img";
    let arguments = ["--release", "bookworm"];
    let (image, _) = place.build(&arguments);
    assert_eq!(image.file_name().unwrap(), name);
    let map = std::fs::read_to_string(image.with_file_name(format!("{name}.bmap"))).unwrap();
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&image).unwrap());
    let first = inode();
    let (_, said) = place.build(&arguments);
    assert!(said.contains("Write the image: unchanged, it is there already"), "{said}");
    assert_eq!(inode(), first);
    // Touched, though of the same content: it is not relied on.
    std::fs::File::open(&image).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let (_, said) = place.build(&arguments);
    assert!(said.contains("Write the partitions: unchanged, from the store"), "{said}");
    assert!(said.contains("Compare the image"), "{said}");
    assert_ne!(inode(), first);
    assert_eq!(std::fs::read_to_string(image.with_file_name(format!("{name}.bmap"))).unwrap(), map);
    assert_eq!(shell(&place, &format!("sha256sum -c {name}.sha256")), (true, format!("{name}: OK\n")));

    let (compressed, _) = place.build(&["--release", "bookworm", "--compress", "zstd:3"]);
    assert_eq!(compressed, image.with_file_name(format!("{name}.zst")));
    assert_eq!(std::fs::read_to_string(image.with_file_name("latest_image")).unwrap(), format!("{name}.zst\n"));
    assert_eq!(std::fs::read_to_string(image.with_file_name(format!("{name}.bmap"))).unwrap(), map);
    assert_eq!(shell(&place, &format!("sha256sum -c {name}.zst.sha256")), (true, format!("{name}.zst: OK\n")));
    assert_eq!(shell(&place, &format!("zstd -dc {name}.zst | cmp - {name}")), (true, String::new()));
    let (taken, said) = shell(&place, &format!("bmaptool copy {name} ../card && cmp {name} ../card"));
    assert!(taken && said.contains("bmap"), "{said}");
    let mut names = place.images();
    names.sort();
    let all = ["", ".bmap", ".sha256", ".zst", ".zst.sha256"].map(|end| format!("{name}{end}"));
    assert_eq!(names, [&all[..], &["latest_image".to_owned()]].concat());

    // While it compresses: nothing is named and nothing that has a name is touched.
    let mut build =
        place.command(&["--release", "bookworm", "--compress", "xz"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(build.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("Verify the image")), "the build ended early");
    build.kill().unwrap();
    assert!(!build.wait().unwrap().success());
    let mut left = place.images();
    left.sort();
    assert_eq!(left, names);
    assert_eq!(shell(&place, &format!("sha256sum -c {name}.zst.sha256")), (true, format!("{name}.zst: OK\n")));
}

/// Flips a bit of the first of these words in a file.
fn damage(path: &std::path::Path, word: &str) {
    use std::os::unix::fs::FileExt as _;
    let content = std::fs::read(path).unwrap();
    let at = content.windows(word.len()).position(|part| part == word.as_bytes()).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[content[at] ^ 1], u64::try_from(at).unwrap()).unwrap();
}

fn directories(path: PathBuf) -> Vec<PathBuf> {
    std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_the_store_lost_is_named_and_made_anew() {
    let place = Workplace::new();
    let build = || {
        let (image, said) = place.build(&["--release", "bookworm"]);
        let sum = std::fs::read_to_string(format!("{}.sha256", image.display())).unwrap();
        assert!(shell(&place, "sha256sum -c *.sha256").0, "the checksum is not the image's");
        std::fs::remove_file(image).unwrap();
        (sum, said)
    };
    let (sum, _) = build();
    let data = system_store().join("data");
    // In a partition: what a file says, and where its file system says that it is.
    let used_last = |path: &PathBuf| std::fs::metadata(path).unwrap().modified().unwrap();
    for word in ["PRETTY_NAME=", "lost+found"] {
        let newest = directories(data.join("artifacts")).into_iter().max_by_key(used_last).unwrap();
        damage(&newest.join("root"), word);
        let (again, said) = build();
        assert!(said.contains("warning: the store was damaged: the partitions "), "{said}");
        assert!(said.contains("do not give the image that they gave before; it is made anew"), "{said}");
        assert_eq!(again, sum);
    }
    // In the layers of users, which take no bootstrap.
    let has_user = |layer: &PathBuf| layer.join("fs/etc/passwd").exists() && !layer.join("lists").exists();
    for layer in directories(data.join("layers")).iter().filter(|layer| has_user(layer)) {
        damage(&layer.join("fs/etc/passwd"), "root");
    }
    let (again, said) = build();
    assert!(
        said.contains(" of the store is damaged: `fs/etc/passwd` is not what was put there; it is made anew"),
        "{said}"
    );
    assert_eq!(again, sum);
    // In the image itself.
    let (image, _) = place.build(&["--release", "bookworm"]);
    lose_a_bit(&image);
    let (again, said) = place.build(&["--release", "bookworm"]);
    assert!(said.contains(".img` is not what was built, though nobody has touched it: it is made anew"), "{said}");
    assert_eq!(again, image);
    assert!(shell(&place, "sha256sum -c *.img.sha256").0, "the image is not made anew:\n{said}");
}

/// Flips a bit of an image as a disk would: no test can, so what is remembered of the image's times follows.
fn lose_a_bit(image: &Path) {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};
    let file = std::fs::File::options().read(true).write(true).open(image).unwrap();
    let (mut byte, place) = ([0], 9 << 20);
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 1], place).unwrap();
    let metadata = file.metadata().unwrap();
    for path in directories(system_store().join("images")) {
        let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for stamp in record["files"].as_array_mut().unwrap() {
            if stamp["inode"] == metadata.ino() {
                stamp["modified"] = serde_json::json!([metadata.mtime(), metadata.mtime_nsec()]);
                stamp["changed"] = serde_json::json!([metadata.ctime(), metadata.ctime_nsec()]);
            }
        }
        std::fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
    }
}

#[test]
fn the_same_root_is_given_in_every_form() {
    let place = Workplace::new();
    let stem = "2025-06-15T1506Z-custom-bookworm-raspberry-pi";
    let is_root = Ordinary::new().is_some();
    let wanted = if is_root { "tar,partitions,directory" } else { "tar,partitions" };
    let before = Host::now();
    let output = place.command(&["--release", "bookworm", "--output", wanted]).output().unwrap();
    let (stdout, _) = texts(&output);
    piimg_tests::expect_success(&output);
    assert_eq!(Host::now(), before, "the build left something on the host");
    let mut ends = vec!["tar", "root.img", "boot.img"];
    ends.extend(is_root.then_some("rootfs"));
    // The tree is in a directory that nobody else can enter.
    let inside = |end: &str| if end == "rootfs" { "rootfs/rootfs".to_owned() } else { end.to_owned() };
    let results: Vec<String> = ends.iter().map(|end| format!("images/{stem}.{}", inside(end))).collect();
    assert_eq!(stdout.lines().collect::<Vec<_>>(), results);
    let mut names = place.images();
    names.sort();
    let mut expected: Vec<String> = ends.iter().map(|end| format!("{stem}.{end}")).collect();
    expected.extend(ends[..3].iter().map(|end| format!("{stem}.{end}.sha256")));
    expected.sort();
    // No image was asked for.
    assert_eq!(names, expected);
    for end in &ends[..3] {
        let file = format!("{stem}.{end}");
        assert_eq!(shell(&place, &format!("sha256sum -c {file}.sha256")), (true, format!("{file}: OK\n")));
    }
    let (sound, said) = shell(&place, &format!("fsck.fat -n {stem}.boot.img && /sbin/e2fsck -fn {stem}.root.img"));
    assert!(sound, "{said}");
    let (_, listed) = shell(&place, &format!("tar --numeric-owner -tvf {stem}.tar"));
    for (path, begins) in [
        ("./boot/firmware/config.txt", "-rw-r--r-- 0/0 "),
        ("./home/ubuntu/", "drwxr-xr-x 1000/1000 "),
        ("./etc/shadow", "-rw-r----- 0/42 "),
        ("./bin -> usr/bin", "lrwxrwxrwx 0/0 "),
    ] {
        let line = listed.lines().find(|line| line.ends_with(&format!(" {path}")));
        assert!(line.is_some_and(|line| line.starts_with(begins)), "{path}: {line:?}");
    }
    assert!(!listed.contains("/.piimg") && !listed.contains("ssh_host_"), "{listed}");
    if is_root {
        let compare = format!(
            "mkdir ../unpacked && tar --numeric-owner --xattrs --xattrs-include='*' -xpf {stem}.tar -C ../unpacked \
             && diff -r --no-dereference ../unpacked {stem}.rootfs/rootfs \
             && for tree in ../unpacked {stem}.rootfs/rootfs; do (cd $tree && find . -printf '%p %y %m %U %G %T@ %l\\n' | sort) \
             > $tree.list; done && cmp ../unpacked.list {stem}.rootfs/rootfs.list && rm {stem}.rootfs/rootfs.list \
             && /sbin/getcap {stem}.rootfs/rootfs/usr/bin/ping"
        );
        let (same, said) = shell(&place, &compare);
        assert!(same && said.contains("ping cap_net_raw=ep"), "{said}");
        // Its set-user-id programs are for nobody else on this machine.
        let (_, modes) =
            shell(&place, &format!("stat -c '%a %u' {stem}.rootfs; find {stem}.rootfs -perm -4000 | head -1"));
        assert!(modes.starts_with(&format!("700 0\n{stem}.rootfs/rootfs/")), "{modes}");
    }

    // Compressed it is the same archive, and the directory is replaced by another one.
    let again = if is_root { "tar,directory" } else { "tar" };
    let arguments = ["--release", "bookworm", "--output", again, "--compress", "zstd:1"];
    let output = place.command(&arguments).output().unwrap();
    piimg_tests::expect_success(&output);
    let (same, said) = shell(&place, &format!("zstd -dc {stem}.tar.zst | cmp - {stem}.tar"));
    assert!(same, "{said}");
    if is_root {
        assert!(
            shell(&place, &format!("test -e {stem}.rootfs/rootfs/etc/os-release && ! test -e {stem}.rootfs.partial")).0
        );
    }
}

#[test]
fn a_plugin_that_fails_leaves_no_image_and_is_named() {
    let place = Workplace::new();
    let plugin = guest("panics");
    let output = place
        .command(&["--release", "bookworm", "--plugin", plugin.to_str().unwrap(), "--grant-requested"])
        .output()
        .unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert_eq!(stdout, "");
    assert!(stderr.contains("panicked in execute()") && stderr.contains("lib.rs:"), "{stderr}");
    assert_eq!(place.images(), ["2025-06-15T1506Z-custom-bookworm-raspberry-pi.img.failed.audit.jsonl"]);
}

#[test]
fn an_ordinary_user_builds_without_sudo() {
    use std::os::unix::fs::MetadataExt as _;

    let Some(user) = Ordinary::new() else {
        // Every other test of this file is such a build then.
        let place = Workplace::new();
        place.build(&["--plugin", guest("minimal").to_str().unwrap(), "--grant-requested"]);
        return;
    };
    let before = Host::now();
    let plugin = user.built(&guest("minimal"));
    let arguments = ["build", "--plugin", plugin.to_str().unwrap(), "--grant-requested", "--imagedir", "images"];
    // Files that a shell keeps from others are nobody's business inside, and what comes out is kept from them.
    let program = user.built(&piimg());
    let umask = ["-c", "umask 077; exec \"$@\"", "sh", program.to_str().unwrap()];
    let output = user.command(Path::new("sh"), umask.iter().chain(&arguments)).output().unwrap();
    let (stdout, _) = texts(&output);
    piimg_tests::expect_success(&output);
    assert_eq!(Host::now(), before, "the build left something on the host");
    let image = user.home().join(stdout.trim_end());
    let metadata = std::fs::metadata(&image).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (UID, 0o600));
    let verified = Command::new(piimg()).arg("verify").args(["--model", "pi4"]).arg(&image).output().unwrap();
    assert!(verified.status.success(), "{}", texts(&verified).0);

    // The store is the user's, and what is in it belongs to the subordinate ids.
    let cache = |arguments: &[&str]| {
        let output = user.command(&program, [&["cache"], arguments].concat()).output().unwrap();
        let (stdout, stderr) = texts(&output);
        assert!(output.status.success(), "{arguments:?}:\n{stderr}");
        format!("{stdout}{stderr}")
    };
    let listed = cache(&["list"]);
    assert!(listed.contains("Run the plugin piimg/minimal"), "{listed}");
    let said = cache(&["gc", "--store-limit", "0"]);
    assert!(said.contains("is what the last builds stand on"), "{said}");
    std::fs::remove_file(&image).unwrap();
    let output = user.command(Path::new("sh"), umask.iter().chain(&arguments)).output().unwrap();
    let (_, stderr) = texts(&output);
    assert!(output.status.success() && stderr.contains("Bootstrap bookworm (arm64): unchanged"), "{stderr}");
    let said = cache(&["verify"]);
    assert!(said.contains(" things compared, 0 damaged\n"), "{said}");
}
