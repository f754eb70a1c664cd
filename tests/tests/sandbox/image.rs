//! Commands that leave an image behind which later steps have to live with, and lie about it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount, umount};
use piimg::report::Who;
use piimg::rootfs::change_tracker::{LayerLimits, Tracker};
use piimg::rootfs::changes::changes;
use piimg::rootfs::files::{FileErrorCode, ImagePath, Rootfs};
use piimg::rootfs::layers::Mounted;
use piimg::sandbox::command::BoxCommand;

use super::{Image, Test, run};

pub(super) const TESTS: [Test; 5] = [
    ("each_change_is_found_whatever_makes_it", changes_are_found),
    ("what_an_overlay_remembers_is_not_reached", overlay),
    ("a_layer_too_deep_or_too_large_is_refused", too_deep),
    ("accounts_and_packages_may_be_anything", databases),
    ("names_are_whatever_they_are", names),
];

const LIMITS: LayerLimits = LayerLimits { files: 10_000, bytes: 1 << 30 };

/// An overlay as a plugin's layer is: an image below, what commands change above.
struct Layer {
    /// Below; it lends its programs.
    image: Image,
    empty: PathBuf,
    disk: PathBuf,
    mounted: Option<Mounted>,
}

impl Layer {
    fn new(name: &str) -> Self {
        let image = Image::new(&format!("{name}-below"));
        for dir in ["opt/mine", "srv/share/a", "etc/skel"] {
            fs::create_dir_all(image.root.join(dir)).unwrap();
        }
        for file in ["etc/issue", "etc/shadow", "etc/skel/a", "etc/skel/b", "opt/mine/x"] {
            fs::write(image.root.join(file), file).unwrap();
        }
        let disk = Path::new("/build").join(format!("{name}-disk"));
        fs::create_dir(&disk).unwrap();
        mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=400m")).unwrap();
        let [upper, work, empty] = ["upper", "work", "empty"].map(|dir| disk.join(dir));
        [&upper, &work, &empty].iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let mounted = Mounted::new(&[image.root.clone(), empty.clone()], &upper, &work).unwrap();
        Self { image, empty, disk, mounted: Some(mounted) }
    }

    fn upper(&self) -> PathBuf {
        self.disk.join("upper")
    }

    fn root(&self) -> &Path {
        self.mounted.as_ref().unwrap().path()
    }

    /// Runs a script, which must succeed.
    fn script(&self, text: &str) -> String {
        let mut command = BoxCommand::new(self.root(), ["sh", "-c", text]);
        command.binds.clone_from(&self.image.binds);
        let (output, said) = run(&command);
        assert_eq!(output.status, 0, "{text}: {said}");
        said
    }

    fn changes(&self) -> Vec<String> {
        let before = Mounted::read_only(&[self.image.root.clone(), self.empty.clone()]).unwrap();
        let found = changes(&self.upper(), before.path(), self.root()).unwrap();
        found.into_iter().map(|change| format!("{} {}", change.path, change.kind)).collect()
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        drop(self.mounted.take());
        umount(&self.disk).unwrap();
        fs::remove_dir(&self.disk).unwrap();
    }
}

fn changes_are_found() {
    for (number, (script, expected)) in [
        ("chmod 600 /etc/issue", "/etc/issue changed (mode)"),
        ("chown 7:8 /etc/issue", "/etc/issue changed (owner)"),
        ("/attack attack xattr /etc/issue user.note", "/etc/issue changed (attributes)"),
        ("/attack attack xattr /etc/issue user.overlay.opaque", "/etc/issue changed (attributes)"),
        ("/attack attack xattr /etc user.overlay.whiteout", "/etc changed (attributes)"),
        ("touch -d @7 /etc/issue", "/etc/issue changed (time)"),
        ("rm -r /etc/skel; mkdir /etc/skel", "/etc/skel/a removed"),
        ("rm -r /srv/share", "/srv/share removed"),
        ("mv /etc/skel /opt/mine/skel", "/etc/skel removed"),
        ("ln /etc/shadow /opt/mine/shadow", "/etc/shadow changed (links)"),
        ("ln /etc/shadow /opt/mine/a; ln /opt/mine/a /opt/mine/b; rm /opt/mine/a", "/etc/shadow changed (links)"),
        ("mv /etc/issue /etc/x; ln -s x /etc/issue", "/etc/issue changed (type, mode, time)"),
        ("ln -s /etc /opt/mine/etc; echo x > /opt/mine/etc/new", "/etc/new added"),
        ("printf x > \"/etc/$(printf 'a\\nb\\033[2J')\"", "/etc/a\nb\u{1b}[2J added"),
        ("printf x > \"/etc/$(printf '\\377')\"", "/etc/\u{fffd} added"),
        ("mkfifo /etc/fifo", "/etc/fifo added"),
        // Back again, but not to the eye of the kernel's clock: nothing is left to be found.
        ("chmod 600 /etc/issue; chmod 644 /etc/issue", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let layer = Layer::new(&format!("lie-{number}"));
        layer.script(script);
        let found = layer.changes();
        let is_found = found.iter().any(|change| change == expected);
        assert!(is_found || expected.is_empty() && found.is_empty(), "{script}: {found:?}");
    }
}

fn overlay() {
    let layer = Layer::new("overlay");
    let said = layer.script(
        "mknod /etc/issue2 c 0 0 2>&1 | grep -o 'not permitted'
        /attack attack xattr /etc trusted.overlay.opaque
        /attack attack xattr /etc user.overlay.opaque
        /attack attack xattr /etc/skel security.capability
        ls -A /etc/skel | tr '\\n' ' '",
    );
    assert_eq!(said.lines().next(), Some("not permitted"), "{said}");
    assert!(said.contains("trusted.overlay.opaque EPERM") && said.ends_with("a b "), "{said}");
    // Neither as it is now nor as the layer of another image does it hide anything.
    drop(layer.changes());
    let again = Mounted::read_only(&[layer.image.root.clone(), layer.empty.clone(), layer.upper()]).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(again.path().join("etc/skel")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    assert!(again.path().join("etc/shadow").exists());
}

fn too_deep() {
    let refused = |script: &str, message: &str| {
        let layer = Layer::new("deep");
        layer.script(script);
        let error = Tracker::<Who>::new(&layer.upper(), LIMITS).attribute_to(None).unwrap_err();
        assert!(format!("{error:#}").contains(message), "{script}: {error:#}");
        Rootfs::open(layer.root(), 0).unwrap().remove(&ImagePath::parse("/opt/mine/d").unwrap(), true)
    };
    let error = refused("cd /opt/mine && /attack attack deep 20000", "too deep: a layer has at most 500").unwrap_err();
    assert_eq!(error.code, FileErrorCode::Limit, "{error}");
    assert!(error.cause().contains("more than 512 levels"), "{error}");
    refused("mkdir /opt/mine/d && truncate -s 2G /opt/mine/d/hole", "longer than 1 GiB together").unwrap();
    refused("mkdir /opt/mine/d && cd /opt/mine/d && seq 10001 | xargs touch", "more than 10000 files").unwrap();
}

fn databases() {
    use piimg::rootfs::accounts::Accounts;
    use piimg::rootfs::packages;

    for (script, accounts, status) in [
        ("rm -rf $1; mkfifo $1", "it is a device, FIFO or socket", "it is a device, FIFO or socket"),
        ("rm -rf $1; mkdir $1", "it is a directory", "it is a directory"),
        ("rm -rf $1; ln -s $1 $1", "a loop or too many symbolic links", "a loop or too many symbolic links"),
        ("rm -rf $1; ln -s /dev/zero $1", "", "there is no such file in the image"),
        ("rm -rf $1; ln -s /proc/1/environ $1", "", "there is no such file in the image"),
        ("rm -rf $1; truncate -s 1G $1", "it is bigger than 4194304 bytes", "it is bigger than 268435456 bytes"),
    ] {
        let layer = Layer::new("databases");
        layer.script("mkdir -p /var/lib/dpkg");
        layer.script(&format!("set -- /etc/passwd; {script}; set -- /var/lib/dpkg/status; {script}"));
        let rootfs = Rootfs::open(layer.root(), 0).unwrap();
        match Accounts::read(&rootfs) {
            Ok(read) => assert!(accounts.is_empty() && read == Accounts::default(), "{script}"),
            Err(error) => assert!(!accounts.is_empty() && error.cause().contains(accounts), "{script}: {error}"),
        }
        let error = format!("{:#}", packages::installed(&rootfs).unwrap_err());
        assert!(error.starts_with("cannot read the image's package database: "), "{error}");
        assert!(error.contains(status), "{script}: {error}");
    }
}

fn names() {
    let layer = Layer::new("names");
    layer.script(
        "cd /opt/mine && touch -- -rf '*' \"$(printf 'a\\nb')\" \"$(printf '\\033[2J')\" \"$(printf '\\342\\200\\256x')\" ' ' \\
            \"$(printf '%0255d' 0)\" && mkdir closed && touch closed/in && chmod 0 closed",
    );
    let rootfs = Rootfs::open(layer.root(), 0).unwrap();
    let mine = ImagePath::parse("/opt/mine").unwrap();
    assert_eq!(rootfs.list_dir(&mine).unwrap().len(), 9);
    let error = rootfs.read(&mine.join("\u{1b}[2J/x").unwrap(), 9).unwrap_err().to_string();
    assert!(error.contains("\\u{1b}[2J"), "{error}");
    layer.script("touch \"/opt/mine/$(printf '\\377')\"");
    assert!(rootfs.list_dir(&mine).unwrap_err().cause().contains("is not UTF-8"));
    assert_eq!(fs::metadata(layer.root().join("opt/mine/closed")).unwrap().mode() & 0o777, 0);
    rootfs.remove(&mine, true).unwrap();
    assert!(!layer.root().join("opt/mine").exists());
}
