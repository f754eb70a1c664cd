//! Packages whose scripts look for whatever of the build and of the host they can reach, while an image is bootstrapped:
//! one that dpkg installs among the first, for the image and for the native tools, and one that apt installs.

use std::net::TcpListener;
use std::path::PathBuf;

use piimg_tests::repository::Package;

use super::archive::{Archives, TOKEN};
use super::image::Image;

pub(crate) const ESSENTIAL: &str = "probe-essential";
pub(crate) const ORDINARY: &str = "probe";

/// Writes what it finds below `/usr/share`, by the package's name and the script's.
const SCRIPT: &str = r#"#!/bin/sh
found=/usr/share/found-NAME-SCRIPT
mkdir -p $found
env >$found/environment
cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' >>$found/environment
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' >$found/commands
# apt has its lists open, whose names hold the address of the mirror, which no image may have.
for descriptor in /proc/[0-9]*/fd/*; do readlink $descriptor; done | grep -v ^/var/lib/apt/lists/ >$found/descriptors
for place in / /proc/[0-9]*/root/ /proc/[0-9]*/cwd/ /proc/[0-9]*/fd/*/; do
    for name in store store.json data layers stage build root/.config; do
        [ ! -e $place$name ] || echo $place$name
    done
done >$found/places
for secret in root cwd exe mem maps environ fd/0 fd/1 fd/2 fd/3 fd/4; do
    (readlink /proc/1/$secret || ls /proc/1/$secret/. || head -c 1 /proc/1/$secret) >/dev/null 2>&1 && echo $secret
done >$found/first
mkdir -p /tmp/mounted
(mount -t tmpfs none /tmp/mounted || unshare -m true || chroot /proc/1/root true || mknod /tmp/disk b 7 0) \
    >/dev/null 2>&1 && echo yes >$found/power
cat /proc/net/dev >$found/network
(bash -c 'exec 3<>/dev/tcp/127.0.0.1/PORT' && echo connected) >>$found/network 2>/dev/null
cat /etc/resolv.conf /etc/hostname >$found/host 2>/dev/null
exit 0
"#;

/// What a script may find in its environment: the build's few, and what dpkg, apt, debconf and the shell set themselves.
const VARIABLES: [&str; 18] = [
    "PATH",
    "HOME",
    "LC_ALL",
    "TERM",
    "DEBIAN_FRONTEND",
    "SYSTEMD_OFFLINE",
    "container",
    "SOURCE_DATE_EPOCH",
    "INITRD",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "DPKG_",
    "DEB_",
    "APT_",
    "DEBCONF_",
    "DEBIAN_HAS_FRONTEND",
];

/// The packages, and what nobody is to connect to.
pub(crate) struct Probes {
    pub(crate) essential: Package,
    pub(crate) ordinary: Package,
    listener: TcpListener,
}

impl Probes {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let script =
            |name: &str, script: &str| SCRIPT.replace("NAME", name).replace("SCRIPT", script).replace("PORT", &port);
        let package = |name: &str| {
            let package = Package::new(name, "1.0", "all").field("Multi-Arch", "foreign");
            package.script("preinst", &script(name, "preinst")).script("postinst", &script(name, "postinst"))
        };
        Self { essential: package(ESSENTIAL).essential(), ordinary: package(ORDINARY), listener }
    }

    /// The scripts ran, in the image and in the tools, and found nothing.
    #[track_caller]
    pub(crate) fn found_nothing(&self, archives: &Archives, image: &Image) {
        for name in [ESSENTIAL, ORDINARY] {
            for script in ["preinst", "postinst"] {
                let directory = format!("/usr/share/found-{name}-{script}");
                check(&directory, &|file| image.root(&format!("{directory}/{file}")));
            }
        }
        let layers = std::fs::read_dir(archives.path("store/data/layers")).unwrap();
        let tools: Vec<PathBuf> = layers
            .map(|layer| layer.unwrap().path().join("fs/.piimg/tools/usr/share"))
            .filter(|share| share.exists())
            .collect();
        assert_eq!(!tools.is_empty(), archives.native_dpkg().is_some());
        for share in tools {
            let directory = share.join(format!("found-{ESSENTIAL}-postinst"));
            check(&directory.display().to_string(), &|file| {
                let file = directory.join(file);
                // Not written if there was nothing.
                if file.exists() { std::fs::read_to_string(&file).unwrap() } else { String::new() }
            });
        }
        let error = self.listener.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "a script reached the host's network");
    }
}

#[track_caller]
fn check(place: &str, text: &dyn Fn(&str) -> String) {
    let environment = text("environment");
    assert!(environment.contains("HOME=/root"), "{place}: the script did not run:\n{environment}");
    assert!(!environment.contains(TOKEN), "{place}:\n{environment}");
    for line in environment.lines().filter(|line| line.contains('=')) {
        let name = line.split('=').next().unwrap();
        let known = VARIABLES.iter().any(|known| name == *known || (known.ends_with('_') && name.starts_with(known)));
        assert!(known, "{place}: a variable that nobody needs: {line}");
    }
    for role in ["__build", "__inside", "mmdebstrap", "build\n"] {
        assert!(!text("commands").contains(role), "{place}: a process of the build is seen:\n{}", text("commands"));
    }
    for file in ["places", "first", "power"] {
        assert_eq!(text(file).trim(), "", "{place}/{file}");
    }
    // The image is called as the box is; native tools have no name.
    let host = text("host");
    assert!(["", "image"].contains(&host.trim()), "{place}: {host}");
    let descriptors = text("descriptors");
    for kind in ["socket:", "memfd:", "/store", "piimg"] {
        assert!(!descriptors.contains(kind), "{place}: a descriptor of the build:\n{descriptors}");
    }
    let network = text("network");
    assert!(!network.contains("connected"), "{place}:\n{network}");
    let interfaces: Vec<&str> = network.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(interfaces, ["lo"], "{place}");
}
