//! Paths of an image full of links: where one leads, found a second time by walking it, and that it never leads out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use arbitrary::{Result, Unstructured};
use piimg::rootfs::files::{Attrs, ImagePath, Rootfs};

use super::naive::{choices, words};

/// A directory with an image in it, and a file beside that no path of the image may lead to.
#[derive(Debug)]
pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        fs::create_dir(dir.path().join("image")).expect("a directory can be made");
        fs::create_dir(dir.path().join("outside")).expect("a directory can be made");
        fs::write(dir.path().join("outside/secret"), "outside").expect("a file can be written");
        Self(dir)
    }

    pub(super) fn image(&self) -> PathBuf {
        self.0.path().join("image")
    }

    /// Lists everything there is, by its path from the directory on: what kind it is, whose, and what is in it.
    pub(super) fn listing(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut rest = vec![PathBuf::new()];
        while let Some(inner) = rest.pop() {
            let path = self.0.path().join(&inner);
            let metadata = fs::symlink_metadata(&path).expect("it can be looked at");
            let content = if metadata.is_symlink() {
                fs::read_link(&path).expect("a link can be read").into_os_string().into_encoded_bytes()
            } else if metadata.is_dir() {
                let entries = fs::read_dir(&path).expect("a directory can be read");
                rest.extend(entries.map(|entry| inner.join(entry.expect("a directory can be read").file_name())));
                Vec::new()
            } else {
                fs::read(&path).expect("a file can be read")
            };
            let text = format!("{:o} {} {} {content:?}", metadata.mode(), metadata.uid(), metadata.gid());
            found.insert(inner.to_string_lossy().into_owned(), text);
        }
        found
    }
}

enum Node {
    Directory,
    File,
    Link(&'static str),
}

const NAMES: [&str; 5] = ["a", "b", "c", "a/b", "b/c"];
const TARGETS: [&str; 16] = [
    "a",
    "b",
    "c",
    "/",
    ".",
    "..",
    "../..",
    "/a",
    "/b/c",
    "a/../b",
    "../../outside",
    "/../outside/secret",
    "../../../../../../etc",
    "c/",
    "none",
    "/proc/self/root/etc",
];
const PARTS: [&str; 9] = ["a", "b", "c", "..", ".", "", "outside", "secret", "none"];

/// So many links are surely within what piimg and the kernel follow.
const FEW_LINKS: usize = 30;

/// Makes an image of some of these names, and says what is in it.
fn make(input: &mut Unstructured<'_>, tree: &Tree) -> Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::new();
    for _ in 0..input.int_in_range(0..=7)? {
        let name = *input.choose(&NAMES)?;
        let path = tree.image().join(name);
        let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
        let is_free = !nodes.contains_key(name);
        if !is_free || !(parent.is_empty() || matches!(nodes.get(parent), Some(Node::Directory))) {
            continue;
        }
        let node = match input.int_in_range(0..=3)? {
            0 => Node::File,
            1 => Node::Directory,
            _ => Node::Link(input.choose(&TARGETS)?),
        };
        match &node {
            Node::File => fs::write(path, name).expect("a file can be written"),
            Node::Directory => fs::create_dir(path).expect("a directory can be made"),
            Node::Link(target) => symlink(target, path).expect("a link can be made"),
        }
        nodes.insert(name.to_owned(), node);
    }
    Ok(nodes)
}

/// Finds where a path leads; `None` if nowhere. Nothing but the last name may be missing.
fn walk(nodes: &BTreeMap<String, Node>, path: &str, links: &mut usize) -> Option<String> {
    let parts = |text: &str| -> Vec<String> {
        let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.rev().map(str::to_owned).collect()
    };
    // The next one last.
    let mut rest = parts(path);
    let mut place: Vec<String> = Vec::new();
    while let Some(part) = rest.pop() {
        if part == ".." {
            place.pop();
            continue;
        }
        place.push(part);
        match nodes.get(&place.join("/")) {
            Some(Node::Directory) => {}
            Some(Node::Link(target)) => {
                *links += 1;
                if *links > FEW_LINKS {
                    return None;
                }
                place.pop();
                if target.starts_with('/') {
                    place.clear();
                }
                rest.extend(parts(target));
            }
            Some(Node::File) | None if rest.is_empty() => {}
            Some(Node::File) | None => return None,
        }
    }
    Some(place.join("/"))
}

pub(super) fn check(data: &[u8]) -> bool {
    choices(data, |input| {
        let tree = Tree::new();
        let nodes = make(input, &tree)?;
        let text = format!("/{}", words(input, &PARTS, 6)?.join("/"));
        let path = ImagePath::parse(&text).expect("it is absolute and short");
        let rootfs = Rootfs::open(&tree.image(), 0).expect("the directory can be opened");
        let before = tree.listing();
        let mut links = 0;
        let place = walk(&nodes, &text, &mut links);
        let found = rootfs.resolve(&path).ok().map(|path| path.as_str().trim_start_matches('/').to_owned());
        if links <= FEW_LINKS {
            assert_eq!(found, place, "{text:?} in {before:#?}");
        }
        let place = found;
        let content = rootfs.read(&path, 100).ok();
        let is_file = place.as_ref().is_some_and(|place| matches!(nodes.get(place), Some(Node::File)));
        assert_eq!(
            content.map(|content| String::from_utf8_lossy(&content).into_owned()),
            place.clone().filter(|_| is_file)
        );
        let owner = fs::metadata(tree.image()).expect("it can be looked at");
        let attrs = Attrs { mode: 0o600, uid: owner.uid(), gid: owner.gid() };
        let written = rootfs.write(&path, b"new", attrs).is_ok();
        let after = tree.listing();
        let changed: Vec<&String> =
            before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
        let expected = place.filter(|_| written).map(|place| format!("image/{place}"));
        assert!(changed.iter().all(|path| Some(*path) == expected.as_ref()), "{text:?} changed {changed:?}");
        assert_eq!(written, !changed.is_empty(), "{text:?}");
        Ok(written || is_file)
    })
}
