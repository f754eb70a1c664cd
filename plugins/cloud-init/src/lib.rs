//! Settings at first boot from files on the boot partition, which any computer can edit.

use piimg_plugin_sdk::{Blob, Kind, Param, Plugin, PluginConf, Result, assets, context, fs, log, services};

const CONFIG: &str = "/etc/cloud/cloud.cfg.d/99-piimg.cfg";
const USER_DATA: &str = "/boot/firmware/user-data";
const META_DATA: &str = "/boot/firmware/meta-data";
const NETWORK: &str = "/boot/firmware/network-config";

struct CloudInit;

impl Plugin for CloudInit {
    fn conf() -> PluginConf {
        PluginConf::new("piimg/cloud-init", env!("CARGO_PKG_VERSION"), "cloud-init")
            .description("Reads user-data and network-config from the boot partition at the first boot.")
            .package("cloud-init")
            .param(Param::with_default("user", "the user whom `default` means in user-data", Kind::Text, &"ubuntu"))
            .optional_capability("asset:user-data", "becomes `user-data` on the boot partition")
            .optional_capability("asset:network-config", "becomes `network-config` on the boot partition")
            .needs_because(fs::writing(USER_DATA), "what shall happen at the first boot")
            .needs_because(fs::writing(META_DATA), "names the machine for cloud-init")
            .needs_because(fs::writing(NETWORK), "what networks there are")
            .needs_because(fs::writing(CONFIG), "tells cloud-init where these files are")
            .capability("svc:install:cloud-init-local.service", "lets it wait for the boot partition")
    }

    fn execute() -> Result {
        let given = assets::names();
        let has = |name: &str| given.iter().any(|given| given == name);
        if has("user-data") {
            let data = assets::open("user-data")?;
            check_user_data(&first_line(&data)?)?;
            fs::install(&data, USER_DATA).apply()?;
        } else {
            fs::write(USER_DATA, include_str!("user-data")).apply()?;
            log::info!("no user-data was given: one without settings is on the boot partition");
        }
        let has_network = has("network-config");
        if has_network {
            fs::install(&assets::open("network-config")?, NETWORK).apply()?;
        }
        let image = context::image();
        fs::write(META_DATA, meta_data(&image.hostname, &image.flavour)).apply()?;
        fs::write(CONFIG, config(&context::get::<String>("user")?, has_network)?).mode(0o644).apply()?;
        services::drop_in("cloud-init-local.service", "piimg", "[Unit]\nRequiresMountsFor=/boot/firmware\n")?;
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(CloudInit);

/// Its first line, or the beginning of a long one.
fn first_line(data: &Blob) -> Result<String> {
    let beginning = data.read(0, 256)?;
    Ok(String::from_utf8_lossy(&beginning).lines().next().unwrap_or_default().to_owned())
}

/// Checks the first line: cloud-init knows the format by it, and only warns, on the finished machine, of one that it
/// does not know.
fn check_user_data(first_line: &str) -> Result<(), String> {
    const FORMATS: [&str; 8] = [
        "#cloud-config",
        "#!",
        "#include",
        "#cloud-boothook",
        "#part-handler",
        "## template:",
        "Content-Type:",
        "MIME-Version:",
    ];
    if FORMATS.iter().any(|format| first_line.starts_with(format)) {
        return Ok(());
    }
    let line = first_line.escape_debug();
    Err(format!(
        "the asset `user-data` begins with `{line}`, which cloud-init does not know; mostly it is `#cloud-config`"
    ))
}

/// Names the instance: a new image is a new one only if it says so, so the flavour is in the name.
fn meta_data(hostname: &str, flavour: &str) -> String {
    format!("instance-id: {hostname}-{flavour}\nlocal-hostname: {hostname}\n")
}

/// Writes the settings: the user exists already, so cloud-init shall neither lock it nor change what it may do with
/// sudo.
fn config(user: &str, has_network: bool) -> Result<String, String> {
    let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_' || it == '-';
    if !user.starts_with(|it: char| it.is_ascii_lowercase() || it == '_') || !user.chars().all(plain) {
        return Err(format!("`{}` is no name of a user: lowercase letters, digits, `-` and `_`", user.escape_debug()));
    }
    let network = if has_network { "" } else { "network: {config: disabled}\n" };
    Ok(format!(
        "# The files on the boot partition, and nothing else, say what happens at the first boot.\n\
         datasource_list: [NoCloud, None]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware/\n{network}\
         system_info:\n  default_user:\n    name: {user}\n    lock_passwd: false\n    sudo: false\n\
         # piimg's own unit grows the root file system.\n\
         growpart: {{mode: \"off\"}}\nresize_rootfs: false\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_for_exactly_the_files_that_it_writes() {
        let scopes = CloudInit::conf().capabilities().into_iter().map(|capability| capability.scope);
        let files: Vec<String> = scopes.filter(|scope| scope.starts_with("fs:")).collect();
        assert_eq!(files, [USER_DATA, META_DATA, NETWORK, CONFIG].map(|path| format!("fs:write:{path}")));
    }

    #[test]
    fn user_data_that_cloud_init_would_ignore_is_refused() {
        assert_eq!(check_user_data(include_str!("user-data").lines().next().unwrap_or_default()), Ok(()));
        assert_eq!(check_user_data("#!/bin/sh"), Ok(()));
        assert_eq!(
            check_user_data("users:").unwrap_err(),
            "the asset `user-data` begins with `users:`, which cloud-init does not know; mostly it is `#cloud-config`"
        );
    }

    #[test]
    fn the_network_is_left_alone_without_a_file_for_it() {
        assert!(config("ubuntu", false).unwrap().contains("\nnetwork: {config: disabled}\n"));
        assert!(!config("ubuntu", true).unwrap().contains("network:"));
    }

    #[test]
    fn a_user_is_a_name_and_not_another_setting() {
        assert!(config("ann", true).unwrap().contains("    name: ann\n    lock_passwd: false\n    sudo: false\n"));
        for odd in ["", "1x", "ann\nsudo: x", "Ann"] {
            let error = config(odd, true).unwrap_err();
            assert!(error.ends_with("is no name of a user: lowercase letters, digits, `-` and `_`"), "{error}");
        }
    }

    #[test]
    fn an_instance_is_named_after_the_image() {
        assert_eq!(meta_data("box", "field"), "instance-id: box-field\nlocal-hostname: box\n");
    }
}
