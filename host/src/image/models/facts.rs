//! Lists the models: the name of each board, the files that it starts with, and what it runs. Pure.

use super::Model;

/// Facts about a model.
#[derive(Debug)]
pub(super) struct Facts {
    /// Sections of `config.txt` that apply to it.
    pub(super) sections: &'static [&'static str],
    pub(super) firmware: Firmware,
    /// Device trees by the names of the Raspberry Pi kernel and of the mainline kernel.
    pub(super) downstream: &'static str,
    pub(super) mainline: &'static str,
    /// Names of a kernel that `config.txt` does not name, if it asks for 64 bits, for 32 bits or for neither.
    pub(super) kernels_64: &'static [&'static str],
    pub(super) kernels_32: &'static [&'static str],
    pub(super) kernels_any: &'static [&'static str],
    /// Whether it runs a kernel of 64 bits.
    pub(super) runs_64: bool,
}

/// Source of the boot stages before the kernel:
/// <https://www.raspberrypi.com/documentation/computers/raspberry-pi.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Firmware {
    /// `bootcode.bin`, `start*.elf` and `fixup*.dat`.
    Disk,
    /// `start4*.elf` and `fixup4*.dat`; the first stage is in the board.
    Disk4,
    /// All of it is in the board.
    Board,
}

impl Model {
    pub(super) const fn facts(self) -> Facts {
        const OLD: Facts = Facts {
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
        const KERNELS: &[&str] = &["kernel_2712.img", "kernel8.img"];
        const NEWEST: Facts =
            Facts { firmware: Firmware::Board, kernels_64: KERNELS, kernels_32: KERNELS, kernels_any: KERNELS, ..OLD };
        match self {
            Self::ZeroW => Facts {
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
                sections: &["pi2"],
                downstream: "bcm2709-rpi-2-b.dtb",
                mainline: "bcm2836-rpi-2-b.dtb",
                runs_64: false,
                ..OLD
            },
            Self::Pi3 => {
                Facts { sections: &["pi3"], downstream: "bcm2710-rpi-3-b.dtb", mainline: "bcm2837-rpi-3-b.dtb", ..OLD }
            }
            Self::Pi3Plus => Facts {
                sections: &["pi3", "pi3+"],
                downstream: "bcm2710-rpi-3-b-plus.dtb",
                mainline: "bcm2837-rpi-3-b-plus.dtb",
                ..OLD
            },
            // The kernels of Raspberry Pi have one device tree for it and the B+, that of mainline has its own.
            Self::Pi3APlus => Facts {
                sections: &["pi3", "pi3+"],
                downstream: "bcm2710-rpi-3-b-plus.dtb",
                mainline: "bcm2837-rpi-3-a-plus.dtb",
                ..OLD
            },
            Self::Cm3 => Facts {
                sections: &["pi3", "cm3"],
                downstream: "bcm2710-rpi-cm3.dtb",
                mainline: "bcm2837-rpi-cm3-io3.dtb",
                ..OLD
            },
            Self::Cm3Plus => Facts { sections: &["pi3", "cm3", "cm3+"], ..Self::Cm3.facts() },
            Self::Zero2W => Facts {
                sections: &["pi0", "pi0w", "pi02"],
                downstream: "bcm2710-rpi-zero-2-w.dtb",
                mainline: "bcm2837-rpi-zero-2-w.dtb",
                ..OLD
            },
            Self::Pi4 => {
                Facts { sections: &["pi4"], downstream: "bcm2711-rpi-4-b.dtb", mainline: "bcm2711-rpi-4-b.dtb", ..NEW }
            }
            Self::Pi400 => Facts {
                sections: &["pi4", "pi400"],
                downstream: "bcm2711-rpi-400.dtb",
                mainline: "bcm2711-rpi-400.dtb",
                ..NEW
            },
            Self::Cm4 => Facts {
                sections: &["pi4", "cm4"],
                downstream: "bcm2711-rpi-cm4.dtb",
                mainline: "bcm2711-rpi-cm4-io.dtb",
                ..NEW
            },
            // Mainline has none for it.
            Self::Cm4S => Facts {
                sections: &["pi4", "cm4s"],
                downstream: "bcm2711-rpi-cm4s.dtb",
                mainline: "bcm2711-rpi-cm4s.dtb",
                ..NEW
            },
            Self::Pi5 => Facts {
                sections: &["pi5"],
                downstream: "bcm2712-rpi-5-b.dtb",
                mainline: "bcm2712-rpi-5-b.dtb",
                ..NEWEST
            },
            Self::Pi500 => Facts {
                sections: &["pi5", "pi500"],
                downstream: "bcm2712-rpi-500.dtb",
                mainline: "bcm2712-rpi-500.dtb",
                ..NEWEST
            },
            // On the board that is sold with it; the firmware takes another tree on that of the Compute Module 4.
            Self::Cm5 => Facts {
                sections: &["pi5", "cm5"],
                downstream: "bcm2712-rpi-cm5-cm5io.dtb",
                mainline: "bcm2712-rpi-cm5-cm5io.dtb",
                ..NEWEST
            },
            Self::Cm5Lite => Facts {
                sections: &["pi5", "cm5"],
                downstream: "bcm2712-rpi-cm5l-cm5io.dtb",
                mainline: "bcm2712-rpi-cm5l-cm5io.dtb",
                ..NEWEST
            },
        }
    }
}
