//! The Debian package and the container, as whoever has neither Rust nor this repository meets them: installed into clean
//! systems, where they build images.
//!
//! Needs what `system.rs` needs, root, and podman. It compiles piimg as for a release, and bootstraps three images.

#![expect(clippy::disallowed_methods, reason = "tests start piimg's packager and engines of containers")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// Starts a command in a system that is a directory, `$1`, with mounts that end with it. The directory becomes the root of the
/// mount namespace: in a mere chroot the kernel makes no user namespace
/// (<https://man7.org/linux/man-pages/man7/user_namespaces.7.html>).
const INSIDE: &str = "set -e; mount --bind \"$1\" \"$1\"; cd \"$1\"; shift
mount -t proc proc proc; mount --rbind /sys sys; mount --rbind /dev dev; mount -t tmpfs tmpfs run
cp --dereference /etc/resolv.conf etc/resolv.conf
pivot_root . .; umount -l .; cd /; exec \"$@\"";

/// Options of a container in which piimg builds.
const OPTIONS: [&str; 2] = ["seccomp=unconfined", "unmask=ALL"];

/// A directory on a file system in memory if there is one: nothing here has to outlive the test.
fn workplace() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let place = tempfile::Builder::new().prefix("piimg-packaged-").tempdir_in(parent).unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    place
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The package, made once for all tests, or the one that `PIIMG_DEB` names.
static PACKAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(made) = std::env::var_os("PIIMG_DEB") {
        return made.into();
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let made = succeed(Command::new(env!("CARGO")).args(["xtask", "package"]).current_dir(top));
    let package = made.lines().find(|line| line.ends_with(".deb")).expect("the packager tells the path");
    package.into()
});

/// Makes a clean Debian 12 as a directory or archive.
fn clean_system(target: &Path, hooks: &[String]) {
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--mode=root"]);
    command.args(hooks.iter().map(|hook| format!("--customize-hook={hook}")));
    succeed(command.arg("bookworm").arg(target));
}

#[test]
fn the_package_has_what_it_says() {
    let fields = |names: &[&str]| succeed(Command::new("dpkg-deb").arg("--field").arg(&*PACKAGE).args(names));
    for needed in ["mmdebstrap", "e2fsprogs", "libc6 (>= 2."] {
        assert!(fields(&["Depends"]).contains(needed), "{}", fields(&[]));
    }
    assert!(
        fields(&["Suggests"]).contains("qemu-system-arm") && !fields(&["Depends", "Recommends"]).contains("system")
    );
    let content = succeed(Command::new("dpkg-deb").arg("--contents").arg(&*PACKAGE));
    for file in [
        "usr/bin/piimg",
        "usr/share/man/man1/piimg.1.gz",
        "usr/share/man/man1/piimg-plugin-new.1.gz",
        "usr/share/bash-completion/completions/piimg",
        "usr/share/zsh/vendor-completions/_piimg",
        "usr/share/fish/vendor_completions.d/piimg.fish",
        "usr/share/doc/piimg/copyright",
        "usr/share/piimg/ci/audit-against",
    ] {
        assert!(content.lines().any(|line| line.ends_with(&format!("./{file}"))), "{file}:\n{content}");
    }
    assert!(content.lines().all(|line| line.contains(" root/root ") || line.contains(" 0/0 ")), "{content}");
}

#[test]
fn root_and_a_user_build_on_a_clean_system_with_the_package() {
    let place = workplace();
    let tree = place.path().join("tree");
    let hooks = [
        format!("copy-in {} /root", PACKAGE.display()),
        "chroot \"$1\" sh -c 'apt-get install --yes --no-install-recommends /root/*.deb'".to_owned(),
        "chroot \"$1\" useradd --create-home --shell /bin/sh ann".to_owned(),
    ];
    clean_system(&tree, &hooks);
    let inside = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh"]);
        command.arg(&tree).args(arguments);
        command
    };
    let number = format!("piimg {}", env!("CARGO_PKG_VERSION"));
    let version = succeed(&mut inside(&["piimg", "--version"]));
    assert!(version.starts_with(&number), "{version}");
    let builds: [(&str, &[&str]); 2] =
        [("/root", &["sh", "-c", "cd; piimg build"]), ("/home/ann", &["su", "-", "ann", "-c", "piimg build"])];
    for (home, command) in builds {
        let image = succeed(&mut inside(command));
        let image = format!("{home}/{}", image.trim_start_matches("./"));
        succeed(&mut inside(&["piimg", "verify", "--model", "pi4", &image]));
        std::fs::remove_file(tree.join(&image[1..])).unwrap();
    }
}

/// Engine of containers, with a store of images of its own.
struct Podman {
    place: tempfile::TempDir,
}

impl Podman {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        // With both versions of cgroups at once, crun starts nothing:
        // <https://github.com/containers/crun>.
        if Path::new("/sys/fs/cgroup/unified").is_dir() {
            command.args(["--runtime", "runc"]);
        }
        command.arg("--root").arg(self.place.path().join("images"));
        command.arg("--runroot").arg(self.place.path().join("run")).args(arguments);
        command
    }

    /// Runs piimg in the container, in a directory of the host, with a store that it keeps.
    fn piimg(&self, options: &[&str], arguments: &[&str]) -> Command {
        // Without the right to raise limits, which the machine of a test may lack, podman starts none with its own.
        let limits = ["--ulimit", "nofile=8192:8192", "--ulimit", "nproc=8192:8192"];
        let mut command = self.command(&["run", "--rm"]);
        command.args(limits);
        for option in options {
            command.args(["--security-opt", option]);
        }
        command.arg("--volume").arg(format!("{}:/work", self.place.path().join("work").display()));
        command.args(["--volume", "piimg:/var/cache/piimg", "piimg"]).args(arguments);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Its mounts must go before the directory does.
        self.command(&["system", "reset", "--force"]).output().ok();
    }
}

#[test]
fn a_container_builds_with_two_options_and_names_the_one_that_is_missing() {
    let podman = Podman { place: workplace() };
    for name in ["context", "work"] {
        std::fs::create_dir(podman.place.path().join(name)).unwrap();
    }
    let (context, base) = (podman.place.path().join("context"), podman.place.path().join("base.tar"));
    std::fs::copy(&*PACKAGE, context.join("piimg_0_test.deb")).unwrap();
    clean_system(&base, &[]);
    succeed(podman.command(&["import", "--quiet"]).arg(&base).arg("localhost/base"));
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/Containerfile");
    let build = ["build", "--quiet", "--build-arg", "BASE=localhost/base", "--tag", "piimg", "--file"];
    succeed(podman.command(&build).arg(recipe).arg(&context));

    for (given, missing) in [
        (&[][..], "seccomp=unconfined --security-opt unmask=ALL"),
        (&OPTIONS[..1], "unmask=ALL"),
        (&OPTIONS[1..], "seccomp=unconfined"),
    ] {
        let output = podman.piimg(given, &["doctor"]).output().unwrap();
        let hint = format!("hint: start the container with podman run --security-opt {missing}\n");
        assert_eq!(output.status.code(), Some(3), "{given:?}: {}", said(&output));
        assert!(said(&output).ends_with(&hint), "{given:?}: {}", said(&output));
    }
    let image = succeed(&mut podman.piimg(&OPTIONS, &["build"]));
    succeed(&mut podman.piimg(&OPTIONS, &["verify", "--model", "pi4", &image]));
}
