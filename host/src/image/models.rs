//! What each Pi's firmware needs on the boot partition: a table, the parts of `config.txt` that name files, and
//! the comparison of both with what is there. Pure.

mod config;
pub mod overlays;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use config::Config;

/// A family of boards that boots from the same files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Model {
    #[serde(rename = "zerow")]
    ZeroW,
    #[serde(rename = "pi2")]
    Pi2,
    #[serde(rename = "pi3")]
    Pi3,
    #[serde(rename = "pi3+")]
    Pi3Plus,
    #[serde(rename = "zero2w")]
    Zero2W,
    #[serde(rename = "pi4")]
    Pi4,
    #[serde(rename = "pi400")]
    Pi400,
    #[serde(rename = "cm4")]
    Cm4,
    #[serde(rename = "pi5")]
    Pi5,
}

/// What the table knows about a model.
#[derive(Debug)]
struct Facts {
    name: &'static str,
    /// Sections of `config.txt` that apply to it.
    sections: &'static [&'static str],
    firmware: Firmware,
    /// Device trees by the names of the Raspberry Pi kernel and of the mainline kernel.
    downstream: &'static str,
    mainline: &'static str,
    /// Names of a kernel that `config.txt` does not name, if it asks for 64 bits, for 32 bits or for neither.
    kernels_64: &'static [&'static str],
    kernels_32: &'static [&'static str],
    kernels_any: &'static [&'static str],
    /// Whether it runs a kernel of 64 bits.
    runs_64: bool,
}

/// Where the stage before the kernel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Firmware {
    /// `bootcode.bin`, `start*.elf` and `fixup*.dat`.
    Disk,
    /// `start4*.elf` and `fixup4*.dat`; the first stage is in the board.
    Disk4,
    /// All of it is in the board.
    Board,
}

impl Model {
    pub const ALL: [Self; 9] =
        [Self::ZeroW, Self::Pi2, Self::Pi3, Self::Pi3Plus, Self::Zero2W, Self::Pi4, Self::Pi400, Self::Cm4, Self::Pi5];

    /// The name used in recipes and reports.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The model called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    const fn facts(self) -> Facts {
        const OLD: Facts = Facts {
            name: "",
            sections: &[],
            firmware: Firmware::Disk,
            downstream: "",
            mainline: "",
            kernels_64: &["kernel8.img"],
            kernels_32: &["kernel7.img", "kernel.img"],
            kernels_any: &["kernel7.img", "kernel.img"],
            runs_64: true,
        };
        const NEW: Facts = Facts {
            firmware: Firmware::Disk4,
            kernels_32: &["kernel7l.img", "kernel7.img", "kernel.img"],
            kernels_any: &["kernel8.img", "kernel7l.img", "kernel7.img", "kernel.img"],
            ..OLD
        };
        const NEWEST: &[&str] = &["kernel_2712.img", "kernel8.img"];
        match self {
            Self::ZeroW => Facts {
                name: "zerow",
                sections: &["pi0", "pi0w"],
                downstream: "bcm2708-rpi-zero-w.dtb",
                mainline: "bcm2835-rpi-zero-w.dtb",
                kernels_32: &["kernel.img"],
                kernels_any: &["kernel.img"],
                runs_64: false,
                ..OLD
            },
            // The first one; later ones have the processor of a Pi 3.
            Self::Pi2 => Facts {
                name: "pi2",
                sections: &["pi2"],
                downstream: "bcm2709-rpi-2-b.dtb",
                mainline: "bcm2836-rpi-2-b.dtb",
                runs_64: false,
                ..OLD
            },
            Self::Pi3 => Facts {
                name: "pi3",
                sections: &["pi3"],
                downstream: "bcm2710-rpi-3-b.dtb",
                mainline: "bcm2837-rpi-3-b.dtb",
                ..OLD
            },
            Self::Pi3Plus => Facts {
                name: "pi3+",
                sections: &["pi3", "pi3+"],
                downstream: "bcm2710-rpi-3-b-plus.dtb",
                mainline: "bcm2837-rpi-3-b-plus.dtb",
                ..OLD
            },
            Self::Zero2W => Facts {
                name: "zero2w",
                sections: &["pi0", "pi0w", "pi02"],
                downstream: "bcm2710-rpi-zero-2-w.dtb",
                mainline: "bcm2837-rpi-zero-2-w.dtb",
                ..OLD
            },
            Self::Pi4 => Facts {
                name: "pi4",
                sections: &["pi4"],
                downstream: "bcm2711-rpi-4-b.dtb",
                mainline: "bcm2711-rpi-4-b.dtb",
                ..NEW
            },
            Self::Pi400 => Facts {
                name: "pi400",
                sections: &["pi4", "pi400"],
                downstream: "bcm2711-rpi-400.dtb",
                mainline: "bcm2711-rpi-400.dtb",
                ..NEW
            },
            Self::Cm4 => Facts {
                name: "cm4",
                sections: &["pi4", "cm4"],
                downstream: "bcm2711-rpi-cm4.dtb",
                mainline: "bcm2711-rpi-cm4-io.dtb",
                ..NEW
            },
            Self::Pi5 => Facts {
                name: "pi5",
                sections: &["pi5"],
                firmware: Firmware::Board,
                downstream: "bcm2712-rpi-5-b.dtb",
                mainline: "bcm2712-rpi-5-b.dtb",
                kernels_64: NEWEST,
                kernels_32: NEWEST,
                kernels_any: NEWEST,
                runs_64: true,
            },
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The content of a boot partition as far as firmware reads it. Names are compared without case, as FAT does.
#[derive(Clone, Debug, Default)]
pub struct BootFiles {
    names: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl BootFiles {
    /// All file names of the partition, relative to its top.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { names: names.into_iter().map(|name| fold(name.as_ref())).collect(), texts: BTreeMap::new() }
    }

    /// Adds the content of a text file; firmware reads the files that [`Self::is_text`] names.
    pub fn add_text(&mut self, name: &str, text: String) {
        self.names.insert(fold(name));
        self.texts.insert(fold(name), text);
    }

    /// Whether a file may be one that decides about others: `config.txt`, what it includes, command lines.
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
    /// What it is for.
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

/// What `model` lacks in `files`; empty if it boots.
pub fn check(files: &BootFiles, model: Model) -> Vec<Missing> {
    boot_plan(files, model).err().unwrap_or_default()
}

/// The models that `files` can boot.
pub fn bootable(files: &BootFiles) -> Vec<Model> {
    Model::ALL.into_iter().filter(|model| check(files, *model).is_empty()).collect()
}

/// The files with which `model` starts, or everything it lacks.
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

    let prefix = config.os_prefix();
    let prefixed = |name: &str| format!("{prefix}{name}");
    let kernels: Vec<String> = match (config.get("kernel"), config.get("arm_64bit")) {
        (Some(kernel), _) => vec![prefixed(kernel)],
        (None, Some("0")) => facts.kernels_32.iter().map(|name| prefixed(name)).collect(),
        (None, Some(_)) => facts.kernels_64.iter().map(|name| prefixed(name)).collect(),
        (None, None) => facts.kernels_any.iter().map(|name| prefixed(name)).collect(),
    };
    let kernel = search.any(&kernels, "the kernel");
    if !facts.runs_64 && config.get("arm_64bit").is_some_and(|bits| bits != "0") {
        search.missing.push(Missing {
            names: facts.kernels_32.iter().map(|name| prefixed(name)).collect(),
            purpose: "a kernel of 32 bits; `arm_64bit=1` announces one of 64, which this board cannot run".to_owned(),
        });
    }
    if model == Model::Pi5 && config.upstream_kernel() {
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
    let trees: Vec<String> = match config.get("device_tree") {
        Some(name) => vec![prefixed(name)],
        None if config.upstream_kernel() => distinct(prefixed(facts.mainline), prefixed(facts.downstream)),
        None => distinct(prefixed(facts.downstream), prefixed(facts.mainline)),
    };
    let device_tree = search.any(&trees, "the device tree");
    let cmdline = search.any(&[prefixed(config.get("cmdline").unwrap_or("cmdline.txt"))], "the kernel's command line");
    match (kernel, device_tree, cmdline) {
        (Some(kernel), Some(device_tree), Some(cmdline)) if search.missing.is_empty() => {
            Ok(BootPlan { kernel, initramfs, device_tree, cmdline })
        }
        _ => Err(search.missing),
    }
}

fn distinct(first: String, second: String) -> Vec<String> {
    if first == second { vec![first] } else { vec![first, second] }
}

/// Collects what is missing.
#[derive(Debug)]
struct Search<'a> {
    files: &'a BootFiles,
    missing: Vec<Missing>,
}

impl Search<'_> {
    /// The first of `names` that exists.
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
