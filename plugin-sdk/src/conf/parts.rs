//! Puts a description together of parts.

use super::{PluginConf, raw};
use crate::Need;

impl PluginConf {
    /// Asks for all that another description asks for, where a plugin is put together of parts: capabilities, packages, parameters,
    /// answers, pins, archives, and what it says of the image and this one does not. Releases and architectures are not taken
    /// over: what the whole was made for is said by the whole.
    ///
    /// ```
    /// use piimg_plugin_sdk::{PluginConf, fs};
    ///
    /// let part = PluginConf::new("example/note", "0.1.0", "Note").needs(fs::writing("/etc/note")).package("htop");
    /// let whole = PluginConf::new("example/whole", "0.1.0", "Whole").including(part);
    /// assert_eq!(whole.capabilities()[0].scope, "fs:write:/etc/note");
    /// assert_eq!(whole.image_params().apt_get_packages, ["htop"]);
    /// ```
    #[must_use]
    pub fn including(mut self, part: Self) -> Self {
        let (part, wishes) = part.into_raw();
        for capability in part.capabilities {
            let need = Need::capability(&capability.scope, "");
            self = self.need(&need, &capability.reason, capability.optional);
        }
        self.0.image = merged(self.0.image, part.image);
        extend(&mut self.0.params, part.params);
        extend(&mut self.0.after, part.after);
        extend(&mut self.0.conflicts, part.conflicts);
        extend(&mut self.1.answers, wishes.answers);
        extend(&mut self.1.pins, wishes.pins);
        extend(&mut self.1.repositories, wishes.repositories);
        extend(&mut self.1.removals, wishes.removals);
        self
    }
}

/// Adds what is not there yet. Two that differ in a part only are both kept: the host knows which of them go together, and says
/// which do not.
fn extend<T: std::fmt::Debug>(list: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        let text = format!("{item:?}");
        if !list.iter().any(|known| format!("{known:?}") == text) {
            list.push(item);
        }
    }
}

/// Returns what is said of an image by the whole, or else by a part of it.
fn merged(whole: raw::ImageParams, part: raw::ImageParams) -> raw::ImageParams {
    let mut packages = whole.apt_get_packages;
    extend(&mut packages, part.apt_get_packages);
    raw::ImageParams {
        hostname: whole.hostname.or(part.hostname),
        // As among plugins, the largest counts; `None` is less than any number.
        rootfs_extra_space_mb: whole.rootfs_extra_space_mb.max(part.rootfs_extra_space_mb),
        rootfs: whole.rootfs.or(part.rootfs),
        flavour: whole.flavour.or(part.flavour),
        release: whole.release.or(part.release),
        imagedir: whole.imagedir.or(part.imagedir),
        apt_get_packages: packages,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Param, apt, debconf, fs};

    fn conf() -> PluginConf {
        PluginConf::new("a/b", "0.1.0", "B")
    }

    #[test]
    fn the_whole_has_what_its_parts_ask_for() {
        let part = || {
            conf()
                .hostname("part")
                .rootfs_extra_space_mb(7)
                .package("htop")
                .remove_package("nano")
                .param(Param::required("x", "X", Kind::Text))
                .answer(debconf::boolean("a/b", true))
                .pin(apt::pin_version("a", "1", 1))
                .needs(fs::writing("/etc/x"))
                .releases(["bookworm"])
        };
        let whole = conf().hostname("whole").can_use(fs::writing("/etc/x"), "x").including(part()).including(part());
        let image = whole.image_params();
        assert_eq!((image.hostname.as_deref(), image.rootfs_extra_space_mb), (Some("whole"), Some(7)));
        assert_eq!(
            (image.apt_get_packages, whole.removed_packages()),
            (vec!["htop".to_owned()], &["nano".to_owned()][..])
        );
        assert_eq!((whole.answers().len(), whole.capabilities().len()), (1, 1));
        assert!(!whole.capabilities()[0].optional, "a part cannot do without it");
        let (raw, wishes) = whole.into_raw();
        assert_eq!((raw.params.len(), wishes.pins.len(), raw.releases.len()), (1, 1, 0));
    }
}
