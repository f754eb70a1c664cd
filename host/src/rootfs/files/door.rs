//! There is one door to the files of an image: this looks for others, in the text of the modules that work on images.
//!
//! A path into an image's tree is followed through whatever links are in it, and the compiler cannot tell such a path from
//! one of the host. So a module of these directories uses no function on plain paths, unless it stands in [`MEANT`].

use std::fs;
use std::path::Path;

/// Directories of `src` whose modules work on images.
const LOOKED_AT: [&str; 4] = ["build", "plugin/interface", "report", "rootfs"];

/// Functions that are given a path. What is only asked of a file's metadata is none.
const FUNCTIONS: [&str; 13] = [
    "fs::",
    "File::create",
    "File::open",
    "File::options",
    "OpenOptions",
    "canonicalize(",
    ".exists()",
    "mount(",
    "mount_fs(",
    "read_dir(",
    "symlink_metadata(",
    "umount2(",
    "unix::net",
];

/// Modules that are for files of the host, each with its reason, and the words of which one is in each line that uses
/// such a function; without any, all lines may.
const MEANT: [(&str, &[&str], &str); 30] = [
    ("build.rs", &["layer.json"], "a description in the store"),
    ("build/archives.rs", &[], "what apt is given for a build"),
    ("build/assets.rs", &[], "files that the user names"),
    ("build/base.rs", &[], "directories of the stage; the tree is one that no plugin has touched"),
    ("build/bootstrap.rs", &[], "directories of the stage; the tree is one that no plugin has touched"),
    ("build/cache.rs", &["store.path()", "store.place("], "files of the store"),
    ("build/compare.rs", &["below"], "two trees of a bootstrap, in an overlay"),
    ("build/earlier.rs", &[], "images beside the recipe, and the store"),
    ("build/effects.rs", &["place"], "removes from a finished layer what was found by walking it"),
    ("build/emulated.rs", &[], "one name at the top of a layer"),
    (
        "build/import.rs",
        &["&place", "directory", "script", "options().read", "stage.path()", "&names", "&source"],
        "the stage",
    ),
    ("build/locked.rs", &[], "what apt is given for a build"),
    ("build/native_tools.rs", &[], "the tools layer, which no plugin has touched"),
    ("build/output.rs", &[], "files beside the recipe"),
    ("build/output/", &[], "files beside the recipe"),
    ("build/outside.rs", &[], "files that the user names"),
    (
        "build/partitions.rs",
        &[
            "out",
            "self.directory",
            "directory.exists()",
            "&fresh",
            "KNOWN",
            "File::open(directory.join(name))",
            "File::options()",
            "place.as_str()",
            "mount(stage",
        ],
        "artifacts and the stage; a mount at a descriptor",
    ),
    ("build/plugins.rs", &["AUDIT_LOG", "mount(&stage"], "a log in the store; the layer's own overlay"),
    ("build/probe.rs", &[], "a mount, to see whether it can be made"),
    ("build/room.rs", &["fs::open(path", "fstatvfs"], "directories that the user names"),
    ("build/workbench.rs", &[], "downloads in the store"),
    ("rootfs/bootstrap", &[], "lists and packages of the store; the tree is one that no program has run in"),
    ("rootfs/compare.rs", &[], "asks for the entries of a walk, and opens what is a file"),
    ("rootfs/files", &[], "the door"),
    ("rootfs/layers.rs", &[], "places of mounts in the private namespace"),
    ("rootfs/packages", &[], "lists and packages of the store"),
    ("rootfs/policy.rs", &[], "a tree of the private namespace, of one file"),
    ("rootfs/sources.rs", &[], "a tree that no plugin has touched"),
    ("rootfs/times.rs", &[], "settles the times of a layer from directory to directory, through descriptors"),
    ("rootfs/tracker.rs", &[], "walks a layer from directory to directory, by names that were found there"),
];

/// Lines of a module that use such a function and are not meant to, without its tests.
fn findings(module: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let meant: Vec<_> = MEANT.iter().filter(|(start, ..)| module.starts_with(start)).collect();
    let is_meant =
        |line: &str| meant.iter().any(|(_, words, _)| words.is_empty() || words.iter().any(|word| line.contains(word)));
    let uses = |line: &str| {
        let is_import = line.trim_start().starts_with("use ");
        !is_import
            && FUNCTIONS.iter().any(|function| line.match_indices(function).any(|(at, _)| is_call(line, at, function)))
    };
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.filter(|line| uses(line) && !is_meant(line)).map(|line| format!("{module}: {}", line.trim())).collect()
}

/// Whether the function's name at that place is a whole one, and names no type.
fn is_call(line: &str, at: usize, function: &str) -> bool {
    let before = line[..at].chars().next_back();
    let after = line[at + function.len()..].chars().next();
    let is_whole = function.starts_with('.') || !before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    is_whole && !(function == "fs::" && after.is_some_and(char::is_uppercase))
}

fn modules(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            modules(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn modules_that_work_on_images_use_no_plain_path() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all: Vec<_> = LOOKED_AT.iter().map(|directory| source.join(format!("{directory}.rs"))).collect();
    for directory in LOOKED_AT {
        modules(&source.join(directory), &mut all);
    }
    let mut found = Vec::new();
    for path in all.iter().filter(|path| path.exists()) {
        let module = path.strip_prefix(&source).unwrap().to_str().unwrap();
        // Tests make trees, and look at what became of them.
        if !module.ends_with("tests.rs") && module != "build/finalise/hostile.rs" {
            found.extend(findings(module, &fs::read_to_string(path).unwrap()));
        }
    }
    let advice = "use `Rootfs` or `Exact`; a module for files of the host has a line in `MEANT`, with its reason";
    assert!(found.is_empty(), "{advice}:\n{}", found.join("\n"));
}

#[test]
fn a_plain_path_is_found() {
    for (module, line, expected) in [
        ("build/finalise.rs", "    std::fs::remove_file(root.join(path))?;", true),
        ("build/finalise.rs", "    let text = fs::read_to_string(&path)?;", true),
        ("build/users.rs", "if root.join(\"etc\").exists() {", true),
        ("build/users.rs", "// fs::write(path)", false),
        ("build/tarball.rs", "let file = File::open(root.join(\"etc/passwd\"))?;", true),
        ("build/partitions.rs", "let text = fs::read(root.join(\"etc/hosts\"))?;", true),
        ("build/partitions.rs", "fs::create_dir(&out)?;", false),
        ("build/import.rs", "fs::remove_dir_all(tree.join(BOOT))?;", true),
        ("rootfs/accounts.rs", "fs::read(path)", true),
        ("rootfs/files/tree.rs", "rustix::fs::fstat(fd)", false),
        ("plugin/interface/users.rs", "let home = std::fs::metadata(&home);", true),
        ("plugin/interface/users.rs", "self.bench.rootfs().metadata(&home)", false),
        ("build/above.rs", "unmount(&stage, mounted)?;", false),
        ("build/above.rs", "Rootfs::open(path, 0)?", false),
        ("build/above.rs", "umount2(path)?", true),
        ("report.rs", "let file = std::fs::File::create(path);", true),
    ] {
        assert_eq!(!findings(module, line).is_empty(), expected, "{module}: {line}");
    }
}
