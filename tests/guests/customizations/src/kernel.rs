//! Parameters of the kernel
//!
//! On its command line, and those that can be set while it runs.
//!
//! Asks for `boot:cmdline:quiet`, `boot:cmdline:usbcore.autosuspend`, `fs:write:/etc/sysctl.d/50-field.conf`.

use piimg_plugin_sdk::boot_config::{self, KernelParameter};
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const QUIET: KernelParameter = boot_config::kernel_parameter("quiet");
const USB: KernelParameter = boot_config::kernel_parameter("usbcore.autosuspend=-1");
const SYSCTL: &str = "/etc/sysctl.d/50-field.conf";

pub struct Kernel;

impl Plugin for Kernel {
    fn conf() -> PluginConf {
        PluginConf::new("example/kernel", "0.1.0", "Kernel")
            .needs(QUIET)
            .needs(USB)
            .needs_because(fs::writing(SYSCTL), "restarts ten seconds after a panic")
    }

    fn execute() -> Result {
        QUIET.apply()?;
        USB.apply()?;
        fs::write(SYSCTL, "kernel.panic = 10\n").apply()?;
        Ok(())
    }
}
