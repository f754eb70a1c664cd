//! A firewall
//!
//! nftables with SSH and mDNS open. The plugin [`hardening`](../plugins/hardening) does more.
//!
//! Asks for `pkg:install:nftables`, `fs:write:/etc/nftables.conf`, `svc:enable:nftables.service`.

use piimg_plugin_sdk::services::{self, Wanted};
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const RULES: &str = "/etc/nftables.conf";
const FIREWALL: Wanted = services::enabled("nftables.service");

const TEXT: &str = "\
#!/usr/sbin/nft -f
flush ruleset

table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tiif lo accept
\t\tct state established,related accept
\t\tmeta l4proto { icmp, ipv6-icmp } accept
\t\ttcp dport 22 accept
\t\tudp dport 5353 accept
\t}
}
";

pub struct Firewall;

impl Plugin for Firewall {
    fn conf() -> PluginConf {
        PluginConf::new("example/firewall", "0.1.0", "Firewall")
            .package("nftables")
            .needs_because(fs::writing(RULES), "its rules")
            .needs(FIREWALL)
    }

    fn execute() -> Result {
        fs::write(RULES, TEXT).mode(0o755).apply()?;
        FIREWALL.apply()?;
        Ok(())
    }
}
