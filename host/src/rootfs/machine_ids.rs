//! Recognises files that must differ between machines: private keys, ids, secrets. Pure.
//!
//! A package's script makes such a file once, when it is installed: in an image, that is once for all of its cards.

/// Directories in which packages' scripts make them.
pub const TOPS: [&str; 6] = ["/etc", "/opt", "/root", "/srv", "/usr/local", "/var/lib"];

/// Directories in there without any: the package manager's own files, of which there are thousands.
pub const LEFT_OUT: [&str; 4] = ["/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/lib/ucf"];

/// Largest file that is looked at; a private key of 16384 bits has 13 KB.
pub const LONGEST: u64 = 64 << 10;

/// Parts of names of files that hold secrets in no form that could be told.
const NAMES: [&str; 5] = [".key", "cookie", "secret", "host_key", "password"];

/// Ends of names of settings that tell one machine from others.
const ID_NAMES: [&str; 10] = [
    "hostid",
    "hostuuid",
    "machineid",
    "machineuuid",
    "nodeid",
    "clientid",
    "deviceid",
    "agentid",
    "instanceid",
    "installationid",
];

/// Returns what the file is that every machine should have another one of, if it is one.
pub fn what_is_own(path: &str, mode: u32, content: &[u8]) -> Option<&'static str> {
    if content.split(|byte| *byte == b'\n').any(begins_private_key) {
        return Some("a private key");
    }
    let text = std::str::from_utf8(content).unwrap_or_default().trim();
    if is_id(text) {
        return Some("an id");
    }
    if text.lines().any(assigns_id) {
        return Some("an id among its settings");
    }
    let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let is_for_few = mode & 0o004 == 0;
    (is_for_few && !content.is_empty() && NAMES.iter().any(|part| name.contains(part)))
        .then_some("a secret, by its name")
}

/// Returns whether a line begins a key as RFC 7468, OpenSSH and OpenPGP write it.
fn begins_private_key(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let Some(rest) = line.trim_end().strip_prefix("-----BEGIN ") else { return false };
    rest.ends_with("PRIVATE KEY-----") || rest.ends_with("PRIVATE KEY BLOCK-----")
}

/// Returns whether a line gives a machine an id: `MY_HOSTID="…"`, `"node_id": "…"`. The name must say so, for a digest or the id of a
/// partition looks the same.
fn assigns_id(line: &str) -> bool {
    let Some((name, value)) = line.split_once(['=', ':']) else { return false };
    let bare = |text: &str| text.trim().trim_end_matches([',', ';']).trim_matches(['"', '\'']).to_lowercase();
    let (name, value) = (bare(name).replace(['-', '_', '.', ' '], ""), bare(value));
    is_id(&value) && ID_NAMES.iter().any(|known| name.ends_with(known))
}

/// Returns whether a text is a UUID, or as many hexadecimal digits as an id or a digest has.
fn is_id(text: &str) -> bool {
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    match &parts[..] {
        [whole] => [32, 40, 64, 128].iter().any(|count| digits(whole, *count)),
        [a, b, c, d, e] => digits(a, 8) && [b, c, d].iter().all(|part| digits(part, 4)) && digits(e, 12),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_machines_own_is_told() {
        for (path, mode, content, expected) in [
            ("/etc/x/k.pem", 0o644, "# mine\n-----BEGIN PRIVATE KEY-----\nAA\n", Some("a private key")),
            ("/etc/x/k", 0o600, "-----BEGIN OPENSSH PRIVATE KEY-----\r\n", Some("a private key")),
            ("/root/k.asc", 0o600, "-----BEGIN PGP PRIVATE KEY BLOCK-----\n", Some("a private key")),
            ("/etc/x/cert.pem", 0o644, "-----BEGIN CERTIFICATE-----\n", None),
            ("/etc/x/script", 0o755, "echo '-----BEGIN PRIVATE KEY-----'\n", None),
            ("/etc/hostid", 0o644, "0192f5a0-6c1e-4a59-9d3b-0123456789ab\n", Some("an id")),
            ("/var/lib/x/id", 0o644, "d41d8cd98f00b204e9800998ecf8427e", Some("an id")),
            (
                "/etc/x.conf",
                0o644,
                "A=1\nMY_HOSTID=\"0192f5a06c1e4a599d3b0123456789ab\"\n",
                Some("an id among its settings"),
            ),
            (
                "/etc/x.json",
                0o644,
                "{\n  \"node_id\": \"0192f5a0-6c1e-4a59-9d3b-0123456789ab\",\n}",
                Some("an id among its settings"),
            ),
            ("/etc/x/sums", 0o644, "sha256 = 0192f5a06c1e4a599d3b0123456789ab\nMY_HOSTID=\"\"\n", None),
            ("/etc/x/version", 0o644, "2024\n", None),
            ("/etc/x/words", 0o644, "0192f5a0-6c1e-4a59-9d3b-0123456789ag\n", None),
            ("/etc/munge/munge.key", 0o400, "\u{1}\u{2}", Some("a secret, by its name")),
            ("/var/lib/x/.erlang.cookie", 0o400, "AbC", Some("a secret, by its name")),
            // The key of a zone of names is for everybody.
            ("/var/lib/unbound/root.key", 0o644, ". IN DNSKEY 257 3 8 AwEAA", None),
            ("/etc/x/empty.key", 0o600, "", None),
            ("/etc/shadow", 0o640, "root:*:1::::::\n", None),
        ] {
            assert_eq!(what_is_own(path, mode, content.as_bytes()), expected, "{path}");
        }
    }
}
