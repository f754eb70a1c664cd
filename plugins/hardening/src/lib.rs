//! A firewall, stricter settings of kernel and SSH, and security updates by themselves.

mod firewall;

use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, fs, log, services};

const FIREWALL: &str = "/etc/nftables.conf";
const SSH: &str = "/etc/ssh/sshd_config.d/10-piimg-hardening.conf";
const SYSCTL: &str = "/etc/sysctl.d/90-piimg-hardening.conf";
const MODULES: &str = "/etc/modprobe.d/piimg-hardening.conf";
/// Does what unattended-upgrades is set up for.
const UPDATES: &str = "apt-daily-upgrade.timer";

struct Hardening;

impl Plugin for Hardening {
    fn conf() -> PluginConf {
        PluginConf::new("piimg/hardening", env!("CARGO_PKG_VERSION"), "Hardening")
            .description("A firewall, stricter settings of kernel and SSH, and security updates by themselves.")
            .packages(["nftables", "openssh-server", "unattended-upgrades"])
            .param(Param::with_default("ssh-passwords", "whether SSH takes passwords too", Kind::Bool, &false))
            .param(Param::with_default("updates", "whether security updates install themselves", Kind::Bool, &true))
            .param(Param::with_default(
                "ports",
                "what may be reached: `tcp/PORT` and `udp/PORT`, separated by spaces",
                Kind::Text,
                &"tcp/22 udp/5353",
            ))
            .needs_because(fs::writing(FIREWALL), "the firewall's rules")
            .capability("svc:enable:nftables.service", "starts the firewall with the system")
            .needs_because(fs::writing(SSH), "who may log in with SSH, and how")
            .needs_because(fs::writing(SYSCTL), "settings of the kernel")
            .needs_because(fs::writing(MODULES), "keeps rare network protocols out of the kernel")
            .capability("svc:disable:apt-daily-upgrade.timer", "stops the updates, if that is wanted")
    }

    fn execute() -> Result {
        let ports: String = context::get("ports")?;
        fs::write(FIREWALL, firewall::rules(&firewall::parse(&ports)?)).mode(0o644).apply()?;
        services::enable("nftables.service")?;

        let passwords = context::get("ssh-passwords")?;
        fs::write(SSH, ssh(passwords)).mode(0o644).apply()?;
        if !passwords {
            log::info!("SSH takes keys only: the image needs one, or nobody can log in with it");
        }
        fs::write(SYSCTL, include_str!("sysctl.conf")).mode(0o644).apply()?;
        fs::write(MODULES, include_str!("modprobe.conf")).mode(0o644).apply()?;
        // The package installs them by itself.
        if !context::get::<bool>("updates")? {
            services::disable(UPDATES)?;
        }
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Hardening);

/// Writes the settings of sshd, which takes the first value of each option and reads these files before its own.
fn ssh(passwords: bool) -> String {
    let passwords = if passwords { "yes" } else { "no" };
    format!(
        "PermitRootLogin no\nPasswordAuthentication {passwords}\nKbdInteractiveAuthentication {passwords}\n\
         PermitEmptyPasswords no\nX11Forwarding no\nMaxAuthTries 3\nLoginGraceTime 30\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_for_exactly_the_files_that_it_writes() {
        let scopes = Hardening::conf().capabilities().into_iter().map(|capability| capability.scope);
        let mut files: Vec<String> = scopes.filter(|scope| scope.starts_with("fs:")).collect();
        files.sort();
        let mut expected = [FIREWALL, SSH, SYSCTL, MODULES].map(|path| format!("fs:write:{path}"));
        expected.sort();
        assert_eq!(files, expected);
    }

    #[test]
    fn root_never_logs_in_and_passwords_only_if_wanted() {
        for (passwords, word) in [(false, "no"), (true, "yes")] {
            let text = ssh(passwords);
            assert!(text.starts_with("PermitRootLogin no\n"), "{text}");
            assert!(text.contains(&format!("\nPasswordAuthentication {word}\n")), "{text}");
            // Passwords by another name.
            assert!(text.contains(&format!("\nKbdInteractiveAuthentication {word}\n")), "{text}");
        }
    }
}
