//! Fills the image: with files that it makes up, which no compressor makes smaller, and with the asset `load`, a file or a directory.

use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, assets, context, fs};

struct Carries;

const DIRECTORY: &str = "/opt/carries";
const ASSET: &str = "load";

/// The most that one call writes.
const FILE_MIB: usize = 4;

impl Plugin for Carries {
    fn conf() -> PluginConf {
        PluginConf::new("test/carries", "1.0.0", "Carries")
            .capability("fs:write:/opt/**", "what it carries")
            .optional_capability("asset:load", "carries it too")
            .param(Param::with_default("mib", "How much it makes up", Kind::Integer(0, 16 << 10), &0))
    }

    fn execute() -> Result {
        let mib: usize = context::param("mib").expect("the parameter has a default").parse()?;
        fs::create_dir(DIRECTORY).apply()?;
        let mut noise = Noise(1);
        for (number, first) in (0..mib).step_by(FILE_MIB).enumerate() {
            let length = FILE_MIB.min(mib - first) << 20;
            fs::write(&format!("{DIRECTORY}/{number}"), noise.bytes(length)).apply()?;
        }
        if assets::names().iter().any(|name| name == ASSET) {
            fs::install(&assets::open(ASSET)?, &format!("{DIRECTORY}/{ASSET}")).apply()?;
        }
        let prefix = format!("{ASSET}/");
        if assets::names().iter().any(|name| name.starts_with(&prefix)) {
            assets::tree(&prefix, DIRECTORY).apply()?;
        }
        Ok(())
    }
}

/// xorshift64: no better than it must be, and as fast as memory.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes
    }
}

piimg_plugin_sdk::plugin!(Carries);
