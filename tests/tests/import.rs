//! Images built on others, for real: what was there stays, byte for byte, and what a build adds comes on top.
//!
//! Needs user namespaces, the network, and what `cargo xtask setup` installs; without them a test fails and says so.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg and look at archives with `tar`")]

#[path = "import/odd.rs"]
mod odd;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use piimg_tests::repository::{Key, Package, Repository, Server, Suite};
use piimg_tests::{guest, piimg, system_store};

/// What names the partitions, or tells how the image was made.
const OWN: [&str; 4] =
    ["./etc/fstab", "./etc/default/raspi-firmware", "./boot/firmware/cmdline.txt", "./usr/share/piimg/build.json"];

struct Place(tempfile::TempDir);

impl Place {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(piimg());
        command.current_dir(self.0.path()).env("SOURCE_DATE_EPOCH", "1750000000").args(["build", "--store"]);
        command.arg(system_store()).args(arguments).output().unwrap()
    }

    /// What was built, the image first, and what was said.
    fn build(&self, arguments: &[&str]) -> (Vec<PathBuf>, String) {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        piimg_tests::expect_success(&output);
        let built = String::from_utf8(output.stdout).unwrap();
        (built.lines().map(|line| self.0.path().join(line)).collect(), said)
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    }
}

/// Takes out of an archive what is another image's own, and returns the length of the rest: what stands behind the end
/// mark is left from before.
fn without_own(archive: &Path) -> u64 {
    let status = Command::new("tar").arg("--file").arg(archive).arg("--delete").args(OWN).status().unwrap();
    assert!(status.success());
    let list = Command::new("tar").args(["--list", "--block-number", "--file"]).arg(archive).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let end = list.lines().last().and_then(|line| line.strip_prefix("block ")?.strip_suffix(": ** Block of NULs **"));
    end.unwrap().parse::<u64>().unwrap() * 512
}

fn are_equal(one: &Path, other: &Path, length: u64) -> bool {
    let length = format!("--bytes={length}");
    Command::new("cmp").arg(length).arg(one).arg(other).status().unwrap().success()
}

#[test]
fn an_image_or_archive_is_built_on() {
    let place = Place(tempfile::tempdir().unwrap());
    let (first, _) = place.build(&["--release", "bookworm", "--output", "image,tar", "--flavour", "first"]);
    let [image, archive] = &first[..] else { panic!("{first:?}") };

    // Nothing is lost on the way: owners, modes, times, links, capabilities.
    let same = |base: &Path, flavour: &str| {
        let base = base.to_str().unwrap();
        let arguments = ["--release", "bookworm", "--output", "tar", "--base", base, "--flavour", flavour];
        let (again, said) = place.build(&arguments);
        assert!(said.contains("Import ") && !said.contains("Create the user"), "{said}");
        again[0].clone()
    };
    let (of_image, of_archive) = (same(image, "of-image"), same(archive, "of-archive"));
    // Not the names that the machine of the build has for its own groups.
    let mut list = Command::new("tar");
    list.args(["--list", "-vv", "--acls", "--file"]).arg(archive).arg("./var/log/journal/");
    let list = String::from_utf8(list.output().unwrap().stdout).unwrap();
    assert!(list.contains("group:4:r-x"), "{list}");
    let length = without_own(archive);
    assert!(length > 500 << 20, "{length} bytes are no system");
    for again in [&of_image, &of_archive] {
        assert_eq!(without_own(again), length, "{}", again.display());
        assert!(are_equal(archive, again, length), "{} differs", again.display());
    }
    for path in [archive, &of_image, &of_archive] {
        std::fs::remove_file(path).unwrap();
    }

    // Packages of the recipe, a user and a plugin come on top. The image is verified before it is there.
    std::fs::write(
        place.0.path().join("piimg.toml"),
        "packages = [\"tree\"]\n[user]\nname = \"ubuntu\"\ngroups = [\"games\"]\n",
    )
    .unwrap();
    let (base, plugin) = (image.to_str().unwrap(), guest("minimal"));
    let arguments = ["--base", base, "--grant-requested", "--plugin", plugin.to_str().unwrap()];
    let (built, said) = place.build(&arguments);
    for step in ["from the store", "Install tree", "Create the user ubuntu", "Run the plugin piimg/minimal"] {
        assert!(said.contains(step), "{step:?} is missing:\n{said}");
    }
    let file = File::open(&built[0]).unwrap();
    let table = piimg::image::mbr::read(&file).unwrap();
    let root = piimg::image::ext4::Ext4Reader::open(&file, table.root().unwrap().1.start.to_bytes()).unwrap();
    let text = |path: &str| root.read_text(path).unwrap().unwrap();
    assert_eq!(text("/etc/hostname"), "piimg-minimal\n");
    assert!(text("/etc/group").lines().any(|line| line.starts_with("games:") && line.ends_with(":ubuntu")));
    assert_eq!(text("/etc/passwd").lines().filter(|line| line.starts_with("ubuntu:")).count(), 1);
    assert!(text("/var/lib/dpkg/status").contains("Package: tree\nStatus: install ok installed\n"));
    let blame =
        Command::new(piimg()).arg("blame").arg(&built[0]).arg("/usr/local/sbin/piimg-grow-root").output().unwrap();
    let blamed = String::from_utf8(blame.stdout).unwrap();
    assert!(blamed.starts_with("base 2025-06-15T1506Z-first-bookworm-raspberry-pi.img (sha256:"), "{blamed}");

    let (_, said) = place.build(&arguments);
    assert!(said.contains("Write the image: unchanged, it is there already"), "{said}");
    packages_come_from_the_recipes_own_repository(&place, base);
}

/// Which the image has too, beside its own sources.
fn packages_come_from_the_recipes_own_repository(place: &Place, base: &str) {
    let (key, mut repository) = (Key::new(), Repository::new());
    let tool = Package::new("robot-tool", "1.0", "arm64").file("/etc/robot-tool", "made up\n");
    repository.publish(&Suite::new("stable", &["arm64"]).component("main", vec![tool]), Some(&key));
    let server = Server::new(repository.path());
    std::fs::write(place.0.path().join("robots.asc"), key.armored_ring()).unwrap();
    let recipe = format!(
        "packages = [\"robot-tool\"]\n[[repository]]\nname = \"robots\"\nurl = \"{}\"\nsuite = \"stable\"\n\
         components = [\"main\"]\nkeyring = \"robots.asc\"\n",
        server.url()
    );
    std::fs::write(place.0.path().join("piimg.toml"), recipe).unwrap();
    let (built, said) = place.build(&["--release", "bookworm", "--base", base, "--rootfs-only"]);
    assert!(said.contains("Install robot-tool"), "{said}");
    let text = |path: &str| {
        let output = Command::new("tar").args(["--extract", "--to-stdout", "--file"]).arg(&built[0]).arg(path).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    assert_eq!(text("./etc/robot-tool"), "made up\n");
    let sources = text("./etc/apt/sources.list.d/robots.sources");
    assert!(sources.contains(&server.url()) && sources.contains("/etc/apt/keyrings/robots.gpg"), "{sources}");
    assert!(!text("./etc/apt/keyrings/robots.gpg").is_empty());
    assert!(text("./etc/apt/sources.list").contains("bookworm-security"));
}

#[test]
fn what_is_not_the_release_is_refused() {
    let place = Place(tempfile::tempdir().unwrap());
    let directory = place.0.path();
    let pack = |name: &str, extra: &[&str]| {
        let mut tar = Command::new("tar");
        tar.current_dir(directory.join("tree")).args(["--create", "--file"]).arg(directory.join(name));
        assert!(tar.args(extra).arg(".").status().unwrap().success());
    };
    std::fs::create_dir_all(directory.join("tree/etc")).unwrap();
    std::fs::create_dir_all(directory.join("tree/var/lib/dpkg")).unwrap();
    let refused = |name: &str| place.refused(&["--release", "bookworm", "--base", name]);

    pack("empty.tar", &[]);
    let said = refused("empty.tar");
    assert!(said.contains("error: cannot import `empty.tar`\n  caused by: it holds no release that is known, not Debian 12 (bookworm)\n  hint: say which release it is with --release\n"), "{said}");

    std::fs::write(directory.join("tree/etc/os-release"), "PRETTY_NAME=\"Other\x1b[2J 9\"\nVERSION_CODENAME=trixie\n")
        .unwrap();
    pack("other.tar", &[]);
    let said = refused("other.tar");
    assert!(said.contains("it holds Other\\u{1b}[2J 9, not Debian 12 (bookworm)"), "{said}");

    std::fs::write(directory.join("tree/etc/os-release"), "VERSION_CODENAME=bookworm\n").unwrap();
    let dpkg = "Package: dpkg\nStatus: install ok installed\nVersion: 1\nArchitecture: armhf\n";
    std::fs::write(directory.join("tree/var/lib/dpkg/status"), dpkg).unwrap();
    pack("foreign.tar", &[]);
    let said = refused("foreign.tar");
    assert!(
        said.contains(
            "its packages are for `armhf`, not for arm64\n  hint: say which architecture it has with --arch\n"
        ),
        "{said}"
    );

    std::fs::write(directory.join("tree/var/lib/dpkg/status"), dpkg.replace("armhf", "arm64")).unwrap();
    std::fs::write(directory.join("tree/etc/fstab"), "/dev/mmcblk0p1 /boot vfat defaults 0 2\n").unwrap();
    pack("older.tar", &[]);
    let said = refused("older.tar");
    assert!(
        said.contains("its boot partition is mounted at `/boot`")
            && said.contains("hint: piimg builds on images that mount it at /boot/firmware\n"),
        "{said}"
    );

    // Tools of the build's that are not: as a directory, and as a link to one.
    for (name, make) in [("tools.tar", "mkdir -p .piimg/native/usr/bin"), ("link.tar", "ln -s etc .piimg")] {
        assert!(Command::new("sh").args(["-c", make]).current_dir(directory.join("tree")).status().unwrap().success());
        pack(name, &[]);
        let said = refused(name);
        assert!(said.contains("caused by: it holds `/.piimg`, where a build keeps its own tools\n"), "{said}");
        let remove = Command::new("rm").args(["-r", ".piimg"]).current_dir(directory.join("tree")).status();
        assert!(remove.unwrap().success());
    }

    // A name that leads out leads nowhere.
    pack("out.tar", &["--absolute-names", "--transform=s,^./etc/fstab$,../../../../etc/cron.d/stranger,"]);
    let said = refused("out.tar");
    assert!(said.contains("cannot import `out.tar`"), "{said}");

    let mut table = [&[0; 510][..], &[0x55, 0xaa]].concat();
    table[446 + 4] = 0x0c;
    std::fs::write(directory.join("cut.img"), table).unwrap();
    let said = refused("cut.img");
    assert!(said.contains("caused by: it has no Linux partition in its partition table"), "{said}");
}

/// On a disk of its own, so that it is no other that fills: 1 GiB, of which piimg leaves a part to others.
#[test]
fn an_archive_that_would_fill_the_disk_ends_before_it_does() {
    let place = Place(tempfile::tempdir().unwrap());
    let directory = place.0.path();
    std::fs::create_dir(directory.join("store")).unwrap();
    let content = directory.join("content");
    let mut long = std::io::repeat(b'x').take(900 << 20);
    std::io::copy(&mut long, &mut File::create(&content).unwrap()).unwrap();
    let tar = |name: &str, options: &[&str]| {
        let mut tar = Command::new("tar");
        tar.current_dir(directory).args(["--create", "--file", name]).args(options);
        assert!(tar.status().unwrap().success());
        assert!(directory.join(name).metadata().unwrap().len() < 2 << 20, "{name} is no bomb");
    };
    // One that is long when it is unpacked, and one with a file that no image could hold.
    tar("bomb.tar.xz", &["--xz", "content"]);
    let hole = std::fs::File::create(directory.join("hole")).unwrap();
    hole.set_len(1 << 40).unwrap();
    tar("hole.tar", &["--sparse", "hole"]);
    let run = |base: &str| {
        let script = "mount -t tmpfs -o size=1g,mode=711 tmpfs store && \"$0\" \"$@\"; code=$?; df --output=avail -B1 store | tail -n1; exit $code";
        let mut command = Command::new("unshare");
        command.current_dir(directory).args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(piimg());
        command.args(["build", "--store", "store", "--release", "bookworm", "--base", base]);
        let output = command.output().unwrap();
        let left: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), left)
    };
    let (code, said, left) = run("bomb.tar.xz");
    assert_eq!(code, Some(3), "{said}");
    let reason = "there is no room for what is in `bomb.tar.xz` in `";
    assert!(said.contains(reason) && said.contains("of which 256 MiB are left to the rest of the machine"), "{said}");
    assert!(left > 1000 << 20, "{left} bytes are left: the import is still there");
    let (code, said, _) = run("hole.tar");
    assert_eq!(code, Some(1), "{said}");
    let reason = "`tar` was stopped at a file longer than the 64 GiB that one may have here";
    assert!(said.contains("cannot import `hole.tar`") && said.contains(reason), "{said}");
    assert!(said.contains("hint: a file that unpacks to so much may have been made to fill the disk"), "{said}");
}
