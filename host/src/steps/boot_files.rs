//! Files of packages that a release puts on the boot partition: kernel, initramfs, device trees, overlays, firmware.
//!
//! A distribution whose packages do it by themselves, as Debian's `raspi-firmware`, names none. For the others the same
//! files are copied here, from the tree as it is at the end: a plugin may have brought another kernel.
//!
//! A plugin may as well have put a link there. Whatever is on the boot partition can be read by everybody, so a file is
//! taken through a link only if that stays among the files that it is looked for in.

use std::cmp::Ordering;
use std::io::{Cursor, Read as _};

use crate::error::{Context, Failure, Result};
use crate::plugin::capability::glob::matches_path;
use crate::recipe::release::BootFile;
use crate::rootfs::boot_config::DIRECTORY as BOOT;
use crate::rootfs::files::{Attrs, FileErrorCode, FileKind, ImagePath, Metadata, Rootfs};
use crate::ui::printable;

/// Placeholder in a pattern for the version of the newest kernel.
const KERNEL: &str = "{kernel}";

/// Largest file that is copied, and the most that one unpacks to: an initramfs with all modules has 100 MB.
const LIMIT: u64 = 400 << 20;

/// Deepest directory that `**` looks into: device trees lie four below their top.
const DEEPEST: usize = 8;

/// Copies `files` and returns the paths that were written.
///
/// # Errors
/// [`Failure::build`] if one that is needed is missing, or two are to have the same name.
pub(super) fn copy(rootfs: &Rootfs, files: &[BootFile]) -> Result<Vec<String>> {
    let mut written: Vec<String> = Vec::new();
    if files.is_empty() {
        return Ok(written);
    }
    let kernel = newest_kernel(rootfs)?;
    for file in files {
        let pattern = file.from.replace(KERNEL, &kernel);
        let found = find(rootfs, &pattern)?;
        if found.is_empty() && !file.optional {
            return Err(Failure::build(format!("no file of the image matches `{pattern}`, which the Pi boots from"))
                .hint("was a package removed that the release needs? `piimg blame` tells who changed what")
                .into());
        }
        for Found { path: source, content } in found {
            let target = target(file, &source)?;
            if written.iter().any(|path| path.eq_ignore_ascii_case(target.as_str())) {
                return Err(
                    Failure::build(format!("two files are to become `{target}`, the second is `{source}`")).into()
                );
            }
            place(rootfs, &content, &target, file.gunzip).with_context(|| {
                Failure::build(format!("cannot copy `{source}` to the boot partition as `{target}`"))
            })?;
            written.push(target.as_str().to_owned());
        }
    }
    Ok(written)
}

fn place(rootfs: &Rootfs, source: &ImagePath, target: &ImagePath, gunzip: bool) -> Result<()> {
    let tree = rootfs.exact();
    if let Some(parent) = target.parent() {
        tree.make_dir_all(&parent, Attrs { mode: 0o755, uid: 0, gid: 0 })?;
    }
    let mut data = tree.read(source, LIMIT)?.context("it is gone")?;
    if gunzip && data.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(Cursor::new(data)).take(LIMIT + 1).read_to_end(&mut unpacked)?;
        let fits = u64::try_from(unpacked.len()).is_ok_and(|length| length <= LIMIT);
        anyhow::ensure!(fits, "it unpacks to more than {} MiB", LIMIT >> 20);
        data = unpacked;
    }
    Ok(tree.write(target, &data, Attrs { mode: 0o644, uid: 0, gid: 0 })?)
}

/// Returns the path to which a file is copied.
fn target(file: &BootFile, source: &ImagePath) -> Result<ImagePath> {
    let name = source.file_name().unwrap_or_default();
    let inside =
        if file.to.is_empty() || file.to.ends_with('/') { format!("{}{name}", file.to) } else { file.to.clone() };
    Ok(ImagePath::parse(&format!("{BOOT}/{inside}"))?)
}

/// Returns the version of the newest kernel in `/boot`.
fn newest_kernel(rootfs: &Rootfs) -> Result<String> {
    let names = rootfs.exact().list(&ImagePath::parse("/boot")?)?.unwrap_or_default();
    let versions = names.iter().filter_map(|(name, _)| name.strip_prefix("vmlinuz-"));
    let newest = versions.max_by(|a, b| compare_versions(a, b));
    newest.map(str::to_owned).context(Failure::build("the image has no kernel: there is no `/boot/vmlinuz-*`"))
}

/// Orders version numbers: runs of digits by their value, everything else by its bytes.
fn compare_versions(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| {
        let mut parts: Vec<(String, u64)> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(word);
            let number = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            let (number, tail) = tail.split_at(number);
            parts.push((word.to_owned(), number.parse().unwrap_or_default()));
            rest = tail;
        }
        parts
    };
    parts(a).cmp(&parts(b))
}

/// A file that matches a pattern.
#[derive(Debug)]
struct Found {
    /// Path that matches the pattern.
    path: ImagePath,
    /// Path of the content: another one if `path` is a link.
    content: ImagePath,
}

/// Files that match `pattern`, links to files included, sorted.
fn find(rootfs: &Rootfs, pattern: &str) -> Result<Vec<Found>> {
    let fixed = pattern.split_once('*').map_or(pattern, |(before, _)| before);
    let top = ImagePath::parse(fixed.rsplit_once('/').map_or("/", |(top, _)| if top.is_empty() { "/" } else { top }))?;
    let mut paths = Vec::new();
    if fixed == pattern {
        paths.push(ImagePath::parse(pattern)?);
    } else {
        let levels = || pattern.matches('/').count() - top.as_str().matches('/').count();
        let depth = if pattern.contains("**") { DEEPEST } else { levels() };
        walk(rootfs, &top, pattern, depth, &mut paths)?;
    }
    paths.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    let mut found = Vec::new();
    for path in paths {
        if let Some(content) = content(rootfs, &top, &path)? {
            found.push(Found { path, content });
        }
    }
    Ok(found)
}

fn walk(rootfs: &Rootfs, directory: &ImagePath, pattern: &str, depth: usize, found: &mut Vec<ImagePath>) -> Result<()> {
    for (name, kind) in rootfs.exact().list(directory)?.unwrap_or_default() {
        let path = directory.join(&name)?;
        if kind == FileKind::Directory {
            if depth > 1 {
                walk(rootfs, &path, pattern, depth - 1, found)?;
            }
        } else if matches_path(pattern, path.as_str()) {
            found.push(path);
        }
    }
    Ok(())
}

/// Resolves a link at `path` and returns the path of the file; `None` if there is no file.
///
/// # Errors
/// [`Failure::build`] if a link leads out of `top`.
fn content(rootfs: &Rootfs, top: &ImagePath, path: &ImagePath) -> Result<Option<ImagePath>> {
    let tree = rootfs.exact();
    let is_file = |metadata: Option<Metadata>| metadata.is_some_and(|metadata| metadata.kind == FileKind::File);
    let Some(metadata) = tree.metadata(path)? else { return Ok(None) };
    if metadata.kind != FileKind::Symlink {
        return Ok(is_file(Some(metadata)).then(|| path.clone()));
    }
    let target = match rootfs.resolve(path) {
        Ok(target) => target,
        Err(error) if matches!(error.code, FileErrorCode::NotFound | FileErrorCode::NotADirectory) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let is_inside = target.as_str().strip_prefix(top.as_str()).is_some_and(|it| it.starts_with('/'));
    if !is_inside {
        let (path, target) = (printable(path.as_str()), printable(target.as_str()));
        let text = format!("`{path}` is a link to `{target}`, which is not among the files that a Pi boots from");
        let hint = format!("everybody can read a boot partition: only files below `{top}` are taken for it");
        return Err(Failure::build(text).hint(hint).into());
    }
    Ok(is_file(tree.metadata(&target)?).then_some(target))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    fn entry(from: &str, to: &str) -> BootFile {
        BootFile { from: from.into(), to: to.into(), gunzip: false, optional: false }
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn files_of_the_newest_kernel_are_copied() {
        let kernel = packed("kernel");
        let dir = tree(&[
            ("boot/vmlinuz-5.4.0-99-raspi", b"old"),
            ("boot/vmlinuz-5.4.0-1100-raspi", &kernel),
            ("usr/lib/firmware/5.4.0-99-raspi/device-tree/broadcom/bcm2711-rpi-4-b.dtb", b"old"),
            ("usr/lib/firmware/5.4.0-1100-raspi/device-tree/broadcom/bcm2711-rpi-4-b.dtb", b"tree"),
            ("usr/lib/firmware/5.4.0-1100-raspi/device-tree/bcm2709-rpi-2-b.dtb", b"32 bits"),
            ("usr/lib/firmware/5.4.0-1100-raspi/device-tree/broadcom/notes.txt", b""),
            ("usr/lib/firmware/5.4.0-1100-raspi/device-tree/overlays/dwc2.dtbo", b"overlay"),
            ("usr/lib/linux-firmware-raspi/start4.elf", b"start"),
            ("usr/lib/linux-firmware-raspi/LICENCE", b""),
        ]);
        std::os::unix::fs::symlink("start4.elf", dir.path().join("usr/lib/linux-firmware-raspi/start4x.elf")).unwrap();
        let files = [
            BootFile { gunzip: true, ..entry("/boot/vmlinuz-{kernel}", "vmlinux") },
            entry("/usr/lib/firmware/{kernel}/device-tree/**/bcm2*.dtb", ""),
            entry("/usr/lib/firmware/{kernel}/device-tree/overlays/*", "overlays/"),
            entry("/usr/lib/linux-firmware-raspi*/start*.elf", ""),
            BootFile { optional: true, ..entry("/usr/lib/u-boot/*", "") },
        ];
        let rootfs = Rootfs::open(dir.path(), 0).unwrap();
        let written = copy(&rootfs, &files).unwrap();
        let names: Vec<&str> = written.iter().map(|path| path.strip_prefix("/boot/firmware/").unwrap()).collect();
        let trees = ["bcm2709-rpi-2-b.dtb", "bcm2711-rpi-4-b.dtb"];
        assert_eq!(names, [&["vmlinux"][..], &trees, &["overlays/dwc2.dtbo", "start4.elf", "start4x.elf"]].concat());
        let text = |name: &str| fs::read_to_string(dir.path().join("boot/firmware").join(name)).unwrap();
        assert_eq!((text("vmlinux"), text("bcm2711-rpi-4-b.dtb")), ("kernel".into(), "tree".into()));
        assert_eq!(text("start4x.elf"), "start");
    }

    #[test]
    fn what_is_missing_or_there_twice_is_named() {
        let dir = tree(&[("boot/vmlinuz-6.8", b"k"), ("a/x.dtb", b""), ("b/X.dtb", b"")]);
        let rootfs = Rootfs::open(dir.path(), 0).unwrap();
        let error = copy(&rootfs, &[entry("/boot/initrd.img-{kernel}", "initrd.img")]).unwrap_err().to_string();
        assert_eq!(error, "no file of the image matches `/boot/initrd.img-6.8`, which the Pi boots from");
        let error = copy(&rootfs, &[entry("/a/*", ""), entry("/b/*", "")]).unwrap_err().to_string();
        assert_eq!(error, "two files are to become `/boot/firmware/X.dtb`, the second is `/b/X.dtb`");
        let empty = tree(&[("boot/config", b"")]);
        let rootfs = Rootfs::open(empty.path(), 0).unwrap();
        let error = copy(&rootfs, &[entry("/boot/vmlinuz-{kernel}", "vmlinuz")]).unwrap_err().to_string();
        assert_eq!(error, "the image has no kernel: there is no `/boot/vmlinuz-*`");
        assert!(copy(&rootfs, &[]).unwrap().is_empty(), "a release without boot files needs no kernel here");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (older, newer) in [
            ("5.4.0-99-raspi", "5.4.0-1100-raspi"),
            ("5.15.0-1069-raspi", "6.8.0-1018-raspi"),
            ("6.8.0-1018-raspi", "6.8.0-1018.1-raspi"),
            ("6.12.9", "6.12.10"),
        ] {
            assert_eq!(compare_versions(older, newer), Ordering::Less, "{older} {newer}");
        }
    }

    /// A tree with a kernel, in which `path` is a link, beside files that must not be published.
    fn tree_with_link(path: &str, target: &str) -> tempfile::TempDir {
        let files = ["boot/vmlinuz-6.8", "boot/other", "etc/shadow", "usr/lib/f/start.elf", "usr/lib/g/x"];
        let dir = tree(&files.map(|name| (name, &b"secret"[..])));
        let place = dir.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if fs::symlink_metadata(&place).is_ok_and(|metadata| metadata.is_dir()) {
            fs::remove_dir_all(&place).unwrap();
        } else {
            fs::remove_file(&place).ok();
        }
        std::os::unix::fs::symlink(target, place).unwrap();
        dir
    }

    #[test]
    fn a_link_out_of_where_files_are_looked_for_is_not_followed() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "of the host").unwrap();
        let outside = outside.path().to_str().unwrap();
        let files =
            [entry("/boot/vmlinuz-{kernel}", "vmlinuz"), BootFile { optional: true, ..entry("/usr/lib/f/*.elf", "") }];
        let not_among = "is not among the files that a Pi boots from";
        for (path, target, expected) in [
            ("boot/vmlinuz-6.8", "other", Ok(2)),
            ("boot/vmlinuz-6.8", "/boot/../boot/other", Ok(2)),
            ("boot/vmlinuz-6.8", "/etc/shadow", Err(not_among)),
            ("boot/vmlinuz-6.8", "../etc/shadow", Err(not_among)),
            ("boot/vmlinuz-6.8", "../../../../etc/shadow", Err(not_among)),
            ("boot/vmlinuz-6.8", outside, Err("no file of the image matches `/boot/vmlinuz-6.8`")),
            ("boot/vmlinuz-6.8", "vmlinuz-6.8", Err("a loop or too many symbolic links")),
            ("boot/vmlinuz-6.8", "/boot", Err(not_among)),
            ("boot", "/usr/lib", Err("it is a symbolic link to `/usr/lib`")),
            ("usr/lib/f/start.elf", "/etc/shadow", Err(not_among)),
            ("usr/lib/f/start.elf", "../g/x", Err(not_among)),
            ("usr/lib/f/start.elf", outside, Ok(1)),
            ("usr/lib/f", "/usr/lib/g", Err("it is a symbolic link to `/usr/lib/g`")),
            ("usr/lib", "/etc", Err("`/usr/lib` is a symbolic link to `/etc`")),
            // Where they go.
            ("boot/firmware", "/etc", Err("is a symbolic link to `/etc`")),
            ("boot/firmware/vmlinuz", "/etc/shadow", Ok(2)),
            ("boot/firmware/vmlinuz", outside, Ok(2)),
        ] {
            let dir = tree_with_link(path, target);
            let rootfs = Rootfs::open(dir.path(), 0).unwrap();
            match (copy(&rootfs, &files), expected) {
                (Ok(written), Ok(count)) => assert_eq!(written.len(), count, "{path} {target}"),
                (Err(error), Err(cause)) => assert!(format!("{error:#}").contains(cause), "{path}: {error:#}"),
                (result, _) => panic!("{path} {target}: {result:?}"),
            }
            let shadow = dir.path().join("etc/shadow");
            assert_eq!(fs::read_to_string(shadow).unwrap(), "secret", "{path} {target}");
            assert_eq!(fs::read_to_string(outside).unwrap(), "of the host");
            let written = dir.path().join("boot/firmware/vmlinuz");
            assert!(expected.is_err() || fs::symlink_metadata(written).unwrap().is_file(), "{path} {target}");
        }
    }

    #[test]
    fn what_is_no_file_is_neither_opened_nor_waited_for() {
        use rustix::fs::{CWD, FileType, Mode};
        let dir = tree(&[("usr/lib/f/start.elf", b"start")]);
        fs::create_dir(dir.path().join("boot")).unwrap();
        for name in ["boot/vmlinuz-6.8", "usr/lib/f/start4.elf"] {
            rustix::fs::mknodat(CWD, dir.path().join(name), FileType::Fifo, Mode::RUSR, 0).unwrap();
        }
        fs::create_dir(dir.path().join("usr/lib/f/dir.elf")).unwrap();
        let rootfs = Rootfs::open(dir.path(), 0).unwrap();
        let error = copy(&rootfs, &[entry("/boot/vmlinuz-{kernel}", "")]).unwrap_err().to_string();
        assert_eq!(error, "no file of the image matches `/boot/vmlinuz-6.8`, which the Pi boots from");
        assert_eq!(copy(&rootfs, &[entry("/usr/lib/f/*.elf", "")]).unwrap(), ["/boot/firmware/start.elf"]);
    }
}
