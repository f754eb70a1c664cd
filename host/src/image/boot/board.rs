//! Lists the machines that QEMU emulates.

use crate::image::layout::Bytes;
use crate::image::models::Model;

/// The emulated machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Board {
    /// QEMU's own `virt` machine with its own device tree, the fastest:
    /// <https://www.qemu.org/docs/master/system/arm/virt.html>.
    #[default]
    Virt,
    /// A Pi 3, with the device tree of the image's own boot partition, and its card.
    Raspi3b,
}

impl Board {
    pub const ALL: [Self; 2] = [Self::Virt, Self::Raspi3b];

    /// Returns QEMU's name of the machine: <https://www.qemu.org/docs/master/system/arm/raspi.html>.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Raspi3b => "raspi3b",
        }
    }

    /// Returns the machine called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|board| board.name() == name)
    }

    /// Returns the model that it is, if it is one.
    pub(super) const fn model(self) -> Option<Model> {
        match self {
            Self::Virt => None,
            Self::Raspi3b => Some(Model::Pi3),
        }
    }

    /// Returns the machine's memory in MiB if it cannot be chosen.
    pub(super) const fn memory(self) -> Option<u32> {
        match self {
            Self::Virt => None,
            Self::Raspi3b => Some(1024),
        }
    }

    /// Returns the length of a disk that holds `length` bytes: QEMU takes cards of a power of two alone.
    pub(super) fn disk(self, length: Bytes) -> Bytes {
        match self {
            Self::Virt => length,
            Self::Raspi3b => Bytes(length.0.next_power_of_two()),
        }
    }

    /// Returns the kernel's name of the serial line that is shown, for a device tree of that name.
    pub(super) fn console(self, device_tree: &str) -> &'static str {
        match self {
            // Of mainline's: the other one is Bluetooth's.
            Self::Raspi3b if is_mainline(device_tree) => "ttyS1",
            Self::Virt | Self::Raspi3b => "ttyAMA0",
        }
    }
}

/// Returns whether a device tree of a Pi 3 is that of mainline Linux, by its processor's name.
pub(super) fn is_mainline(device_tree: &str) -> bool {
    device_tree.rsplit('/').next().is_some_and(|name| name.starts_with("bcm2837"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_a_pi_has_the_length_of_one() {
        for (board, mib, expected) in [
            (Board::Virt, 3000, 3000),
            (Board::Raspi3b, 3000, 4096),
            (Board::Raspi3b, 4096, 4096),
            (Board::Raspi3b, 4097, 8192),
        ] {
            assert_eq!(board.disk(Bytes::mib(mib)), Bytes::mib(expected), "{board:?} {mib}");
        }
    }
}
