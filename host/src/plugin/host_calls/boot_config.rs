//! Implements `boot-config`: config.txt and cmdline.txt. A capability names the key. The code that makes lines checks
//! that no value holds a second line, a second parameter or another section.
//!
//! Debian's `raspi-firmware` makes both files anew whenever a kernel is configured, in a later layer as on the Pi. It
//! then adds two files of `/etc/default` at the end. A change goes there too, or it would be lost.

use super::{Answer, Session, invalid};
use crate::plugin::capability::Need;
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::recipe::release::Releases;
use crate::rootfs::boot_config::{ConfigTxt, DIRECTORY, Place};
use crate::rootfs::cmdline::{self, Cmdline};
use crate::rootfs::device_tree::{DeviceTree, names_in};
use crate::rootfs::files::{FileErrorCode, ImagePath};
use crate::rootfs::text::encode;

/// A file that the firmware reads, and the one from which Debian's package makes its end.
struct File {
    name: &'static str,
    source: &'static str,
}

/// Makes a new text of an old one, and an answer.
type Change<'a, T> = dyn Fn(&str) -> Result<(String, T), String> + 'a;

const CONFIG: File = File { name: "config.txt", source: "/etc/default/raspi-firmware-custom" };
const CMDLINE: File = File { name: "cmdline.txt", source: "/etc/default/raspi-extra-cmdline" };
/// The script that makes both.
const MAKER: &str = "/etc/kernel/postinst.d/z50-raspi-firmware";
/// Most bytes of either file.
const LIMIT: u64 = 64 << 10;

/// Longest device tree that is read.
const LONGEST_TREE: u64 = 1 << 20;

impl Session<'_> {
    pub(super) fn config_values(&mut self, section: Option<&str>, key: &str) -> Answer<Vec<String>> {
        let place = self.config_place(section, key)?;
        let text = self.own_text(&CONFIG.path()?, LIMIT)?.unwrap_or_default();
        Ok(ConfigTxt::parse(&text).values(&place))
    }

    pub(super) fn config_set(&mut self, section: Option<&str>, key: &str, value: &str) -> Answer<()> {
        let place = self.config_place(section, key)?;
        self.edit_boot(&CONFIG, &|text| {
            let mut config = ConfigTxt::parse(text);
            config.set(&place, value).map(|()| (config.print(), ()))
        })
    }

    pub(super) fn config_add(&mut self, section: Option<&str>, key: &str, value: &str) -> Answer<bool> {
        let place = self.config_place(section, key)?;
        self.takes_effect(section, key, value)?;
        self.edit_boot(&CONFIG, &|text| {
            let mut config = ConfigTxt::parse(text);
            config.add(&place, value).map(|added| (config.print(), added))
        })
    }

    pub(super) fn config_remove(&mut self, section: Option<&str>, key: &str, value: Option<&str>) -> Answer<u64> {
        let place = self.config_place(section, key)?;
        self.removal_lasts(&CONFIG, &|text| ConfigTxt::parse(text).remove(&place, value))?;
        self.edit_boot(&CONFIG, &|text| {
            let mut config = ConfigTxt::parse(text);
            let count = config.remove(&place, value);
            Ok((config.print(), u64::try_from(count).unwrap_or(u64::MAX)))
        })
    }

    pub(super) fn parameters(&mut self, name: &str) -> Answer<Vec<String>> {
        self.cmdline_gate(name)?;
        let mut values = Vec::new();
        for path in self.paths(&CMDLINE)? {
            let text = self.own_text(&path, LIMIT)?.unwrap_or_default();
            values.extend(
                Cmdline::parse(&text)
                    .named(name)
                    .into_iter()
                    .filter(|value| !values.contains(value))
                    .collect::<Vec<_>>(),
            );
        }
        Ok(values)
    }

    pub(super) fn set_parameter(&mut self, parameter: &str) -> Answer<()> {
        self.cmdline_gate(cmdline::check_parameter(parameter).map_err(invalid)?)?;
        self.edit_boot(&CMDLINE, &|text| {
            let mut line = Cmdline::parse(text);
            line.set(parameter).map(|()| (line.print(), ()))
        })
    }

    pub(super) fn add_parameter(&mut self, parameter: &str) -> Answer<bool> {
        self.cmdline_gate(cmdline::check_parameter(parameter).map_err(invalid)?)?;
        self.edit_boot(&CMDLINE, &|text| {
            let mut line = Cmdline::parse(text);
            line.add(parameter).map(|added| (line.print(), added))
        })
    }

    pub(super) fn remove_parameter(&mut self, name: &str) -> Answer<u64> {
        self.cmdline_gate(name)?;
        self.removal_lasts(&CMDLINE, &|text| Cmdline::parse(text).named(name).len())?;
        self.edit_boot(&CMDLINE, &|text| {
            let mut line = Cmdline::parse(text);
            let count = line.remove(name)?;
            Ok((line.print(), u64::try_from(count).unwrap_or(u64::MAX)))
        })
    }

    fn config_place<'k>(&mut self, section: Option<&str>, key: &'k str) -> Answer<Place<'k>> {
        let place = Place::new(section, key).map_err(invalid)?;
        self.gate(&Need::BootConfig(key.to_owned()))?;
        Ok(place)
    }

    fn cmdline_gate(&mut self, name: &str) -> Answer<()> {
        if name.contains('=') || cmdline::check_name(name).map_err(invalid)? != name {
            return Err(invalid("a parameter is named without its value"));
        }
        self.gate(&Need::BootCmdline(name.to_owned()))
    }

    /// Refuses what the firmware would skip without a word: an overlay that is not there or does not fit, and a parameter
    /// that no device tree takes. Where a release brings Raspberry Pi's own, which may come to the boot partition later,
    /// that is left to the check of the finished image.
    fn takes_effect(&self, section: Option<&str>, key: &str, value: &str) -> Answer<()> {
        let releases = Releases::builtin().map_err(|error| super::from_bench(&error))?;
        if releases.get(&self.image.release).is_some_and(|release| release.overlays) {
            return Ok(());
        }
        let reason = match key {
            "dtoverlay" if !value.is_empty() => self.misfit(value)?,
            "dtparam" if !self.takes_parameter(section, value)? => {
                Some("no device tree of this image takes parameters".to_owned())
            }
            _ => None,
        };
        let Some(reason) = reason else { return Ok(()) };
        let others: Vec<&str> = releases.with_overlays().collect();
        let message = format!(
            "`{key}={value}` would do nothing: {reason}; releases with Raspberry Pi's own overlays and parameters are {}",
            others.join(", ")
        );
        Err(CallError::new(ErrorCode::Unsupported, crate::ui::printable(&message)))
    }

    /// Returns why an overlay cannot be applied, if that is so.
    fn misfit(&self, value: &str) -> Answer<Option<String>> {
        let name = value.split([',', ':']).next().unwrap_or_default();
        let path = ImagePath::parse(&format!("{DIRECTORY}/overlays/{name}.dtbo"))?;
        let Some(overlay) = self.tree(&path)? else {
            return Ok(Some(format!("there is no overlay `{path}` (a plugin may put one there first)")));
        };
        let trees = self.trees()?;
        let lacks: Vec<Vec<String>> = trees.iter().map(|tree| tree.lacks(&overlay, &[])).collect();
        let fits = lacks.is_empty() || lacks.iter().any(Vec::is_empty);
        let labels = lacks.first().map(|labels| labels.join(", ")).unwrap_or_default();
        Ok((!fits).then(|| format!("`{path}` needs the labels {labels}, which no device tree of this image has")))
    }

    /// Returns whether a device tree takes parameters, or an overlay of the same section has one of these.
    fn takes_parameter(&self, section: Option<&str>, value: &str) -> Answer<bool> {
        if self.trees()?.iter().any(|tree| !tree.overrides.is_empty()) {
            return Ok(true);
        }
        let place = Place::new(section, "dtoverlay").map_err(invalid)?;
        let text = self.own_text(&CONFIG.path()?, LIMIT)?.unwrap_or_default();
        for overlay in ConfigTxt::parse(&text).values(&place) {
            let name = overlay.split([',', ':']).next().unwrap_or_default();
            let overlay = self.tree(&ImagePath::parse(&format!("{DIRECTORY}/overlays/{name}.dtbo"))?)?;
            if overlay.is_some_and(|overlay| names_in(value).any(|name| overlay.overrides.contains(name))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the device trees of the boards.
    fn trees(&self) -> Answer<Vec<DeviceTree>> {
        let directory = ImagePath::parse(DIRECTORY)?;
        let mut trees = Vec::new();
        for (name, _) in self.bench.rootfs().list_dir(&directory)? {
            if name.ends_with(".dtb") {
                trees.extend(self.tree(&directory.join(&name)?)?);
            }
        }
        Ok(trees)
    }

    /// Parses a device tree; `None` if it does not exist.
    fn tree(&self, path: &ImagePath) -> Answer<Option<DeviceTree>> {
        match self.bench.rootfs().read(path, LONGEST_TREE) {
            Ok(data) => Ok(DeviceTree::parse(&data)),
            Err(error) if matches!(error.code, FileErrorCode::NotFound | FileErrorCode::NotADirectory) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses to remove what the next kernel brings back: `count` says how much of a text is to go, and what the source has
    /// less of is the package's own.
    fn removal_lasts(&mut self, file: &File, count: &dyn Fn(&str) -> usize) -> Answer<()> {
        let Some(source) = self.source(file)? else { return Ok(()) };
        let text = |path: &ImagePath| Ok::<_, CallError>(self.own_text(path, LIMIT)?.unwrap_or_default());
        let lasting = count(&text(&source)?);
        for path in self.paths(file)? {
            if count(&text(&path)?) > lasting {
                let message = format!(
                    "what is to be removed from `{path}` is there again with the next kernel, for which the package \
                     raspi-firmware makes the file anew: set another value instead"
                );
                return Err(CallError::new(ErrorCode::Unsupported, message));
            }
        }
        Ok(())
    }

    /// Returns the file from which the package makes the end of `file`, if the image has the package.
    fn source(&self, file: &File) -> Answer<Option<ImagePath>> {
        let is_made = self.bench.rootfs().metadata(&ImagePath::parse(MAKER)?)?.is_some();
        Ok(is_made.then(|| ImagePath::parse(file.source)).transpose()?)
    }

    /// Returns the files that the firmware reads as `file`.
    fn paths(&self, file: &File) -> Answer<Vec<ImagePath>> {
        let named = match file.name {
            "cmdline.txt" => self.bench.command_lines().map_err(|error| super::from_bench(&error))?,
            _ => Vec::new(),
        };
        Ok(if named.is_empty() { vec![file.path()?] } else { named })
    }

    /// Changes the files that the firmware reads and, where there is one, their source. Returns the greatest answer of the
    /// files that the firmware reads.
    fn edit_boot<T: Ord>(&mut self, file: &File, change: &Change<'_, T>) -> Answer<T> {
        let (mut writes, mut answers) = (Vec::new(), Vec::new());
        for path in self.paths(file)? {
            let old = self.own_text(&path, LIMIT)?.ok_or_else(|| {
                let message = format!("the image has no `{path}`: nothing made its boot files");
                CallError::new(ErrorCode::Unsupported, message)
            })?;
            let (new, answer) = change(&old).map_err(invalid)?;
            writes.push((path, old, new));
            answers.push(answer);
        }
        if let Some(source) = self.source(file)? {
            let old = self.own_text(&source, LIMIT)?.unwrap_or_default();
            let (new, _) = change(&old).map_err(invalid)?;
            writes.push((source, old, new));
        }
        let mut is_written = false;
        for (path, _, new) in writes.iter().filter(|(_, old, new)| old != new) {
            let written = self
                .attrs_for(path, None)
                .and_then(|attrs| Ok(self.bench.rootfs().write(path, &encode(new), attrs)?));
            if let Err(error) = written {
                // Both files must agree: otherwise the next kernel update would write something else.
                if is_written {
                    self.half_done = Some(format!("not all boot files could be written: {error}"));
                }
                return Err(error);
            }
            is_written = true;
        }
        Ok(answers.into_iter().max().expect("there is a file at least"))
    }
}

impl File {
    fn path(&self) -> Answer<ImagePath> {
        Ok(ImagePath::parse(DIRECTORY)?.join(self.name)?)
    }
}
