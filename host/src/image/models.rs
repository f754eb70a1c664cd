//! Checks that a boot partition has what each Pi's firmware needs: a table (`facts.rs`), and the parts of `config.txt`
//! that name files. Pure.

mod config;
mod facts;
pub mod overlays;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use config::Config;
use facts::{Facts, Firmware};

pub use crate::recipe::model::Model;

/// The kernel's command line, unless `config.txt` names another file.
const CMDLINE: &str = "cmdline.txt";

/// The content of a boot partition as far as firmware reads it. Names are compared without case, as FAT does.
#[derive(Clone, Debug, Default)]
pub struct BootFiles {
    names: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl BootFiles {
    /// Makes the list of a partition's file names, relative to its top.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { names: names.into_iter().map(|name| fold(name.as_ref())).collect(), texts: BTreeMap::new() }
    }

    /// Adds the content of a text file; firmware reads the files that [`Self::is_text`] names.
    pub fn add_text(&mut self, name: &str, text: String) {
        self.names.insert(fold(name));
        self.texts.insert(fold(name), text);
    }

    /// Returns whether a file may be one that decides about others: `config.txt`, what it includes, command lines.
    pub fn is_text(name: &str) -> bool {
        fold(name).ends_with(".txt")
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(&fold(name))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(&fold(name)).map(String::as_str)
    }
}

fn fold(name: &str) -> String {
    name.trim_start_matches('/').to_lowercase()
}

/// A file that a model needs and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Any one of these would do.
    pub names: Vec<String>,
    /// Purpose of the file.
    pub purpose: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        write!(f, "{} ({})", names.join(" or "), self.purpose)
    }
}

/// The files with which a model starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootPlan {
    pub kernel: String,
    pub initramfs: Vec<String>,
    pub device_tree: String,
    /// The file with the kernel's command line.
    pub cmdline: String,
}

/// Returns the files that `model` needs and that are missing; empty if it boots.
pub fn check(files: &BootFiles, model: Model) -> Vec<Missing> {
    boot_plan(files, model).err().unwrap_or_default()
}

/// Returns the files with the kernel's command line, of these models or, without any, of all.
pub fn command_lines(files: &BootFiles, models: &[Model]) -> BTreeSet<String> {
    let models = if models.is_empty() { &Model::ALL } else { models };
    let plans = models.iter().filter_map(|model| boot_plan(files, *model).ok());
    let found: BTreeSet<String> = plans.map(|plan| plan.cmdline).collect();
    if found.is_empty() { BTreeSet::from([CMDLINE.to_owned()]) } else { found }
}

/// Returns the models that `files` can boot.
pub fn bootable(files: &BootFiles) -> Vec<Model> {
    Model::ALL.into_iter().filter(|model| check(files, *model).is_empty()).collect()
}

/// Returns the files with which `model` starts, or everything it lacks.
///
/// # Errors
/// The missing files.
pub fn boot_plan(files: &BootFiles, model: Model) -> Result<BootPlan, Vec<Missing>> {
    let facts = model.facts();
    let config = Config::read(files, facts.sections);
    let mut search = Search { files, missing: Vec::new() };
    // Later boards start with an empty `config.txt` too, but none of their kernels would find its files.
    search.any(&["config.txt".to_owned()], "the firmware's configuration");
    search.firmware(&facts, &config);

    let names = Names::new(&facts, &config);
    let prefix = names.prefix(files, &config);
    let prefixed = |name: &str| format!("{prefix}{name}");
    let kernels: Vec<String> = names.kernels.iter().map(|name| prefixed(name)).collect();
    let kernel = search.any(&kernels, "the kernel");
    if !facts.runs_64 && config.get("arm_64bit").is_some_and(|bits| bits != "0") {
        search.missing.push(Missing {
            names: facts.kernels_32.iter().map(|name| prefixed(name)).collect(),
            purpose: "a kernel of 32 bits; `arm_64bit=1` announces one of 64, which this board cannot run".to_owned(),
        });
    }
    if facts.firmware == Firmware::Board && config.upstream_kernel() {
        search.missing.push(Missing {
            names: vec!["kernel_2712.img".to_owned()],
            purpose:
                "a Raspberry Pi kernel; `upstream_kernel=1` announces a mainline one, which does not support this board"
                    .to_owned(),
        });
    }
    let initramfs: Vec<String> = config.initramfs().iter().map(|name| prefixed(name)).collect();
    for name in &initramfs {
        search.any(std::slice::from_ref(name), "the initramfs that `config.txt` names");
    }
    let trees: Vec<String> = names.trees.iter().map(|name| prefixed(name)).collect();
    let device_tree = search.any(&trees, "the device tree");
    let cmdline = search.any(&[prefixed(config.get("cmdline").unwrap_or(CMDLINE))], "the kernel's command line");
    match (kernel, device_tree, cmdline) {
        (Some(kernel), Some(device_tree), Some(cmdline)) if search.missing.is_empty() => {
            Ok(BootPlan { kernel, initramfs, device_tree, cmdline })
        }
        _ => Err(search.missing),
    }
}

/// Names of files of which the firmware takes the first that is there.
struct Names<'a> {
    kernels: Vec<&'a str>,
    trees: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn new(facts: &Facts, config: &'a Config) -> Self {
        let kernels = match (config.get("kernel"), config.get("arm_64bit")) {
            (Some(kernel), _) => vec![kernel],
            (None, Some("0")) => facts.kernels_32.to_vec(),
            (None, Some(_)) => facts.kernels_64.to_vec(),
            (None, None) => facts.kernels_any.to_vec(),
        };
        let mut trees = match config.get("device_tree") {
            Some(name) => vec![name],
            None if config.upstream_kernel() => vec![facts.mainline, facts.downstream],
            None => vec![facts.downstream, facts.mainline],
        };
        trees.dedup();
        Self { kernels, trees }
    }

    /// Returns the prefix of the names: `os_prefix`, which the firmware ignores unless it finds kernel and device tree
    /// with it (<https://www.raspberrypi.com/documentation/computers/config_txt.html#os_prefix>).
    fn prefix(&self, files: &BootFiles, config: &'a Config) -> &'a str {
        let prefix = config.os_prefix();
        let is_there = |names: &[&str]| names.iter().any(|name| files.contains(&format!("{prefix}{name}")));
        if is_there(&self.kernels) && is_there(&self.trees) { prefix } else { "" }
    }
}

/// Collects what is missing.
#[derive(Debug)]
struct Search<'a> {
    files: &'a BootFiles,
    missing: Vec<Missing>,
}

impl Search<'_> {
    /// Returns the first of `names` that exists.
    fn any(&mut self, names: &[String], purpose: &str) -> Option<String> {
        let found = names.iter().find(|name| self.files.contains(name)).cloned();
        if found.is_none() {
            self.missing.push(Missing { names: names.to_vec(), purpose: purpose.to_owned() });
        }
        found
    }

    fn firmware(&mut self, facts: &Facts, config: &Config) {
        let four = match facts.firmware {
            Firmware::Board => return,
            Firmware::Disk => {
                self.any(&["bootcode.bin".to_owned()], "the first stage of the firmware");
                false
            }
            Firmware::Disk4 => true,
        };
        let (start, fixup) = config.firmware(four);
        self.any(&[start], "the firmware");
        self.any(&[fixup], "the firmware's memory map");
    }
}
