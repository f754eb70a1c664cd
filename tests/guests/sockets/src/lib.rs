//! Uses the network of its standard library: refused before it runs.

use std::io::Write as _;

use piimg_plugin_sdk::{Plugin, PluginConf, Result};

struct Sockets;

impl Plugin for Sockets {
    fn conf() -> PluginConf {
        PluginConf::new("test/sockets", "1.0.0", "Sockets")
    }

    fn execute() -> Result {
        Ok(std::net::TcpStream::connect("127.0.0.1:22")?.write_all(b"hello")?)
    }
}

piimg_plugin_sdk::plugin!(Sockets);
