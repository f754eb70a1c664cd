//! Makes as many calls of one kind as its parameters say, to find out what a call costs.

use piimg_plugin_sdk::{Error, Kind, Param, Plugin, PluginConf, Result, context, fs, log};

struct Busy;

const FILE: &str = "/opt/busy";

impl Plugin for Busy {
    fn conf() -> PluginConf {
        PluginConf::new("test/busy", "1.0.0", "Busy")
            .capability("fs:read:/opt/*", "looks at its file")
            .capability("fs:write:/opt/*", "writes its file")
            .param(Param::with_default(
                "kind",
                "What is called",
                Kind::Choice(&["log", "param", "stat", "write"]),
                &"log",
            ))
            .param(Param::with_default("count", "How often", Kind::Integer(0, 900_000), &0))
            .param(Param::with_default("bytes", "Length of what is written", Kind::Integer(0, 4 << 20), &100))
    }

    fn execute() -> Result {
        log::info!("starts");
        let kind = value("kind");
        let data = vec![b'x'; number("bytes")];
        for _ in 0..number("count") {
            once(&kind, &data)?;
        }
        Ok(())
    }
}

fn once(kind: &str, data: &[u8]) -> std::result::Result<(), Error> {
    match kind {
        "param" => drop(context::param("kind")),
        "stat" => drop(fs::stat(FILE)?),
        "write" => fs::write(FILE, data).apply()?,
        _ => log::debug!("busy"),
    }
    Ok(())
}

fn value(name: &str) -> String {
    context::param(name).expect("each parameter has a default")
}

fn number(name: &str) -> usize {
    value(name).parse().expect("the host checked that it is a number")
}

piimg_plugin_sdk::plugin!(Busy);
