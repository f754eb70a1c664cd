//! Sets all seven image parameters, has parameters of its own, and writes its texts for a terminal to obey.

use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result};

struct Wishes;

impl Plugin for Wishes {
    fn conf() -> PluginConf {
        PluginConf::new("test/wishes", "1.0.0", "Wishes\u{1b}[2J")
            .hostname("wished")
            .rootfs_extra_space_mb(42)
            .rootfs("/wished/rootfs")
            .flavour("bread")
            .release("bookworm")
            .imagedir("/wished/images; id")
            .package("htop")
            .capability("fs:write:/etc/wish", "harmless\r\u{1b}[1A\u{202e}")
            .param(Param::required("colour", "Colour", Kind::Choice(&["red", "green"])))
            .param(Param::with_default("count", "Count", Kind::Integer(1, 9), &3))
    }

    fn execute() -> Result {
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Wishes);
