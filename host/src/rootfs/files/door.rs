//! Checks, in the text of the modules that work on images, that they use no other way to an image's files.
//!
//! A path into an image's tree is followed through whatever links are in it, and the compiler cannot tell such a path from
//! one of the host. So a module of these directories uses no function on plain paths, unless it stands in [`MEANT`].

use std::fs;
use std::path::Path;

/// Modules of `src` that work on images, with all below them.
const LOOKED_AT: [&str; 7] =
    ["kernel_probe", "plugin/host_calls", "report", "rootfs", "steps", "store_maintenance", "supervisor"];

/// Functions that take a path, without those that only read metadata.
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
const MEANT: [(&str, &[&str], &str); 38] = [
    ("steps.rs", &["layer.json"], "a description in the store"),
    ("steps/archives.rs", &[], "what apt is given for a build"),
    ("steps/assets.rs", &[], "files that the user names"),
    ("steps/base.rs", &[], "directories of the stage; the tree is one that no plugin has touched"),
    ("steps/bootstrap.rs", &[], "directories of the stage; the tree is one that no plugin has touched"),
    ("steps/local_packages.rs", &[], "lists of packages and their files in the store; the layer has no others"),
    ("steps/shell.rs", &["mount("], "an overlay of finished layers"),
    ("store_maintenance.rs", &["store.path()", "store.place("], "files of the store"),
    ("steps/compare_emulation.rs", &["below"], "two trees of a bootstrap, in an overlay"),
    ("supervisor/previous_output.rs", &[], "images beside the recipe, and the store"),
    ("steps/change_review.rs", &["place"], "removes from a finished layer what was found by walking it"),
    ("steps/emulation_setup.rs", &[], "one name at the top of a layer"),
    (
        "steps/import.rs",
        &["&place", "directory", "script", "options().read", "stage.path()", "&names", "&source"],
        "the stage",
    ),
    ("steps/locked.rs", &[], "what apt is given for a build"),
    ("steps/native_tools.rs", &[], "the tools layer, which no plugin has touched"),
    ("supervisor/output.rs", &[], "files beside the recipe"),
    ("build/output/", &[], "files beside the recipe"),
    ("supervisor.rs", &[], "files that the user names"),
    (
        "steps/partitions.rs",
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
    ("steps/layer.rs", &["(directory)", "layer.json", "mount("], "directories of the stage; the layer's own overlay"),
    ("steps/plugins.rs", &["AUDIT_LOG", "draft.mount("], "a log in the store; the layer's own overlay"),
    ("kernel_probe.rs", &[], "a mount, to see whether it can be made"),
    ("supervisor/disk_space.rs", &["fs::open(path", "fstatvfs"], "directories that the user names"),
    ("steps/trial.rs", &["create_dir(path)"], "the directory of a copy"),
    ("steps/trial/base.rs", &[], "reads what the user names; writes through `Rootfs`"),
    (
        "steps/trial/bench.rs",
        &["fs::read(path)", "copy.join(inside)"],
        "downloads of a test; walks a copy, and follows no link",
    ),
    ("steps/trial/checkout.rs", &[], "a directory of the host that stands for a commit"),
    ("steps/trial/differences.rs", &["symlink_metadata(&place)"], "asks for the entries of a walk"),
    ("steps/workbench.rs", &[], "downloads in the store"),
    ("rootfs/bootstrap", &[], "lists and packages of the store; the tree is one that no program has run in"),
    ("rootfs/compare.rs", &[], "asks for the entries of a walk, and opens what is a file"),
    ("rootfs/files", &[], "the door"),
    ("rootfs/layers.rs", &[], "places of mounts in the private namespace"),
    ("rootfs/packages", &[], "lists and packages of the store"),
    ("rootfs/policy.rs", &[], "a tree of the private namespace, of one file"),
    ("rootfs/sources.rs", &[], "a tree that no plugin has touched"),
    ("rootfs/times.rs", &[], "settles the times of a layer from directory to directory, through descriptors"),
    ("rootfs/change_tracker.rs", &[], "walks a layer from directory to directory, by names that were found there"),
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

/// Returns whether the function's name at that place is a whole one, and names no type.
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
    for room in LOOKED_AT {
        let directory = source.join(room);
        assert!(directory.is_dir() || directory.with_extension("rs").is_file(), "there is no `{room}`");
        if directory.is_dir() {
            modules(&directory, &mut all);
        }
    }
    let mut found = Vec::new();
    for path in all.iter().filter(|path| path.exists()) {
        let module = path.strip_prefix(&source).unwrap().to_str().unwrap();
        // Tests make trees, and look at what became of them.
        if !module.ends_with("tests.rs") && module != "steps/finalise/hostile.rs" {
            found.extend(findings(module, &fs::read_to_string(path).unwrap()));
        }
    }
    let advice = "use `Rootfs` or `Exact`; a module for files of the host has a line in `MEANT`, with its reason";
    assert!(found.is_empty(), "{advice}:\n{}", found.join("\n"));
}

#[test]
fn a_plain_path_is_found() {
    for (module, line, expected) in [
        ("steps/finalise.rs", "    std::fs::remove_file(root.join(path))?;", true),
        ("steps/finalise.rs", "    let text = fs::read_to_string(&path)?;", true),
        ("steps/users.rs", "if root.join(\"etc\").exists() {", true),
        ("steps/users.rs", "// fs::write(path)", false),
        ("steps/tarball.rs", "let file = File::open(root.join(\"etc/passwd\"))?;", true),
        ("steps/partitions.rs", "let text = fs::read(root.join(\"etc/hosts\"))?;", true),
        ("steps/partitions.rs", "fs::create_dir(&out)?;", false),
        ("steps/import.rs", "fs::remove_dir_all(tree.join(BOOT))?;", true),
        ("rootfs/accounts.rs", "fs::read(path)", true),
        ("rootfs/files/tree.rs", "rustix::fs::fstat(fd)", false),
        ("plugin/host_calls/users.rs", "let home = std::fs::metadata(&home);", true),
        ("plugin/host_calls/users.rs", "self.bench.rootfs().metadata(&home)", false),
        ("steps/users.rs", "unmount(&stage, mounted)?;", false),
        ("steps/layer.rs", "Rootfs::open(path, 0)?", false),
        ("steps/layer.rs", "umount2(path)?", true),
        ("report.rs", "let file = std::fs::File::create(path);", true),
    ] {
        assert_eq!(!findings(module, line).is_empty(), expected, "{module}: {line}");
    }
}
