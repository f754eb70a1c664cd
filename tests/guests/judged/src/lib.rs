//! Tries what looks like a part of what it was granted: to take a file along that it may only write, and to tell a command
//! by a variable what else to run. With a script it has a package and hands a file of the image to a shell instead.

#![expect(clippy::print_stdout, reason = "what a plugin prints ends up in the log, where the test reads it")]

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Error, ErrorCode, Kind, Param, Plugin, PluginConf, Result, context, fs};

struct Judged;

/// All of these ran code in a command that was granted without a word of them, but for the last.
const VARIABLES: [&str; 12] = [
    "APT_CONFIG",
    "BASH_ENV",
    "GIT_SSH_COMMAND",
    "HOME",
    "LD_PRELOAD",
    "MAKEFLAGS",
    "PATH",
    "PERL5DB",
    "PYTHONPATH",
    "TAR_OPTIONS",
    "TZ",
    "UNHEARD_OF",
];

impl Plugin for Judged {
    fn conf() -> PluginConf {
        PluginConf::new("test/judged", "1.0.0", "Judged")
            .package("tree")
            .capability("fs:write:/etc/shadow", "writes it, and reads nothing of it")
            .capability("fs:write:/etc/blind/**", "writes there, and reads nothing")
            .capability("fs:write:/opt/judged/**", "its own directory")
            .capability("fs:read:/opt/judged/**", "its own directory")
            .capability("fs:read:/etc/os-release", "what a command is given to read")
            .capability("fs:read:/usr/lib/os-release", "what a command is given to read")
            .capability("exec:tar x", "unpacks")
            .capability("exec:TAR_OPTIONS=--verbose tar x", "unpacks, and says what")
            .capability("exec:GREETING=* hello", "greets")
            .capability("exec:sh -c *", "does as it is told")
            .param(Param::with_default("script", "What a shell is told", Kind::Text, &""))
    }

    fn execute() -> Result {
        let script = context::param("script").unwrap_or_default();
        if !script.is_empty() {
            fs::create_dir_all("/opt/judged").apply()?;
            return Ok(Command::new("sh").args(["-c", &script]).apply_with_input(&fs::open("/etc/os-release")?)?);
        }
        fs::create_dir_all("/opt/judged/tree").apply()?;
        fs::write("/opt/judged/tree/leaf", "green\n").apply()?;
        for (source, dest) in [
            ("/etc/shadow", "/opt/judged/loot"),
            ("/etc/blind/dir", "/opt/judged/dir"),
            ("/opt/judged/tree/leaf", "/etc/elsewhere"),
            ("/opt/judged/tree", "/etc/blind/tree"),
        ] {
            tell(&format!("rename {source}"), fs::rename(source, dest));
        }
        let tar = Command::new("tar").arg("x");
        tell("tar", tar.clone().env("LANG", "C").env("TZ", "Europe/Berlin").apply());
        tell("loudly", tar.clone().env("TAR_OPTIONS", "--verbose").apply());
        tell("twice", tar.clone().env("LANG", "C").env("LANG", "de_DE").apply());
        for name in VARIABLES {
            tell(name, tar.clone().env(name, "/opt/x").apply());
        }
        tell("greeting", Command::new("hello").env("GREETING", "good day").apply());
        tell("no greeting", Command::new("hello").apply());
        Ok(())
    }
}

fn tell(what: &str, result: std::result::Result<(), Error>) {
    match result {
        Ok(()) => println!("{what}: done"),
        Err(error) if error.code() == ErrorCode::Denied => {
            println!("{what}: needs {}", error.needed().unwrap_or("nothing"));
        }
        Err(error) => println!("{what}: {error}"),
    }
}

piimg_plugin_sdk::plugin!(Judged);
