//! A fixed address
//!
//! It is written for NetworkManager, netplan or networkd, whichever the image has; `.service(…)` names one, and then only that
//! file is asked for.
//!
//! Asks for `fs:write:/etc/netplan/10-lan.yaml`, `fs:write:/etc/NetworkManager/system-connections/10-lan.nmconnection`,
//! `fs:write:/etc/systemd/network/10-lan.network`.

use piimg_plugin_sdk::network::{Connection, Profile};
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

fn lan() -> Profile {
    let lan = Connection::new("eth0").address("192.168.42.10/24").gateway("192.168.42.1").dns("192.168.42.1");
    lan.profile("10-lan")
}

pub struct Address;

impl Plugin for Address {
    fn conf() -> PluginConf {
        PluginConf::new("example/address", "0.1.0", "Address").needs(lan())
    }

    fn execute() -> Result {
        Ok(lan().apply()?)
    }
}
