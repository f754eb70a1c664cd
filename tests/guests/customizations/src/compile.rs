//! A program that is compiled during the build
//!
//! The compiler is there while the plugin runs and is in no image. It reads the source from its standard input here. What a command
//! writes is compared with what was granted.
//!
//! Asks for `pkg:build:gcc`, `pkg:build:libc6-dev`, `exec:gcc -O2 -x c -o /usr/local/bin/blink -`,
//! `fs:write:/usr/local/bin/blink`.

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Blob, Plugin, PluginConf, Result, fs};

const PROGRAM: &str = "/usr/local/bin/blink";
const SOURCE: &str = "#include <stdio.h>\nint main(void) { return puts(\"blink\") < 0; }\n";

fn compiler() -> Command {
    Command::new("gcc").args(["-O2", "-x", "c", "-o", PROGRAM, "-"])
}

pub struct Compile;

impl Plugin for Compile {
    fn conf() -> PluginConf {
        PluginConf::new("example/compile", "0.1.0", "Compile")
            .build_package("gcc", "compiles the program")
            .build_package("libc6-dev", "its header files")
            .needs_because(compiler(), "compiles the program")
            .needs_because(fs::writing(PROGRAM), "the program")
    }

    fn execute() -> Result {
        compiler().apply_with_input(&Blob::from_bytes(SOURCE)?)?;
        Ok(())
    }
}
