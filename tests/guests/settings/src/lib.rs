//! Changes settings of the image through one interface, named by its parameter, and tells how each call ended. What it
//! asks for is optional: the test chooses what is granted.

use std::fmt::Debug;

use piimg_plugin_sdk::users::{Group, User};
use piimg_plugin_sdk::{
    Error, Kind, Param, Plugin, PluginConf, Result, boot_config, context, fs, log, net, services, users,
};

struct Settings;

const SCOPES: [&str; 18] = [
    "boot:config:dtoverlay",
    "boot:config:dtparam",
    "boot:config:gpu_mem*",
    "boot:cmdline:quiet",
    "svc:install:app.service",
    "svc:enable:app.service",
    "svc:enable:getty@*.service",
    "svc:disable:ssh.service",
    "svc:mask:apt-daily.timer",
    "svc:enable:alias.service",
    "user:create:*",
    "user:group:video",
    "user:group:field",
    "user:keys:ann",
    "user:keys:daemon",
    "net:https://example.org/pub/**",
    "net:https://*.files.example.org/*",
    "fs:write:/opt/file",
];

impl Plugin for Settings {
    fn conf() -> PluginConf {
        let conf = PluginConf::new("test/settings", "1.0.0", "Settings").param(Param::required(
            "of",
            "what to change",
            Kind::Choice(&["boot", "trees", "services", "users", "net"]),
        ));
        SCOPES.into_iter().fold(conf, |conf, scope| conf.optional_capability(scope, "the test decides"))
    }

    fn execute() -> Result {
        match context::param("of").as_deref() {
            Some("boot") => boot(),
            Some("trees") => trees(),
            Some("services") => services(),
            Some("users") => users(),
            Some("net") => net(),
            other => return Err(format!("cannot change {other:?}").into()),
        }
        Ok(())
    }
}

fn tell<T: Debug>(call: &str, result: std::result::Result<T, Error>) {
    match result {
        Ok(value) => log::info!("{call}: {value:?}"),
        Err(error) => match error.needed() {
            Some(needed) => log::info!("{call}: needs {needed}"),
            None => log::info!("{call}: {error}"),
        },
    }
}

fn boot() {
    tell("set", boot_config::set(Some("pi4"), "gpu_mem", &64));
    tell("add", boot_config::add(None, "dtparam", "i2c_arm=on"));
    tell("again", boot_config::add(None, "dtparam", "i2c_arm=on"));
    tell("values", boot_config::values(None, "dtparam"));
    tell("remove", boot_config::remove(None, "dtparam", Some("audio=on")));
    tell("other key", boot_config::set(None, "kernel", "evil.img"));
    tell("two lines", boot_config::add(None, "dtparam", "x\nkernel=evil.img"));
    tell("two in one", boot_config::set(Some("pi4]\nkernel=evil.img\n[all"), "gpu_mem", &64));
    tell("parameter", boot_config::set_parameter("quiet"));
    tell("two parameters", boot_config::set_parameter("quiet init=/bin/sh"));
    tell("init", boot_config::add_parameter("init=/bin/sh"));
    tell("root", boot_config::set_parameter("root=/dev/sda1"));
}

fn trees() {
    tell("spi", boot_config::add(None, "dtparam", "spi=on"));
    tell("overlay", boot_config::overlay(None, "disable-bt", &["fast"]));
    tell("fast", boot_config::add(None, "dtparam", "fast=2"));
    tell("end", boot_config::overlay(None, "", &[]));
}

const UNIT: &str = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";

fn services() {
    tell("install", services::install("app.service", UNIT));
    tell("enable", services::enable("app.service"));
    tell("again", services::enable("app.service"));
    tell("drop-in", services::drop_in("app.service", "10-nice", "[Service]\nNice=5\n"));
    tell("instance", services::enable("getty@ttyS1.service"));
    tell("disable", services::disable("ssh.service"));
    tell("mask", services::mask("apt-daily.timer"));
    tell("unmask", services::unmask("apt-daily.timer"));
    tell("missing", services::enable("getty@.timer"));
    tell("other", services::enable("ssh.service"));
    tell("path", services::install("../../passwd.service", UNIT));
    tell("part", services::drop_in("app.service", "../../../x", UNIT));
    tell("alias", services::enable("alias.service"));
    // The same unit, now with another beside it that was not granted.
    tell("also", services::drop_in("app.service", "also", "[Install]\nAlso=ssh.socket\n"));
    tell("with also", services::enable("app.service"));
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVJPcpmZh+Z1hpVH+KDLfxDlU2XSCMkjd0XnpmV4mJT ann";

fn users() {
    tell("group", Group::new("field").apply());
    tell("user", User::new("ann").groups(&["video", "field"]).apply());
    tell("again", User::new("ann").groups(&["video"]).apply());
    tell("service", User::system("app").apply());
    tell("keys", users::authorize_keys("ann", &[KEY]));
    tell("keys again", users::authorize_keys("ann", &[KEY]));
    tell("root", User::new("root").apply());
    tell("second root", User::system("toor").uid(0).apply());
    tell("smuggled", User::new("bob").shell("/bin/sh\nroot2::0:0::/:/bin/sh").apply());
    tell("home", User::new("bob").home("/etc").apply());
    tell("sudo", User::new("bob").groups(&["sudo"]).apply());
    tell("package's", User::new("daemon").apply());
    tell("options", users::authorize_keys("ann", &[&format!("command=\"sh\" {KEY}")]));
    tell("daemon's keys", users::authorize_keys("daemon", &[KEY]));
    tell("other's keys", users::authorize_keys("ubuntu", &[KEY]));
}

/// Of `hello` and a line end.
const HELLO: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn net() {
    let fetch = |url: &str| net::fetch(url, HELLO).map(|blob| blob.size());
    tell(
        "install",
        net::fetch("https://example.org/pub/hello", HELLO).and_then(|it| fs::install(&it, "/opt/file").apply()),
    );
    tell("moved", fetch("https://example.org/pub/moved"));
    tell("away", fetch("https://example.org/pub/away"));
    tell("down", fetch("https://example.org/pub/down"));
    tell("round", fetch("https://example.org/pub/round"));
    tell("changed", fetch("https://example.org/pub/changed"));
    tell("dots", fetch("https://example.org/pub/../secret"));
    tell("coded dots", fetch("https://example.org/pub/%2e%2e/secret"));
    tell("user", fetch("https://example.org@evil.org/pub/hello"));
    tell("unencrypted", fetch("http://example.org/pub/hello"));
    tell("unpinned", net::fetch("https://example.org/pub/hello", "").map(|blob| blob.size()));
}

piimg_plugin_sdk::plugin!(Settings);
