//! Checks the device tree lines of config.txt: whether overlays exist and fit, and parameters are known. Pure. The
//! firmware skips a line that fails and reports it where nobody looks. See
//! <https://www.raspberrypi.com/documentation/computers/configuration.html#device-trees-overlays-and-parameters>.

use std::collections::BTreeMap;

use super::config::{Applied, Config};
use super::{BootFiles, Model, boot_plan};
use crate::rootfs::device_tree::{DeviceTree, names_in};

/// Directory of overlays, unless `overlay_prefix` names another.
const OVERLAYS: &str = "overlays/";
/// File in it with the names of overlays by processor.
const MAP: &str = "overlay_map.dtb";
/// An overlay may be renamed, and what it is renamed to may have a file for each processor.
const MOST_NAMES: usize = 16;

/// Device trees of a boot partition, by the names of their files.
pub type Trees = BTreeMap<String, DeviceTree>;

/// Returns the files of `files` that [`idle`] wants to know; `None` if nobody asks for anything.
pub fn wanted(files: &BootFiles, models: &[Model]) -> Vec<String> {
    let mut wanted = Vec::new();
    for (config, plan) in boards(files, models) {
        if config.applied.is_empty() {
            continue;
        }
        let directory = config.overlays(files);
        wanted.push(plan.device_tree);
        wanted.extend(files.names.iter().filter(|name| name.starts_with(&directory)).cloned());
    }
    wanted.retain(|name| is_tree(name) && files.contains(name));
    wanted.sort();
    wanted.dedup();
    wanted
}

fn is_tree(name: &str) -> bool {
    [".dtb", ".dtbo"].iter().any(|end| name.to_lowercase().ends_with(end))
}

fn boards<'a>(files: &'a BootFiles, models: &'a [Model]) -> impl Iterator<Item = (Config, super::BootPlan)> + 'a {
    models.iter().filter_map(|model| {
        let plan = boot_plan(files, *model).ok()?;
        Some((Config::read(files, model.facts().sections), plan))
    })
}

/// Returns what no board of `models` can do of what config.txt asks of its device tree, each with the reason.
pub fn idle(files: &BootFiles, trees: &Trees, models: &[Model]) -> Vec<String> {
    // By line: a board may have what another one lacks, and lines are for all of them.
    let mut lines: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (config, plan) in boards(files, models) {
        // Of what is no device tree nobody knows what it takes.
        let Some(tree) = trees.get(&plan.device_tree.to_lowercase()) else { continue };
        let board = Board { files, trees, tree, name: &plan.device_tree, directory: config.overlays(files) };
        for (line, reason) in board.judge(&config.applied) {
            lines.entry(line).and_modify(|known| *known = reason.clone().and(known.take())).or_insert(reason);
        }
    }
    let idle = lines.into_iter().filter_map(|(line, reason)| Some((line, reason?)));
    idle.map(|(line, reason)| format!("`{line}` in `config.txt` does nothing: {reason}")).collect()
}

/// A board with its files.
struct Board<'a> {
    files: &'a BootFiles,
    trees: &'a Trees,
    tree: &'a DeviceTree,
    /// File name of the tree.
    name: &'a str,
    directory: String,
}

impl<'a> Board<'a> {
    /// Returns each line, and why it does nothing if it does not.
    fn judge(&self, applied: &[Applied]) -> Vec<(String, Option<String>)> {
        let mut loaded: Vec<&DeviceTree> = Vec::new();
        // Parameters that follow an overlay are the overlay's, if it has them.
        let mut scope: Option<&DeviceTree> = None;
        let mut judged = Vec::new();
        for line in applied {
            let reason = match line {
                Applied::Overlay(value) if value.is_empty() => {
                    scope = None;
                    continue;
                }
                Applied::Overlay(value) => match self.overlay(value, &loaded) {
                    Ok(overlay) => {
                        scope = overlay;
                        loaded.extend(overlay);
                        None
                    }
                    Err(reason) => Some(reason),
                },
                Applied::Parameter(value) => self.parameter(value, scope),
            };
            judged.push((line.to_string(), reason));
        }
        judged
    }

    /// Returns what is known of an overlay that can be applied, or why it cannot.
    fn overlay(&self, value: &str, loaded: &[&DeviceTree]) -> Result<Option<&'a DeviceTree>, String> {
        let name = value.split([',', ':']).next().unwrap_or_default().trim().to_lowercase();
        let names = self.names(name.clone());
        let path = |name: &String| format!("{}{name}.dtbo", self.directory);
        let Some(file) = names.iter().map(path).find(|file| self.files.contains(file)) else {
            return Err(format!("there is no `{}` on the boot partition", path(&name)));
        };
        let Some(overlay) = self.trees.get(&file) else { return Ok(None) };
        let missing = self.tree.lacks(overlay, loaded);
        if missing.is_empty() {
            return Ok(Some(overlay));
        }
        Err(format!("`{file}` needs the labels {}, which `{}` does not have", missing.join(", "), self.name))
    }

    /// Returns the names of the files that the firmware may take for an overlay.
    fn names(&self, name: String) -> Vec<String> {
        let map = self.trees.get(&format!("{}{MAP}", self.directory));
        let mut names = vec![name];
        let mut at = 0;
        while let (Some(name), Some(map)) = (names.get(at), map) {
            let more: Vec<String> = map.renamed.get(name).into_iter().flatten().cloned().collect();
            for name in more {
                if !names.contains(&name) && names.len() < MOST_NAMES {
                    names.push(name);
                }
            }
            at += 1;
        }
        names
    }

    fn parameter(&self, value: &str, scope: Option<&DeviceTree>) -> Option<String> {
        let is_of_overlay = scope.is_some_and(|overlay| names_in(value).any(|name| overlay.overrides.contains(name)));
        (self.tree.overrides.is_empty() && !is_of_overlay).then(|| format!("`{}` takes no parameters", self.name))
    }
}

impl Config {
    /// Returns what overlays' names follow, as the firmware finds them: those beside the operating system's own files only
    /// if there is a file that says so.
    fn overlays(&self, files: &BootFiles) -> String {
        let prefix = self.get("overlay_prefix").unwrap_or(OVERLAYS);
        let own = format!("{}{prefix}", self.os_prefix());
        let prefix = if files.contains(&format!("{own}README")) { own } else { prefix.to_owned() };
        prefix.trim_start_matches('/').to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 7] =
        ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat", "kernel8.img", "cmdline.txt"];
    const MODELS: [Model; 2] = [Model::Pi3, Model::Pi4];

    fn tree(symbols: &[&str], overrides: &[&str], needs: &[&str]) -> DeviceTree {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        DeviceTree { symbols: set(symbols), overrides: set(overrides), needs: set(needs), ..DeviceTree::default() }
    }

    /// Trees of Raspberry Pi's kernel: that of a Pi 4 has what the other one lacks.
    fn downstream() -> Trees {
        let map = DeviceTree {
            renamed: [
                ("kms".to_owned(), ["kms", "kms-pi4"].map(str::to_owned).into()),
                ("old".to_owned(), ["kms".to_owned()].into()),
            ]
            .into(),
            ..DeviceTree::default()
        };
        [
            ("bcm2710-rpi-3-b.dtb", tree(&["uart0"], &["spi"], &[])),
            ("bcm2711-rpi-4-b.dtb", tree(&["uart0", "pcie"], &["spi"], &[])),
            ("overlays/disable-bt.dtbo", tree(&["bt"], &["fast"], &["uart0"])),
            ("overlays/after.dtbo", tree(&[], &[], &["bt"])),
            ("overlays/pcie.dtbo", tree(&[], &[], &["pcie"])),
            ("overlays/alien.dtbo", tree(&[], &[], &["i2c_x", "uart0"])),
            ("overlays/kms-pi4.dtbo", tree(&[], &[], &[])),
            ("overlays/overlay_map.dtb", map),
        ]
        .map(|(name, tree)| (name.to_owned(), tree))
        .into()
    }

    fn idle_of(config: &str, trees: &Trees) -> Vec<String> {
        let mut files = BootFiles::new(NAMES.iter().copied().chain(trees.keys().map(String::as_str)));
        files.add_text("config.txt", format!("arm_64bit=1\n{config}"));
        let wanted = wanted(&files, &MODELS);
        assert!(wanted.iter().all(|name| trees.contains_key(name)), "{wanted:?}");
        idle(&files, trees, &MODELS)
    }

    #[test]
    fn overlays_are_looked_for_as_the_firmware_does() {
        let trees = downstream();
        for (config, reason) in [
            ("dtoverlay=disable-bt", None),
            ("dtoverlay=Disable-BT,fast=1\ndtoverlay=", None),
            ("dtoverlay=disable-bt:fast=1", None),
            ("dtoverlay=gone", Some("there is no `overlays/gone.dtbo` on the boot partition")),
            // One board has what another one has not, and one that does not read the line is not asked.
            ("dtoverlay=pcie", None),
            ("[pi4]\ndtoverlay=pcie", None),
            ("[pi3]\ndtoverlay=pcie", Some("needs the labels pcie, which `bcm2710-rpi-3-b.dtb` does not have")),
            ("[pi5]\ndtoverlay=gone", None),
            ("[none]\ndtoverlay=gone", None),
            ("#dtoverlay=gone", None),
            ("dtoverlay=alien", Some("needs the labels i2c_x, which")),
            // An overlay may need what another one before it brings.
            ("dtoverlay=disable-bt\ndtoverlay=after", None),
            ("dtoverlay=after\ndtoverlay=disable-bt", Some("needs the labels bt, which")),
            // By the map, which has other names for some.
            ("dtoverlay=kms", None),
            ("dtoverlay=old", None),
            ("overlay_prefix=other/\ndtoverlay=disable-bt", Some("there is no `other/disable-bt.dtbo`")),
        ] {
            let found = idle_of(config, &trees);
            match reason {
                None => assert!(found.is_empty(), "{config}: {found:?}"),
                Some(reason) => assert!(found.len() == 1 && found[0].contains(reason), "{config}: {found:?}"),
            }
        }
    }

    #[test]
    fn parameters_are_the_trees_or_those_of_the_overlay_before() {
        let trees = downstream();
        assert_eq!(idle_of("dtparam=spi=on,audio=on\ndevice_tree_param=x", &trees), [""; 0]);
        let mut mainline = trees;
        for name in ["bcm2710-rpi-3-b.dtb", "bcm2711-rpi-4-b.dtb"] {
            mainline.get_mut(name).unwrap().overrides.clear();
        }
        let reason = "`bcm2710-rpi-3-b.dtb` takes no parameters";
        for (config, is_idle) in [
            ("dtparam=spi=on", true),
            ("dtparam=fast=1", true),
            ("dtoverlay=disable-bt\ndtparam=fast=1", false),
            ("dtoverlay=disable-bt\ndtparam=slow=1", true),
            ("dtoverlay=disable-bt\ndtoverlay=\ndtparam=fast=1", true),
            ("", false),
        ] {
            let found = idle_of(config, &mainline);
            assert_eq!(!found.is_empty(), is_idle, "{config}: {found:?}");
            assert!(found.iter().all(|finding| finding.ends_with(reason)), "{found:?}");
        }
    }

    #[test]
    fn of_what_is_no_device_tree_nothing_is_said() {
        let mut trees = downstream();
        trees.retain(|name, _| name.starts_with("overlays/"));
        let mut files = BootFiles::new(NAMES.iter().copied().chain(["bcm2711-rpi-4-b.dtb", "bcm2710-rpi-3-b.dtb"]));
        files.add_text("config.txt", "arm_64bit=1\ndtoverlay=gone\n".to_owned());
        assert_eq!(idle(&files, &trees, &MODELS), [""; 0]);
        files.add_text("config.txt", "arm_64bit=1\n".to_owned());
        assert_eq!(wanted(&files, &MODELS), [""; 0], "nobody asks for anything");
    }
}
