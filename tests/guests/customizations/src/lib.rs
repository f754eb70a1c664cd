//! The plugins of `docs/customizations.md`, one in each file: `cargo xtask docs` copies them onto that page. They are parts of
//! one plugin here, so that all of them are compiled at once; a parameter chooses which one runs.

#![expect(missing_debug_implementations, reason = "they are plugins, which nobody prints")]

use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context};

/// A plugin of the page.
#[derive(Clone, Copy)]
pub struct Customization {
    /// Name of its file, without the suffix.
    pub name: &'static str,
    /// Description of the plugin.
    pub conf: fn() -> PluginConf,
    execute: fn() -> Result,
}

macro_rules! customizations {
    ($($module:ident :: $plugin:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// All plugins of the page.
        pub const ALL: &[Customization] = &[
            $(Customization {
                name: stringify!($module),
                conf: $module::$plugin::conf,
                execute: $module::$plugin::execute,
            }),*
        ];
    };
}

customizations! {
    address::Address,
    archive::Archive,
    autologin::Autologin,
    buses::Buses,
    checkout::Checkout,
    compile::Compile,
    cron::Cron,
    debconf::Debconf,
    download::Download,
    edit::Edit,
    files::Files,
    firewall::Firewall,
    first_boot::FirstBoot,
    journal::Journal,
    kernel::Kernel,
    kiosk::Kiosk,
    message::Message,
    modules::Modules,
    packages::Packages,
    password::Password,
    program::Program,
    python_app::PythonApp,
    region::Region,
    session::Session,
    switched_off::SwitchedOff,
    timer::Timer,
    udev::Udev,
    unpack::Unpack,
    user::Ann,
    wheels::Wheels,
    wifi::Wifi,
    zram::Zram,
}

struct Customizations;

impl Plugin for Customizations {
    fn conf() -> PluginConf {
        let conf = PluginConf::new("test/customizations", "1.0.0", "Customizations").param(Param::required(
            "of",
            "the one that runs",
            Kind::Text,
        ));
        ALL.iter().fold(conf, |conf, one| conf.including((one.conf)()))
    }

    fn execute() -> Result {
        let of: String = context::get("of")?;
        let one = ALL.iter().find(|one| one.name == of).ok_or_else(|| format!("there is no customization `{of}`"))?;
        (one.execute)()
    }
}

piimg_plugin_sdk::plugin!(Customizations);
