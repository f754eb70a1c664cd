//! Applies one helper of the SDK, named by its parameter, or tells what each of them asks for. All of it is optional: the test
//! grants what one helper says that it takes, and nothing else.

use piimg_plugin_sdk::network::{Connection, Service};
use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::region::Keyboard;
use piimg_plugin_sdk::services::Unit;
use piimg_plugin_sdk::users::{Group, Keys, User};
use piimg_plugin_sdk::{
    Blob, Kind, Needs, Param, Plugin, PluginConf, Result, apt, assets, boot_config, context, debconf, fs, log, login,
    net, network, packages, region, services, sudo, users,
};

struct Helpers;

/// A helper that can be handed over and applied.
struct Helper {
    name: &'static str,
    needs: Box<dyn Needs>,
    apply: Box<dyn Fn() -> Result>,
}

/// Makes one of a value: what is asked for and what is applied are the same.
macro_rules! helper {
    ($name:literal, $value:expr) => {
        helper!($name, $value, |value| value.apply())
    };
    ($name:literal, $value:expr, |$it:ident| $apply:expr) => {
        Helper {
            name: $name,
            needs: Box::new($value),
            apply: Box::new(|| {
                let $it = $value;
                $apply?;
                Ok(())
            }),
        }
    };
}

const UNIT: &str = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
const AUTHORIZED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVJPcpmZh+Z1hpVH+KDLfxDlU2XSCMkjd0XnpmV4mJT ann@desk";
const ANN: User = User::new("{params.user}");
const KEYS: Keys = users::keys("{params.user}", &[AUTHORIZED]);
/// Digest of what the test's server has.
const HELLO: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n";

fn field() -> Connection {
    Connection::new("eth0").address("{params.address}")
}

fn helpers() -> Vec<Helper> {
    vec![
        helper!("locale", region::locale("en_GB.UTF-8")),
        helper!("locales", region::locales(&["en_GB.UTF-8", "en_US.UTF-8"])),
        helper!("keyboard", Keyboard::new("gb")),
        helper!("timezone", region::timezone("Europe/London")),
        helper!("sudo", sudo::without_password("{params.user}", &["/usr/sbin/reboot"])),
        helper!("all-sudo", sudo::everything_without_password("%field")),
        helper!("user", User::new("{params.user}").groups(&["video"])),
        helper!("group", Group::system("field")),
        helper!("networkd", field().profile("10-field").service(Service::Networkd)),
        helper!("network-manager", field().profile("10-field").service(Service::NetworkManager)),
        helper!("netplan", field().profile("10-field").service(Service::Netplan)),
        helper!("country", network::wifi_country("GB")),
        helper!("unit", Unit::new("{params.user}.service"), |it| it.apply(UNIT)),
        helper!("console", login::console("{params.user}")),
        helper!("lightdm", login::lightdm("{params.user}").session("openbox")),
        helper!("kiosk", login::kiosk("{params.user}", "https://example.org/")),
        helper!("user-unit", services::user_unit("{params.user}.service"), |it| it.apply(UNIT)),
        helper!("archive", apt::Repository::new("field", "https://example.org", "./"), |it| it
            .apply(&Blob::from_bytes(KEY)?)),
        helper!("assets", assets::tree("site/", "/opt").mode(0o640)),
        helper!("command", Command::new("htop").arg("{params.user}").env("TAR_OPTIONS", "-v")),
        helper!("copy", fs::copy("/etc/passwd", "/opt/passwd")),
        helper!("write", fs::write("/opt/{params.user}", "x")),
        helper!("append", fs::editing("/opt/appended"), |_it| fs::append("/opt/appended", "x")),
        helper!("asset", assets::asset("site/index.html"), |it| it.open()),
        helper!("setting", boot_config::setting("gpu_mem", "64").section("pi4")),
        helper!("added-setting", boot_config::setting("gpio", "17=op,dh")),
        helper!("kernel-parameter", boot_config::kernel_parameter("console=tty1")),
        helper!("enabled", services::enabled("getty@{params.user}.service")),
        helper!("disabled", services::disabled("getty@tty2.service")),
        helper!("masked", services::masked("getty@tty3.service")),
        helper!("keys", [ANN.needs(), KEYS.needs()].concat(), |_it| ANN.apply().and_then(|_| KEYS.apply())),
        helper!("present", packages::present(&["python3-{params.user}", "htop=3.2"])),
        helper!("absent", packages::absent(&["nano", "{params.user}"])),
        helper!("answer", debconf::boolean("man-db/auto-update", false), |it| debconf::answer(&[it])),
        helper!("pin", apt::pin_version("libfoo", "1.2*", 1001), |it| apt::pin(&[it])),
        helper!("download", net::download("https://example.org/pub/hello", HELLO), |it| it.fetch()),
        helper!("replace", fs::editing("/etc/locale.gen"), |_it| fs::replace("/etc/locale.gen", "en_GB", "en_IE")),
    ]
}

impl Plugin for Helpers {
    fn conf() -> PluginConf {
        let conf = PluginConf::new("test/helpers", "1.0.0", "Helpers")
            .param(Param::required("of", "the helper, or `all` to be told what each takes", Kind::Text))
            .param(Param::with_default("user", "a user", Kind::Text, &"ann"))
            .param(Param::with_default("address", "an address", Kind::Text, &"10.0.0.2/8"));
        helpers().iter().fold(conf, |conf, helper| conf.can_use(&*helper.needs, "the test decides"))
    }

    fn execute() -> Result {
        let of: String = context::get("of")?;
        for helper in helpers() {
            if of == "all" {
                // A package is granted with its plugin, and has no reason of the helper's.
                let needs = helper.needs.needs().into_iter().filter(|need| !need.reason().is_empty());
                let scopes = needs.map(|need| need.scope()).collect::<Vec<_>>();
                log::info!("{} | {}", helper.name, scopes.join(" | "));
            } else if of == helper.name {
                return (helper.apply)();
            }
        }
        if of == "all" { Ok(()) } else { Err(format!("there is no helper `{of}`").into()) }
    }
}

piimg_plugin_sdk::plugin!(Helpers);
