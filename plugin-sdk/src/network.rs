//! Connections to networks, for whichever of NetworkManager, netplan and networkd the image has:
//! `Connection::new("eth*").address("192.168.42.125/24").profile("10-field").apply()?`.

mod netplan;
mod network_manager;
mod networkd;

use std::net::IpAddr;

use crate::template::{all_filled, filled};
use crate::{Error, ErrorCode, Need, Needs, boot_config, fs, packages, text};

/// A connection as it shall be; addresses come from the network (DHCP) unless some are named.
///
/// ```
/// use piimg_plugin_sdk::network::Connection;
///
/// let lan = Connection::new("eth0").address("192.168.42.10/24").gateway("192.168.42.1").dns("192.168.42.1");
/// assert!(lan.networkd().unwrap().contains("\nAddress=192.168.42.10/24\n"));
/// ```
#[derive(Clone, Debug)]
pub struct Connection {
    interface: String,
    addresses: Vec<String>,
    gateway: Option<String>,
    dns: Vec<String>,
    wifi: Option<Wifi>,
}

#[derive(Clone, Debug)]
struct Wifi {
    ssid: String,
    passphrase: Option<String>,
    access_point: bool,
}

impl Connection {
    /// Begins a connection for a network interface, or for those that a name with `*` stands for, such as `eth*`.
    #[must_use]
    pub fn new(interface: &str) -> Self {
        Self { interface: interface.to_owned(), addresses: Vec::new(), gateway: None, dns: Vec::new(), wifi: None }
    }

    /// Connects to the wireless network of this name, with a passphrase if it has one.
    #[must_use]
    pub fn wifi(interface: &str, ssid: &str, passphrase: Option<&str>) -> Self {
        let wifi = Wifi { ssid: ssid.to_owned(), passphrase: passphrase.map(str::to_owned), access_point: false };
        Self { wifi: Some(wifi), ..Self::new(interface) }
    }

    /// Offers a wireless network of its own, whose members get addresses and a way out.
    #[must_use]
    pub fn access_point(interface: &str, ssid: &str, passphrase: Option<&str>) -> Self {
        let wifi = Wifi { ssid: ssid.to_owned(), passphrase: passphrase.map(str::to_owned), access_point: true };
        Self { wifi: Some(wifi), ..Self::new(interface) }
    }

    /// Sets an address that it always has, with the length of the network's part: `192.168.42.125/24`.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    /// Sets the gateway by which other networks are reached.
    #[must_use]
    pub fn gateway(mut self, address: &str) -> Self {
        self.gateway = Some(address.to_owned());
        self
    }

    /// Adds a server that knows names.
    #[must_use]
    pub fn dns(mut self, address: &str) -> Self {
        self.dns.push(address.to_owned());
        self
    }

    /// Describes its file: `name` is that of the file, without a suffix.
    ///
    /// ```no_run
    /// # use piimg_plugin_sdk::network::Connection;
    /// Connection::new("eth*").address("192.168.42.125/24").profile("10-field").apply()?;
    /// # Ok::<(), piimg_plugin_sdk::Error>(())
    /// ```
    pub fn profile(self, name: &str) -> Profile {
        Profile { connection: self, name: name.to_owned(), service: None }
    }

    /// Fills in the values of parameters.
    fn filled(&self) -> Result<Self, Error> {
        let all = |texts: &[String]| all_filled(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let one = |text: &String| filled(text).map(std::borrow::Cow::into_owned);
        let wifi = |wifi: &Wifi| {
            let passphrase = wifi.passphrase.as_ref().map(one).transpose()?;
            Ok::<_, Error>(Wifi { ssid: one(&wifi.ssid)?, passphrase, ..wifi.clone() })
        };
        Ok(Self {
            interface: one(&self.interface)?,
            addresses: all(&self.addresses)?,
            gateway: self.gateway.as_ref().map(one).transpose()?,
            dns: all(&self.dns)?,
            wifi: self.wifi.as_ref().map(wifi).transpose()?,
        })
    }

    /// Returns the text for networkd.
    ///
    /// # Errors
    /// [`ErrorCode::Invalid`] for what is no address, name or passphrase; [`ErrorCode::Unsupported`] for a wireless network,
    /// which networkd does not join by itself.
    pub fn networkd(&self) -> Result<String, Error> {
        networkd::text(self)
    }

    /// Returns the text for NetworkManager.
    ///
    /// # Errors
    /// [`ErrorCode::Invalid`] for what is no address, name or passphrase.
    pub fn network_manager(&self, name: &str) -> Result<String, Error> {
        network_manager::text(self, file_name(name)?)
    }

    /// Returns the text for netplan.
    ///
    /// # Errors
    /// [`ErrorCode::Invalid`] for what is no address, name or passphrase; [`ErrorCode::Unsupported`] for a wireless interface
    /// with `*` in its name.
    pub fn netplan(&self) -> Result<String, Error> {
        netplan::text(self)
    }

    /// Refuses what would mean something else in a file: all three kinds of files are lines.
    fn check(&self) -> Result<(), Error> {
        // Names of interfaces have at most 15 bytes: IFNAMSIZ in linux/if.h.
        let named = |it: char| it.is_ascii_alphanumeric() || "_-.*".contains(it);
        let interface = &self.interface;
        if interface.is_empty() || interface.len() > 15 || !interface.chars().all(named) {
            return invalid(format!(
                "`{}` is no network interface, such as `eth0` or `eth*`",
                interface.escape_debug()
            ));
        }
        for address in &self.addresses {
            let split =
                address.split_once('/').and_then(|(ip, bits)| Some((ip.parse().ok()?, bits.parse::<u8>().ok()?)));
            let longest = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
            if split.is_none_or(|(ip, bits)| bits > longest(ip)) {
                return invalid(format!(
                    "`{}` is no address with its network, such as `192.168.42.125/24`",
                    address.escape_debug()
                ));
            }
        }
        if let Some(odd) = self.gateway.iter().chain(&self.dns).find(|address| address.parse::<IpAddr>().is_err()) {
            return invalid(format!("`{}` is no address, such as `192.168.42.1`", odd.escape_debug()));
        }
        self.wifi.as_ref().map_or(Ok(()), Wifi::check)
    }
}

/// The service that sets up the network of an image.
///
/// ```no_run
/// # use piimg_plugin_sdk::network::Service;
/// let has_network_manager = Service::of_image()? == Service::NetworkManager;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `systemd-networkd`, without any other.
    Networkd,
    /// NetworkManager, without netplan.
    NetworkManager,
    /// netplan, which hands over to one of the others.
    Netplan,
}

impl Service {
    /// All of them.
    const ALL: [Self; 3] = [Self::Netplan, Self::NetworkManager, Self::Networkd];

    /// Returns the one that the image has: what Ubuntu, Raspberry Pi OS and Debian bring, in this order.
    ///
    /// # Errors
    /// [`ErrorCode::Io`] if the packages of the image cannot be read.
    pub fn of_image() -> Result<Self, Error> {
        let has = |name: &str| Ok::<_, Error>(packages::query(name)?.is_some());
        Ok(match (has("netplan.io")?, has("network-manager")?) {
            (true, _) => Self::Netplan,
            (_, true) => Self::NetworkManager,
            _ => Self::Networkd,
        })
    }

    /// Returns where it has its files.
    fn file(self, name: &str) -> String {
        match self {
            Self::Networkd => format!("/etc/systemd/network/{name}.network"),
            Self::NetworkManager => format!("/etc/NetworkManager/system-connections/{name}.nmconnection"),
            Self::Netplan => format!("/etc/netplan/{name}.yaml"),
        }
    }
}

/// A connection and the name of its file; see [`Connection::profile`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Debug)]
pub struct Profile {
    connection: Connection,
    name: String,
    service: Option<Service>,
}

impl Profile {
    /// Sets for what it is written, where the author knows it: then only that file is asked for.
    pub fn service(self, service: Service) -> Self {
        Self { service: Some(service), ..self }
    }

    /// Writes the file, for root alone where a passphrase may be in it.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; those of [`Connection::networkd`], [`Connection::network_manager`] and [`Connection::netplan`].
    pub fn apply(&self) -> Result<(), Error> {
        let service = self.service.map_or_else(Service::of_image, Ok)?;
        let name = filled(&self.name)?;
        let path = service.file(file_name(&name)?);
        let connection = self.connection.filled()?;
        let (text, mode) = match service {
            Service::Networkd => (connection.networkd()?, 0o644),
            Service::NetworkManager => (connection.network_manager(&name)?, 0o600),
            Service::Netplan => (connection.netplan()?, 0o600),
        };
        fs::write(&path, text).mode(mode).apply()
    }
}

impl Needs for Profile {
    fn needs(&self) -> Vec<Need> {
        let services = self.service.map_or(Service::ALL.to_vec(), |service| vec![service]);
        let reason = format!("connects {}, by whichever service the image has", self.connection.interface);
        let files = services.into_iter().map(|service| format!("fs:write:{}", service.file(&self.name)));
        files.map(|scope| Need::capability(scope, &reason)).collect()
    }
}

/// The country in which wireless networks are used; see [`wifi_country`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct WifiCountry<'a>(&'a str);

/// Describes in which country wireless networks are used, which decides on channels and power: two capital letters, such as
/// `GB`. Without one the radio of a Pi stays off, or at the least that all countries allow.
///
/// ```no_run
/// # use piimg_plugin_sdk::network;
/// network::wifi_country("GB").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn wifi_country(code: &str) -> WifiCountry<'_> {
    WifiCountry(code)
}

/// Parameter of the kernel's wireless subsystem, which counts before any program runs.
const COUNTRY: &str = "cfg80211.ieee80211_regdom";

impl WifiCountry<'_> {
    /// Sets it, on the kernel's command line.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no country.
    pub fn apply(&self) -> Result<(), Error> {
        let country = filled(self.0)?;
        check_country(&country)?;
        boot_config::set_parameter(&format!("{COUNTRY}={country}"))
    }
}

impl Needs for WifiCountry<'_> {
    fn needs(&self) -> Vec<Need> {
        vec![Need::capability(format!("boot:cmdline:{COUNTRY}"), format!("sets the country of Wi-Fi, {}", self.0))]
    }
}

fn check_country(country: &str) -> Result<(), Error> {
    if country.len() == 2 && country.chars().all(|it| it.is_ascii_uppercase()) {
        return Ok(());
    }
    invalid(format!("`{}` is no country: it is two capital letters, such as `GB`", country.escape_debug()))
}

impl Wifi {
    fn check(&self) -> Result<(), Error> {
        // IEEE 802.11: 32 bytes; WPA: a passphrase has 8 to 63 printable ASCII characters, and 64 hexadecimal digits are the key
        // that is made of one.
        let ssid = &self.ssid;
        if ssid.is_empty() || ssid.len() > 32 || ssid.chars().any(char::is_control) {
            return invalid(format!("`{}` is no wireless network's name: it has 1 to 32 bytes", ssid.escape_debug()));
        }
        let printable = |it: u8| (b' '..=b'~').contains(&it);
        if let Some(passphrase) = &self.passphrase
            && !((8..=63).contains(&passphrase.len()) && passphrase.bytes().all(printable)
                || passphrase.len() == 64 && passphrase.bytes().all(|it| it.is_ascii_hexdigit()))
        {
            // Not shown: it may be a real one with a typing error in it.
            return invalid(format!(
                "the passphrase of the wireless network `{ssid}` does not have 8 to 63 printable ASCII characters, or 64 \
                 hexadecimal digits"
            ));
        }
        Ok(())
    }
}

fn invalid<T>(message: String) -> Result<T, Error> {
    Err(Error::new(ErrorCode::Invalid, message))
}

fn file_name(name: &str) -> Result<&str, Error> {
    if !text::is_plain_name(name) {
        return invalid(format!("`{}` is no name of a connection: letters, digits, `_` and `-`", name.escape_debug()));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_else_is_refused() {
        let wired = || Connection::new("eth0");
        for (connection, message) in [
            (
                Connection::new("eth0\n[Network]"),
                "`eth0\\n[Network]` is no network interface, such as `eth0` or `eth*`",
            ),
            (
                Connection::new("a-very-long-name"),
                "`a-very-long-name` is no network interface, such as `eth0` or `eth*`",
            ),
            (wired().address("10.0.0.1"), "`10.0.0.1` is no address with its network, such as `192.168.42.125/24`"),
            (
                wired().address("10.0.0.1/33"),
                "`10.0.0.1/33` is no address with its network, such as `192.168.42.125/24`",
            ),
            (wired().gateway("router"), "`router` is no address, such as `192.168.42.1`"),
            (wired().dns("1.1.1.1\nx"), "`1.1.1.1\\nx` is no address, such as `192.168.42.1`"),
            (Connection::wifi("wlan0", "", None), "`` is no wireless network's name: it has 1 to 32 bytes"),
            (
                Connection::wifi("wlan0", "field", Some("short")),
                "the passphrase of the wireless network `field` does not have 8 to 63 printable ASCII characters, or 64 \
                 hexadecimal digits",
            ),
            (
                Connection::wifi("wlan0", "field", Some(&"g".repeat(64))),
                "the passphrase of the wireless network `field` does not have 8 to 63 printable ASCII characters, or 64 \
                 hexadecimal digits",
            ),
        ] {
            assert_eq!(connection.check().unwrap_err().to_string(), message);
        }
        Connection::wifi("wlan0", "field", Some(&"0aF9".repeat(16))).check().unwrap();
        assert!(wired().address("fd00::1/64").gateway("fd00::2").check().is_ok());
    }

    #[test]
    fn a_country_has_two_letters() {
        check_country("GB").unwrap();
        for odd in ["", "gb", "GBR", "G B"] {
            let error = check_country(odd).unwrap_err().to_string();
            assert_eq!(error, format!("`{odd}` is no country: it is two capital letters, such as `GB`"));
        }
    }

    #[test]
    fn a_file_is_in_its_directory() {
        assert_eq!(file_name("10-eth").unwrap(), "10-eth");
        for odd in ["", "../x", "a.b"] {
            let error = file_name(odd).unwrap_err().to_string();
            assert!(error.ends_with("is no name of a connection: letters, digits, `_` and `-`"), "{error}");
        }
    }
}
