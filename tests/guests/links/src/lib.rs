//! Puts links where piimg itself reads, changes or empties files when all plugins are done. What it was granted is harmless
//! to read: places that are made anew for each image, or that no image keeps anything of.

use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, fs};

struct Links;

impl Plugin for Links {
    fn conf() -> PluginConf {
        let places = [
            "/etc/hosts",
            "/etc/hostname",
            "/etc/machine-id",
            "/tmp/**",
            "/var/tmp/**",
            "/var/log/**",
            "/root/.cache/**",
            "/boot/firmware/**",
            "/usr/share/piimg/**",
        ];
        let conf = PluginConf::new("test/links", "1.0.0", "Links").param(Param::required(
            "links",
            "Links to make, as PATH=TARGET, separated by spaces",
            Kind::Text,
        ));
        places.into_iter().fold(conf, |conf, place| conf.capability(&format!("fs:write:{place}"), "puts a link there"))
    }

    fn execute() -> Result {
        let links = context::param("links").expect("the parameter is required");
        for (path, target) in links.split(' ').filter_map(|link| link.split_once('=')) {
            if path == "/usr/share/piimg/build.json" {
                fs::create_dir_all("/usr/share/piimg").apply()?;
            } else {
                // Not all of them are there, and not all are directories.
                fs::remove(path).or_else(|_| fs::remove_all(path)).ok();
            }
            fs::symlink(path, target)?;
        }
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Links);
