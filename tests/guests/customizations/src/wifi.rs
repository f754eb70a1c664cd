//! Wi-Fi with its country
//!
//! What a user chooses is a parameter: `--param example/wifi:ssid=field`. It stands as `{params.NAME}` in the words of a value and
//! is filled in by `apply`. Without a country the radio of a Pi stays off.
//!
//! Asks for `pkg:install:network-manager`, `boot:cmdline:cfg80211.ieee80211_regdom`,
//! `fs:write:/etc/NetworkManager/system-connections/20-wifi.nmconnection`.

use piimg_plugin_sdk::network::{self, Connection, Profile, Service, WifiCountry};
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result};

const COUNTRY: WifiCountry = network::wifi_country("GB");

fn connection() -> Profile {
    let wifi = Connection::wifi("wlan0", "{params.ssid}", Some("{params.passphrase}"));
    wifi.profile("20-wifi").service(Service::NetworkManager)
}

pub struct Wifi;

impl Plugin for Wifi {
    fn conf() -> PluginConf {
        PluginConf::new("example/wifi", "0.1.0", "Wi-Fi")
            .package("network-manager")
            .param(Param::required("ssid", "name of the network", Kind::Text))
            .param(Param::required("passphrase", "what its members know", Kind::Text))
            .needs(COUNTRY)
            .needs(connection())
    }

    fn execute() -> Result {
        COUNTRY.apply()?;
        connection().apply()?;
        Ok(())
    }
}
