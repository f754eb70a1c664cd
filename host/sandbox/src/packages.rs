//! Debian and Ubuntu packages that piimg uses, each with its programs and its purpose: one list for piimg itself, for the
//! set-up of a developer's machine and for what the package of piimg depends on.
//!
//! Plain data that uses nothing: `xtask`, which depends on nothing of piimg, compiles this file too.

/// Purpose of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Every build of an image.
    Build,
    /// Builds by an ordinary user.
    UserBuild,
    /// Builds for another architecture than the machine's.
    ForeignBuild,
    /// Servers of https, whose certificates somebody must vouch for.
    Https,
    /// Use of results: decompressing and flashing images.
    Results,
    /// `piimg boot`.
    Boot,
    /// Plugins that are scripts in Python.
    Python,
    /// Compiling piimg itself.
    Compile,
    /// Tests of piimg itself.
    Test,
    /// The longest tests of piimg itself.
    LongTest,
    /// Fuzz targets of piimg itself.
    Fuzz,
    /// Packages of piimg itself.
    Package,
}

/// Purposes of what must be there wherever images are built.
pub const BUILDS: [Purpose; 3] = [Purpose::Build, Purpose::UserBuild, Purpose::ForeignBuild];

/// A package.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    pub name: &'static str,
    /// Its programs that piimg starts.
    pub programs: &'static [&'static str],
    /// A file that is there where the package is installed.
    pub file: &'static str,
    pub reason: &'static str,
    pub purpose: Purpose,
    /// Whether every Debian system has it: nothing may say that it depends on it
    /// (<https://www.debian.org/doc/debian-policy/ch-binary.html#essential-packages>).
    pub is_essential: bool,
}

const fn package(
    purpose: Purpose,
    name: &'static str,
    programs: &'static [&'static str],
    file: &'static str,
    reason: &'static str,
) -> Package {
    Package { name, programs, file, reason, purpose, is_essential: false }
}

/// All of them, those of a build first.
pub const PACKAGES: &[Package] = &[
    package(Purpose::Build, "mmdebstrap", &["mmdebstrap"], "/usr/bin/mmdebstrap", "bootstraps the root file system"),
    package(Purpose::Build, "apt", &["apt-get"], "/usr/bin/apt-get", "fetches packages"),
    Package {
        is_essential: true,
        ..package(Purpose::Build, "tar", &["tar"], "/bin/tar", "reads and writes archives of root file systems")
    },
    package(
        Purpose::Build,
        "debian-archive-keyring",
        &[],
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "checks the signature of Debian's archive",
    ),
    package(Purpose::Build, "gpg", &["gpg"], "/usr/bin/gpg", "reads the key rings of archives"),
    package(
        Purpose::UserBuild,
        "uidmap",
        &["newuidmap", "newgidmap"],
        "/usr/bin/newuidmap",
        "lets an ordinary user build",
    ),
    package(
        Purpose::ForeignBuild,
        "qemu-user-static",
        &["qemu-aarch64-static", "qemu-arm-static", "qemu-x86_64-static"],
        "/usr/bin/qemu-aarch64-static",
        "runs programs of another architecture during the build",
    ),
    package(
        Purpose::Build,
        "e2fsprogs",
        &["mke2fs", "e2fsck", "debugfs"],
        "/usr/sbin/mke2fs",
        "writes and checks the root partition",
    ),
    package(Purpose::Build, "dosfstools", &["fsck.fat"], "/usr/sbin/fsck.fat", "checks the boot partition"),
    package(Purpose::Build, "fdisk", &["sfdisk"], "/usr/sbin/sfdisk", "checks the partition table"),
    package(
        Purpose::Https,
        "ca-certificates",
        &[],
        "/etc/ssl/certs/ca-certificates.crt",
        "vouches for servers of https",
    ),
    package(Purpose::Results, "bmap-tools", &[], "/usr/bin/bmaptool", "flashes images by their block map"),
    package(Purpose::Results, "xz-utils", &[], "/usr/bin/xz", "decompresses images"),
    package(Purpose::Results, "zstd", &[], "/usr/bin/zstd", "decompresses images"),
    package(
        Purpose::Boot,
        "qemu-system-arm",
        &["qemu-system-aarch64"],
        "/usr/bin/qemu-system-aarch64",
        "boots images (`piimg boot`)",
    ),
    package(Purpose::Python, "python3", &["python3"], "/usr/bin/python3", "reads plugins that are scripts in Python"),
    package(
        Purpose::Python,
        "python3-venv",
        &[],
        "/usr/share/doc/python3-venv",
        "installs what makes plugins of Python scripts",
    ),
    package(Purpose::Compile, "gcc", &[], "/usr/bin/cc", "links Rust programs and compiles the assembly in wasmtime"),
    package(Purpose::Compile, "libc6-dev", &[], "/usr/include/stdio.h", "links Rust programs"),
    package(Purpose::Test, "mtools", &[], "/usr/bin/mdir", "reads boot partitions independently of piimg"),
    package(Purpose::Test, "libcap2-bin", &[], "/sbin/getcap", "reads file capabilities independently of piimg"),
    package(Purpose::Test, "gpg-agent", &[], "/usr/bin/gpg-agent", "signs made-up archives"),
    package(Purpose::Test, "curl", &[], "/usr/bin/curl", "must find the proxy of a box"),
    package(Purpose::Test, "wget", &[], "/usr/bin/wget", "must find the proxy of a box"),
    package(Purpose::Test, "git", &[], "/usr/bin/git", "must find the proxy of a box, and serves commits to piimg"),
    package(Purpose::Test, "python3-pytest", &[], "/usr/lib/python3/dist-packages/pytest", "tests plugins in Python"),
    package(Purpose::LongTest, "podman", &[], "/usr/bin/podman", "runs piimg in a container"),
    package(Purpose::LongTest, "runc", &[], "/usr/bin/runc", "starts containers where crun cannot"),
    package(Purpose::Fuzz, "g++", &[], "/usr/bin/c++", "compiles libFuzzer"),
    package(Purpose::Package, "dpkg-dev", &[], "/usr/bin/dpkg-shlibdeps", "finds the libraries that piimg needs"),
    package(Purpose::Package, "binutils", &[], "/usr/bin/objcopy", "moves debug symbols into a package of their own"),
];
