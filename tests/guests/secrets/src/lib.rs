//! Has piimg use secrets, and tells how each call ended. What it asks for, but for one secret, is optional: the test chooses
//! what is granted.

use std::fmt::Debug;

use piimg_plugin_sdk::net::Authorization::{Basic, Bearer};
use piimg_plugin_sdk::{Error, Plugin, PluginConf, Result, fs, git, log, net, users};

struct Secrets;

const SCOPES: [&str; 9] = [
    "fs:write:/opt/app/**",
    "user:password:ann",
    "user:password:bob",
    "user:password:daemon",
    "secret:login",
    "secret:two-lines",
    "secret:not-given",
    "net:https://example.org/pub/**",
    "net:https://*.files.example.org/*",
];

impl Plugin for Secrets {
    fn conf() -> PluginConf {
        let conf = PluginConf::new("test/secrets", "1.0.0", "Secrets")
            .capability("secret:token", "a secret that must be given")
            .optional_capability("fs:read:/etc/shadow", "to see what became of it")
            .optional_capability("net:http://example.org/pub/**", "a way without encryption");
        SCOPES.into_iter().fold(conf, |conf, scope| conf.optional_capability(scope, "the test decides"))
    }

    fn execute() -> Result {
        passwords();
        downloads();
        checkouts();
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

fn passwords() {
    tell("password", users::set_password_from("ann", "token"));
    tell("again", users::set_password_from("ann", "token"));
    tell("the same for another", users::set_password_from("bob", "token"));
    tell("root", users::set_password_from("root", "token"));
    tell("a service", users::set_password_from("daemon", "token"));
    tell("nobody", users::set_password_from("carl", "token"));
    tell("another secret", users::set_password_from("ann", "database"));
    tell("any secret", users::set_password_from("ann", "*"));
    tell("two lines", users::set_password_from("ann", "two-lines"));
    tell("not given", users::set_password_from("ann", "not-given"));
    tell("shadow", fs::read_to_string("/etc/shadow").map(|text| text.lines().count()));
}

/// Of `hello` and a line end.
const HELLO: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn downloads() {
    let fetch = |path: &str, secret, how| {
        net::fetch_authorized(&format!("https://example.org/pub/{path}"), HELLO, secret, how).map(|blob| blob.size())
    };
    tell("bearer", fetch("hello", "token", Bearer));
    tell("basic", fetch("hello", "login", Basic));
    tell("no login", fetch("hello", "token", Basic));
    tell("no token", fetch("hello", "two-lines", Bearer));
    tell("another", fetch("hello", "database", Bearer));
    tell("near", fetch("near", "token", Bearer));
    tell("moved", fetch("moved", "token", Bearer));
    tell("there and back", fetch("there-and-back", "token", Bearer));
    tell("away", fetch("away", "token", Bearer));
    tell("echo", fetch("echo", "token", Bearer));
    tell("changed", fetch("changed", "token", Bearer));
    let unencrypted = net::fetch_authorized("http://example.org/pub/hello", HELLO, "token", Bearer);
    tell("unencrypted", unencrypted.map(|blob| blob.size()));
}

fn checkouts() {
    let commit = "ce013625030ba8dba906f756967f9e9ca394464a";
    let checkout = |path| git::checkout("https://example.org/pub/app.git", commit, path);
    tell("checkout", checkout("/opt/app").authorized("ann", "token").apply());
    tell("checkout of everybody's", checkout("/opt/app").owner("ann", "root").apply());
    tell("elsewhere", checkout("/etc/app").authorized("ann", "token").apply());
    tell("by another", checkout("/opt/app").authorized("ann", "database").apply());
    tell(
        "unencrypted",
        git::checkout("http://example.org/pub/app.git", commit, "/opt/app").authorized("ann", "token").apply(),
    );
    tell("a branch", git::checkout("https://example.org/pub/app.git", "main", "/opt/app").apply());
}

piimg_plugin_sdk::plugin!(Secrets);
