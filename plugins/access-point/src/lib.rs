//! A wireless network of its own, which the machine names after its hardware address at the first boot.

use piimg_plugin_sdk::network::{self, Connection, WifiCountry};
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, fs, services};

/// Text that the machine replaces with the last digits of its address. No prefix has it.
const PLACEHOLDER: &str = "@@@@";
const NAME: &str = "piimg-access-point";
const UNIT: &str = "piimg-access-point.service";
const SCRIPT: &str = "/usr/local/sbin/piimg-access-point";
const TEMPLATE: &str = "/etc/NetworkManager/piimg-access-point.template";
const PROFILE: &str = "/etc/NetworkManager/system-connections/piimg-access-point.nmconnection";
const RULES: &str = "/etc/udev/rules.d/70-piimg-access-point.rules";

const COUNTRY: WifiCountry = network::wifi_country("{params.country}");

struct AccessPoint;

impl Plugin for AccessPoint {
    fn conf() -> PluginConf {
        PluginConf::new("piimg/access-point", env!("CARGO_PKG_VERSION"), "Access point")
            .description("Opens a wireless network at the first boot, named after the hardware address.")
            // What NetworkManager needs to share a connection, beside itself.
            .packages(["network-manager", "wpasupplicant", "dnsmasq-base", "nftables"])
            .param(Param::with_default("prefix", "beginning of the network's name", Kind::Text, &"robot-"))
            .param(Param::required("passphrase", "of the network, 8 to 63 characters", Kind::Text))
            .param(Param::required(
                "country",
                "where it will be, such as `GB`: it decides on channels and power",
                Kind::Text,
            ))
            .param(Param::with_default("interface", "the wireless interface", Kind::Text, &"wlan0"))
            .param(Param::with_default("address", "its own address in the network", Kind::Text, &"10.42.0.1/24"))
            .needs_because(fs::writing(TEMPLATE), "the network without its name")
            .needs_because(fs::writing(SCRIPT), "gives it its name at the first boot")
            .capability("svc:install:piimg-access-point.service", "runs the script once")
            .needs_because(fs::writing(RULES), "starts that when the interface is there")
            .needs_because(COUNTRY, "sets the country")
    }

    fn execute() -> Result {
        let text = context::get::<String>;
        let interface = text("interface")?;
        COUNTRY.apply()?;
        let profile = profile(&text("prefix")?, &text("passphrase")?, &interface, &text("address")?)?;
        // It has the passphrase in it.
        fs::write(TEMPLATE, profile).mode(0o600).owner("root", "root").apply()?;
        fs::write(SCRIPT, include_str!("name-access-point")).mode(0o755).owner("root", "root").apply()?;
        services::install(UNIT, &unit(&interface))?;
        fs::write(RULES, rules(&interface)).mode(0o644).apply()?;
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(AccessPoint);

/// Describes the connection for NetworkManager, without the end of its name.
fn profile(prefix: &str, passphrase: &str, interface: &str, address: &str) -> Result<String> {
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !prefix.chars().all(plain) {
        let prefix = prefix.escape_debug();
        return Err(format!("`{prefix}` cannot begin a network's name here: letters, digits, `_` and `-`").into());
    }
    if interface.contains('*') {
        return Err(format!("`{interface}` is not one interface, such as `wlan0`: an access point is on one").into());
    }
    let ssid = format!("{prefix}{PLACEHOLDER}");
    let point = Connection::access_point(interface, &ssid, Some(passphrase)).address(address);
    Ok(point.network_manager(NAME)?)
}

/// Writes the unit; `nmcli` talks to a NetworkManager that runs, so it comes after that.
fn unit(interface: &str) -> String {
    format!(
        "[Unit]\nDescription=Name the access point after the hardware address\nAfter=NetworkManager.service\n\
         ConditionPathExists=!{PROFILE}\n\n[Service]\nType=oneshot\n\
         ExecStart={SCRIPT} /sys/class/net/{interface}/address {TEMPLATE} {PROFILE}\n\
         ExecStart=/usr/bin/nmcli connection load {PROFILE}\n"
    )
}

/// Starts the unit when the interface appears: its driver is loaded late, and boards without one would wait for it at
/// boot.
fn rules(interface: &str) -> String {
    format!(
        "ACTION==\"add\", SUBSYSTEM==\"net\", KERNEL==\"{interface}\", TAG+=\"systemd\", ENV{{SYSTEMD_WANTS}}+=\"{UNIT}\"\n"
    )
}

#[cfg(test)]
mod tests;
