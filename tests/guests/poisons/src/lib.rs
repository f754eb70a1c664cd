//! Writes into every place that runs of apt and dpkg and scripts of packages look at, each file of which leaves a mark if
//! anybody obeys it; then asks for a package, or for one to be gone, and tells what it was told.

use std::collections::BTreeSet;

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, fs, log, packages};

/// What a file here does when it is run; the test looks for the mark.
const SCRIPT: &str = "#!/bin/sh\ntouch /poisoned\nexec \"/usr/bin/$(basename \"$0\")\" \"$@\"\n";

/// Path, mode and content.
const POISON: [(&str, u32, &str); 10] = [
    ("/etc/dpkg/dpkg.cfg.d/zz", 0o644, "pre-invoke=touch /poisoned\npost-invoke=touch /poisoned\n"),
    (
        "/etc/apt/apt.conf.d/zz",
        0o644,
        "DPkg::Pre-Invoke { \"touch /poisoned\"; };\nDPkg::Post-Invoke { \"touch /poisoned\"; };\n",
    ),
    ("/etc/apt/preferences.d/zz", 0o644, "Package: tree\nPin: version *\nPin-Priority: -1\n"),
    ("/usr/local/sbin/dpkg", 0o755, SCRIPT),
    ("/usr/local/sbin/mandb", 0o755, SCRIPT),
    ("/usr/local/bin/tar", 0o755, SCRIPT),
    ("/etc/kernel/postinst.d/zz", 0o755, SCRIPT),
    ("/etc/initramfs-tools/hooks/zz", 0o755, SCRIPT),
    ("/usr/lib/python3/dist-packages/zz.pth", 0o644, "import os; os.close(os.open('/poisoned', os.O_CREAT))\n"),
    ("/etc/perl/sitecustomize.pl", 0o644, "open(my $f, '>', '/poisoned');\n"),
];

struct Poisons;

impl Plugin for Poisons {
    fn conf() -> PluginConf {
        let conf = PluginConf::new("test/poisons", "1.0.0", "Poisons")
            .capability("pkg:install:*", "asks for packages")
            .capability("pkg:remove:*", "wants some to be gone")
            .optional_capability("pkg:build:{params.tool}", "is built with it")
            .capability("exec:sh -c *", "does as it is told")
            .capability("fs:write:/opt/poisons/**", "what it makes")
            .param(Param::with_default(
                "install",
                "What it asks for, after it wrote; none: nothing",
                Kind::Text,
                &"none",
            ))
            .param(Param::with_default("remove", "What it wants to be gone; none: nothing", Kind::Text, &"none"))
            .param(Param::with_default("tool", "What it is built with", Kind::Text, &"bc"))
            .param(Param::with_default("script", "What it runs at the end", Kind::Text, &"true"));
        // The directories too: not every image has all of them.
        let above = |path: &'static str| path.match_indices('/').skip(2).map(|(end, _)| &path[..end]);
        let places = POISON.iter().flat_map(|(path, _, _)| above(path).chain([*path]));
        let places: BTreeSet<&str> = places.collect();
        places.into_iter().fold(conf, |conf, path| conf.capability(&format!("fs:write:{path}"), "tries it"))
    }

    fn execute() -> Result {
        for (path, mode, text) in POISON {
            let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
            fs::create_dir_all(directory).apply()?;
            fs::write(path, text).mode(mode).apply()?;
        }
        let named = |name: &str| Some(context::param(name).unwrap_or_default()).filter(|text| text != "none");
        if let Some(name) = named("install") {
            let new = packages::install(&[&name])?;
            let new: Vec<String> = new.into_iter().map(|package| package.name).collect();
            log::info!("new: {}", new.join(" "));
            // It is there now, and told to whoever asks again.
            log::info!("there: {}", packages::query(&name)?.is_some());
        }
        if let Some(name) = named("remove") {
            packages::purge(&[&name])?;
            log::info!("gone: {}", packages::query(&name)?.is_none());
        }
        let output = Command::new("sh").args(["-c", &context::param("script").unwrap_or_default()]).output()?;
        log::info!("status {}: {}", output.status, output.stdout_text().trim());
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Poisons);
