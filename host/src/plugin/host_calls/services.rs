//! Implements `services`: systemd units. A call first finds everything that it would touch, then has each unit
//! authorized, then makes and removes links. A unit's file is untrusted: what `Also=` adds is authorized like the unit
//! itself, and an alias must not replace another unit.

use super::{Answer, Session, invalid};
use crate::plugin::capability::{Need, ServiceAction};
use crate::plugin::protocol::UnitState;
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::rootfs::files::{Attrs, FileErrorCode, FileKind, ImagePath};
use crate::rootfs::units::{Install, Link, UnitName};

/// Directory of the administrator's units and of all states.
const ETC: &str = "/etc/systemd/system";
/// Directories of units; the first match wins. See
/// <https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html>.
const PLACES: [&str; 4] = [ETC, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Target of a masked unit's link.
const NULL: &str = "/dev/null";
/// Most bytes of a unit.
const LIMIT: u64 = 256 << 10;
/// Most units that one call changes through `Also=`.
const MAX_UNITS: usize = 32;

const FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };
const DIRECTORY: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };

/// A unit as the image has it.
enum Found {
    File(ImagePath),
    Masked,
    /// A link to a unit of another name.
    Alias(UnitName),
    Missing,
}

impl Session<'_> {
    pub(super) fn install_unit(&mut self, name: &str, text: &str) -> Answer<()> {
        let unit = unit(name)?;
        check_text(text)?;
        self.gate(&Need::service(ServiceAction::Install, unit.as_str()))?;
        let path = path(ETC, unit.as_str())?;
        self.write_unit(&path, text)
    }

    pub(super) fn drop_in(&mut self, name: &str, part: &str, text: &str) -> Answer<()> {
        let unit = unit(name)?;
        check_text(text)?;
        if !unit.is_single() {
            return Err(invalid(format!("a drop-in for `{name}` would be one for every unit that begins so")));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if part.is_empty() || part.len() > 100 || !part.chars().all(plain) {
            return Err(invalid(format!("`{part}` is no name of a drop-in: letters, digits, `_` and `-`")));
        }
        self.gate(&Need::service(ServiceAction::Install, unit.as_str()))?;
        self.write_unit(&path(ETC, &format!("{}.d/{part}.conf", unit.as_str()))?, text)
    }

    pub(super) fn set_unit_state(&mut self, name: &str, state: UnitState) -> Answer<bool> {
        let unit = unit(name)?;
        match state {
            UnitState::Enabled => self.enable(&unit),
            UnitState::Disabled => self.disable(&unit),
            UnitState::Masked => self.mask(&unit),
            UnitState::Unmasked => self.unmask(&unit),
        }
    }

    fn enable(&mut self, unit: &UnitName) -> Answer<bool> {
        let mut wanted = Vec::new();
        for (unit, file, install) in self.with_also(unit, ServiceAction::Enable)? {
            let fail = |cause: String| invalid(format!("cannot enable `{}`: {cause}", unit.as_str()));
            let links = install.links(&unit).map_err(fail)?;
            if links.is_empty() && install.also(&unit).map_err(fail)?.is_empty() {
                return Err(fail("it has no [Install] section: other units start it, or nothing does".into()));
            }
            for link in links {
                let place = match link {
                    Link::In { directory, unit } => path(ETC, &format!("{directory}/{}", unit.as_str()))?,
                    Link::Alias(alias) => {
                        self.check_alias(&unit, &alias)?;
                        path(ETC, alias.as_str())?
                    }
                };
                wanted.push((place, file.as_str().to_owned()));
            }
        }
        let mut changed = false;
        for (place, target) in wanted {
            changed |= self.link(&place, &target)?;
        }
        Ok(changed)
    }

    fn disable(&mut self, unit: &UnitName) -> Answer<bool> {
        let units = self.with_also(unit, ServiceAction::Disable)?;
        let mut found = Vec::new();
        self.own_entry(&ImagePath::parse(ETC)?)?;
        for (name, kind) in self.list(ETC)? {
            let is_states = ["wants", "requires", "upholds"].iter().any(|end| name.ends_with(&format!(".{end}")));
            if kind == FileKind::Directory && is_states {
                let directory = format!("{ETC}/{name}");
                for (entry, kind) in self.list(&directory)? {
                    if kind == FileKind::Symlink && units.iter().any(|(unit, ..)| is_of(&entry, unit)) {
                        found.push(path(&directory, &entry)?);
                    }
                }
            } else if kind == FileKind::Symlink {
                let link = path(ETC, &name)?;
                let target = self.bench.rootfs().metadata(&link)?.and_then(|metadata| metadata.target);
                let leads_to = target.as_deref().and_then(|target| target.rsplit('/').next()).unwrap_or_default();
                if units.iter().any(|(unit, ..)| is_of(leads_to, unit) && name != unit.as_str()) {
                    found.push(link);
                }
            }
        }
        for link in &found {
            self.bench.rootfs().remove(link, false)?;
        }
        Ok(!found.is_empty())
    }

    fn mask(&mut self, unit: &UnitName) -> Answer<bool> {
        self.gate(&Need::service(ServiceAction::Mask, unit.as_str()))?;
        let place = path(ETC, unit.as_str())?;
        match self.own_entry(&place)? {
            Some(metadata) if metadata.kind != FileKind::Symlink => Err(CallError::new(
                ErrorCode::Exists,
                format!("cannot mask `{}`: `{}` is a unit of its own", unit.as_str(), place.as_str()),
            )),
            Some(metadata) if metadata.target.as_deref() != Some(NULL) => {
                self.bench.rootfs().remove(&place, false)?;
                self.link(&place, NULL)
            }
            _ => self.link(&place, NULL),
        }
    }

    fn unmask(&mut self, unit: &UnitName) -> Answer<bool> {
        self.gate(&Need::service(ServiceAction::Mask, unit.as_str()))?;
        let place = path(ETC, unit.as_str())?;
        let masked = self.own_entry(&place)?.is_some_and(|metadata| metadata.target.as_deref() == Some(NULL));
        if masked {
            self.bench.rootfs().remove(&place, false)?;
        }
        Ok(masked)
    }

    /// Returns the unit and all that `Also=` adds, each asked for, with its file and what that says.
    fn with_also(&mut self, unit: &UnitName, action: ServiceAction) -> Answer<Vec<(UnitName, ImagePath, Install)>> {
        let mut units: Vec<(UnitName, ImagePath, Install)> = Vec::new();
        let mut waiting = vec![unit.clone()];
        while let Some(mut next) = waiting.pop() {
            self.gate(&Need::service(action, next.as_str()))?;
            let fail = |unit: &UnitName, code, cause: &str| {
                Err(CallError::new(code, format!("cannot {action} `{}`: {cause}", unit.as_str())))
            };
            let mut found = self.find_unit(&next)?;
            if let Found::Alias(real) = found {
                self.gate(&Need::service(action, real.as_str()))?;
                found = self.find_unit(&real)?;
                next = real;
            }
            let file = match found {
                Found::File(file) => file,
                Found::Masked => return fail(&next, ErrorCode::Invalid, "it is masked"),
                Found::Alias(_) => return fail(&next, ErrorCode::Invalid, "it is an alias of an alias"),
                Found::Missing => return fail(&next, ErrorCode::NotFound, "the image has no such unit"),
            };
            if units.iter().any(|(known, ..)| *known == next) {
                continue;
            }
            if units.len() == MAX_UNITS {
                return fail(&next, ErrorCode::Limit, "too many units belong together by `Also=`");
            }
            let install = self.read_install(&next, &file)?;
            waiting.extend(install.also(&next).map_err(invalid)?);
            units.push((next, file, install));
        }
        Ok(units)
    }

    /// Finds the file of a unit, or of the template of an instance.
    fn find_unit(&self, unit: &UnitName) -> Answer<Found> {
        for name in std::iter::once(unit.clone()).chain(unit.template()) {
            for place in PLACES {
                let entry = path(place, name.as_str())?;
                let Some(metadata) = self.bench.rootfs().metadata(&entry)? else { continue };
                match (metadata.kind, metadata.target) {
                    (FileKind::File, _) if metadata.size == 0 => return Ok(Found::Masked),
                    (FileKind::File, _) => return Ok(Found::File(entry)),
                    (FileKind::Symlink, Some(target)) if target == NULL => return Ok(Found::Masked),
                    (FileKind::Symlink, Some(target)) => {
                        let last = target.rsplit('/').next().unwrap_or_default();
                        let real = self::unit(last)?;
                        return Ok(if real == name { Found::File(entry) } else { Found::Alias(real) });
                    }
                    _ => return Err(invalid(format!("`{}` is no file", entry.as_str()))),
                }
            }
        }
        Ok(Found::Missing)
    }

    fn read_install(&self, unit: &UnitName, file: &ImagePath) -> Answer<Install> {
        let mut texts = vec![self.unit_text(file)?];
        // As systemd reads drop-ins: by file name, in all directories, and the first of each name.
        let mut parts: Vec<(String, ImagePath)> = Vec::new();
        for name in std::iter::once(unit.clone()).chain(unit.template()) {
            for place in PLACES {
                let directory = format!("{place}/{}.d", name.as_str());
                for (entry, kind) in self.list(&directory)? {
                    let new = parts.iter().all(|(known, _)| *known != entry);
                    if kind == FileKind::File && entry.ends_with(".conf") && new {
                        parts.push((entry.clone(), path(&directory, &entry)?));
                    }
                }
            }
        }
        parts.sort();
        for (_, part) in &parts {
            texts.push(self.unit_text(part)?);
        }
        Ok(Install::parse(texts.iter().map(String::as_str)))
    }

    fn unit_text(&self, path: &ImagePath) -> Answer<String> {
        let data = self.bench.rootfs().read(path, LIMIT)?;
        String::from_utf8(data).map_err(|_| invalid(format!("`{}` is no UTF-8 text", path.as_str())))
    }

    /// Refuses an alias that is the name of an existing unit: the link would hide that unit.
    fn check_alias(&self, unit: &UnitName, alias: &UnitName) -> Answer<()> {
        let other = match self.find_unit(alias)? {
            Found::Missing => return Ok(()),
            Found::Alias(real) if real == *unit || Some(&real) == unit.template().as_ref() => return Ok(()),
            Found::Alias(_) | Found::File(_) | Found::Masked => alias.as_str(),
        };
        let message = format!("cannot enable `{}`: its alias `{other}` is a unit already", unit.as_str());
        Err(CallError::new(ErrorCode::Exists, message))
    }

    /// Makes a link unless it is there; a directory above it may be missing.
    fn link(&mut self, place: &ImagePath, target: &str) -> Answer<bool> {
        match self.own_entry(place)? {
            Some(metadata) if metadata.target.as_deref() == Some(target) => return Ok(false),
            // As in `systemctl`: any link to the unit will do.
            Some(metadata)
                if metadata.target.as_deref().is_some_and(|is| is.rsplit('/').next() == target.rsplit('/').next()) =>
            {
                return Ok(false);
            }
            Some(_) => {
                return Err(CallError::new(ErrorCode::Exists, format!("`{}` exists already", place.as_str())));
            }
            None => {}
        }
        self.make_parents(place, DIRECTORY)?;
        self.bench.rootfs().symlink(place, target)?;
        Ok(true)
    }

    fn write_unit(&mut self, path: &ImagePath, text: &str) -> Answer<()> {
        if self.own_entry(path)?.is_some_and(|metadata| metadata.kind != FileKind::File) {
            return Err(CallError::new(
                ErrorCode::Exists,
                format!("`{}` is there and no file: is the unit masked, or an alias?", path.as_str()),
            ));
        }
        self.make_parents(path, DIRECTORY)?;
        Ok(self.bench.rootfs().write(path, text.as_bytes(), FILE)?)
    }

    fn list(&self, directory: &str) -> Answer<Vec<(String, FileKind)>> {
        match self.bench.rootfs().list_dir(&ImagePath::parse(directory)?) {
            Ok(entries) => Ok(entries),
            Err(error) if matches!(error.code, FileErrorCode::NotFound | FileErrorCode::NotADirectory) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn unit(name: &str) -> Answer<UnitName> {
    UnitName::parse(name).map_err(|cause| invalid(format!("`{name}` is no unit: {cause}")))
}

fn path(directory: &str, name: &str) -> Answer<ImagePath> {
    Ok(ImagePath::parse(directory)?.join(name)?)
}

/// Returns whether a link of that name is one of the unit's: of a template, those of all its instances.
fn is_of(name: &str, unit: &UnitName) -> bool {
    name == unit.as_str()
        || (unit.is_template() && UnitName::parse(name).is_ok_and(|link| link.template().as_ref() == Some(unit)))
}

fn check_text(text: &str) -> Answer<()> {
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LIMIT {
        return Err(CallError::new(ErrorCode::Limit, format!("a unit has at most {LIMIT} bytes")));
    }
    if text.contains('\0') || !text.lines().any(|line| line.trim_start().starts_with('[')) {
        return Err(invalid("the text is no unit: it has no section, such as `[Service]`"));
    }
    Ok(())
}
