//! An image whose apt lies: it names addresses of its own, files that no archive has, and places outside.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use piimg::recipe::fetching::Fetching;
use piimg::rootfs::packages::{Apt, Archive};
use piimg::ui::{Ui, Verbosity};
use piimg_tests::repository::Server;
use sha2::{Digest as _, Sha256};

use super::{Image, Test};

pub(super) const TESTS: [Test; 3] = [
    ("an_apt_that_lies_has_nothing_asked_for", lies),
    ("a_package_is_fetched_from_where_the_signed_list_says", truth),
    ("a_package_of_the_store_is_compared_at_each_use", damage),
];

const FILE: &str = "good_1_all.deb";
const CONTENT: &[u8] = b"what was signed for";

/// Says what is in `/lines` when it is asked for addresses, and takes the package when it is to install.
const APT: &str = "#!/bin/sh
case \" $* \" in
*' --print-uris '*) cat /lines ;;
*) cp /var/cache/apt/archives/*.deb /taken/ 2>/dev/null; echo \"$@\" >/called ;;
esac
exit 0
";

/// An image with such an apt, a signed list, the server of its archive, and an address that nobody is to ask.
struct Place {
    image: Image,
    directory: PathBuf,
    mounted: Vec<PathBuf>,
    archive: Archive,
    server: Server,
    stranger: TcpListener,
}

impl Place {
    fn new() -> Self {
        let image = Image::new("apt");
        let mut mounted = Vec::new();
        for bind in &image.binds {
            let target = image.root.join(bind.target.strip_prefix("/").unwrap());
            mount(Some(&bind.source), &target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).unwrap();
            mounted.push(target);
        }
        for directory in ["own", "taken", "var/cache/apt/archives", "var/lib/apt/lists", "var/lib/dpkg"] {
            fs::create_dir_all(image.root.join(directory)).unwrap();
        }
        fs::write(image.root.join("own/apt-get"), APT).unwrap();
        fs::set_permissions(image.root.join("own/apt-get"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(image.root.join("var/lib/dpkg/status"), "").unwrap();
        let directory = Path::new("/build/apt-place").to_owned();
        for name in ["archive/pool", "lists/partial", "index/archives", "cache"] {
            fs::create_dir_all(directory.join(name)).unwrap();
        }
        fs::write(directory.join("archive/pool").join(FILE), CONTENT).unwrap();
        let server = Server::new(&directory.join("archive"));
        let digest = hex(&Sha256::digest(CONTENT));
        let list = format!(
            "Package: good\nVersion: 1\nArchitecture: all\nFilename: pool/{FILE}\nSize: {}\nSHA256: {digest}\n\n",
            CONTENT.len()
        );
        fs::write(directory.join("lists/one_Packages"), list).unwrap();
        fs::write(directory.join("origins"), format!("{{\"one_Packages\":\"{}/\"}}", server.url())).unwrap();
        let archive = Archive {
            lists: directory.join("lists"),
            origins: directory.join("origins"),
            index: directory.join("index"),
            cache: directory.join("cache"),
            apt: Apt {
                native: "/own/apt-get",
                architecture: "arm64".into(),
                preferences: None,
                sources: None,
                environment: Default::default(),
            },
            fetching: Fetching { retries: 0, ..Fetching::default() },
            epoch: 0,
        };
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        stranger.set_nonblocking(true).unwrap();
        Self { image, directory, mounted, archive, server, stranger }
    }

    /// Has apt say `line`, in which `STRANGER` is the address that nobody is to ask, and installs `spec`.
    fn install(&self, line: &str, spec: &str) -> Result<(), String> {
        let stranger = self.stranger.local_addr().unwrap().to_string();
        fs::write(self.image.root.join("lines"), line.replace("STRANGER", &stranger) + "\n").unwrap();
        fs::remove_file(self.image.root.join("called")).ok();
        let ui = Ui::new(Verbosity::Quiet);
        let step = ui.step("Install");
        let specs = [spec.to_owned()];
        let (root, stage) = (&self.image.root, &self.directory);
        let chosen = self.archive.choose(root, &specs, false);
        let installed = chosen.and_then(|chosen| self.archive.install(root, stage, &specs, false, &chosen, &step));
        assert_eq!(self.stranger.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{line} was asked for");
        installed.map(drop).map_err(|error| format!("{error:#}"))
    }

    /// The package's file in the store: by its digest, so that one of the same name and version is another one.
    fn kept(&self) -> PathBuf {
        self.directory.join("cache").join(hex(&Sha256::digest(CONTENT)))
    }

    fn taken(&self) -> Vec<u8> {
        fs::read(self.image.root.join("taken").join(FILE)).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for target in self.mounted.iter().rev() {
            umount2(target, MntFlags::MNT_DETACH).unwrap();
        }
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lies() {
    let place = Place::new();
    let length = CONTENT.len();
    for (line, said) in [
        ("'http://STRANGER/steal?x' other_1_all.deb 10 SHA256:aa".to_owned(), "`other_1_all.deb`, which is not in"),
        ("'http://STRANGER/x' good_2_all.deb 10".to_owned(), "`good_2_all.deb`, which is not in the signed lists"),
        (format!("'http://STRANGER/x' {FILE} {}", length + 1), "`good_1_all.deb`, which is not in the signed lists"),
        (format!("'http://STRANGER/x' ../{FILE} {length}"), "apt printed an unexpected line"),
        ("'file:///etc/shadow' /etc/shadow 10".to_owned(), "apt printed an unexpected line"),
        ("'copy:/store/x' x\\u{1b}_1_all.deb 10".replace("\\u{1b}", "\u{1b}"), "which is not in the signed lists"),
    ] {
        let error = place.install(&line, "good").unwrap_err();
        assert!(error.contains(said) && !error.contains('\u{1b}'), "{line}: {error}");
        assert!(!place.image.root.join("called").exists(), "{line}: it was called to install");
    }
    // Nor is it asked for what there is not.
    for (spec, said) in [
        ("g..d", "the archive has no package `g..d`"),
        ("good=1+", "no version `1+` of the package `good`"),
        ("good-", "must be a package name"),
        ("--reinstall", "must be a package name"),
        ("good=1-", "must be a version"),
    ] {
        let error = place.install("", spec).unwrap_err();
        assert!(error.contains(said), "{spec}: {error}");
    }
    assert_eq!(place.server.asked(), [""; 0]);
}

fn truth() {
    let place = Place::new();
    place.install(&format!("'http://STRANGER/pool/{FILE}' {FILE} {} SHA256:00", CONTENT.len()), "good").unwrap();
    assert_eq!(place.server.asked(), [format!("/pool/{FILE}")]);
    assert_eq!(place.taken(), CONTENT);
    assert!(fs::read_to_string(place.image.root.join("called")).unwrap().ends_with(" install -- good\n"));
    // What the archive serves in its place is refused.
    fs::remove_file(place.kept()).unwrap();
    fs::write(place.directory.join("archive/pool").join(FILE), [b'x'; CONTENT.len()]).unwrap();
    let error = place.install(&format!("'x' {FILE} {}", CONTENT.len()), "good").unwrap_err();
    assert!(error.contains("it is not what the archive's signature says"), "{error}");
    assert!(!place.kept().exists());
}

fn damage() {
    let place = Place::new();
    let line = format!("'x' {FILE} {}", CONTENT.len());
    place.install(&line, "good").unwrap();
    place.install(&line, "good").unwrap();
    assert_eq!(place.server.asked().len(), 1, "a whole one serves again");
    let kept = place.kept();
    for damaged in [&[b'x'; CONTENT.len()][..], b"short", b""] {
        let asked = place.server.asked().len();
        fs::write(&kept, damaged).unwrap();
        place.install(&line, "good").unwrap();
        assert_eq!((place.taken(), fs::read(&kept).unwrap()), (CONTENT.to_vec(), CONTENT.to_vec()));
        assert_eq!(place.server.asked().len(), asked + 1);
    }
}
