//! Parsers of what nobody may be trusted to write, with many made-up inputs each: none panics, and what each promises of
//! every input holds. The inputs are the same in every run; `PIIMG_INPUTS=N` makes more of them.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use piimg::download::Url;
use piimg::plugin::lock::Lock;
use piimg::plugin::{Capability, Need, transcript};
use piimg::rootfs::boot_config::ConfigTxt;
use piimg::rootfs::cmdline::Cmdline;
use piimg::rootfs::files::{ImagePath, Rootfs};

/// xorshift64: as good as it must be to cut and mix texts.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// Pieces of `parts` put together, then cut, doubled or with a character changed.
    fn mix(&mut self, parts: &[&str]) -> String {
        let mut text: Vec<char> =
            (0..=self.below(6)).map(|_| self.pick(parts).to_owned()).collect::<String>().chars().collect();
        for _ in 0..self.below(3) {
            let at = self.below(text.len() + 1);
            match self.below(4) {
                0 => text.truncate(at),
                1 => text.extend_from_within(..at.min(64)),
                2 if at < text.len() => text[at] = self.pick(&ODD).chars().next().unwrap(),
                _ => text.insert(at.min(text.len()), self.pick(&ODD).chars().next().unwrap()),
            }
        }
        text.into_iter().collect()
    }
}

/// Characters that parsers stumble over.
const ODD: [&str; 18] =
    ["*", "/", ".", ":", "\0", "\n", " ", "{", "}", "\"", "\\", "[", "=", "%", "@", "\u{202e}", "\u{e9}", "e\u{301}"];

fn inputs(seed: u64, parts: &[&str], mut check: impl FnMut(&mut Random, &str)) {
    let number = std::env::var("PIIMG_INPUTS").map_or(20_000, |number| number.parse().unwrap());
    let mut random = Random(seed);
    for _ in 0..number {
        let text = random.mix(parts);
        check(&mut random, &text);
    }
}

const SCOPES: [&str; 23] = [
    "fs:read:",
    "fs:write:",
    "exec:",
    "pkg:install:",
    "pkg:remove:",
    "asset:",
    "boot:config:",
    "boot:cmdline:",
    "svc:",
    "enable:",
    "user:",
    "keys:",
    "net:",
    "secret:",
    "https://",
    "example.org",
    "/etc",
    "/**",
    "/*",
    "/..",
    "//",
    "sh -c *",
    "x.service",
];

#[test]
fn a_scope_means_what_it_prints() {
    let mut read = 0;
    inputs(1, &SCOPES, |_, text| {
        let Ok(capability) = Capability::parse(text) else { return };
        read += 1;
        let printed = capability.to_string();
        let again = Capability::parse(&printed).unwrap_or_else(|error| panic!("{text:?} prints {printed:?}: {error}"));
        assert_eq!(again, capability, "{text:?}");
        assert!(capability.includes(&capability) || printed.contains("**"), "{text:?} does not include itself");
    });
    assert!(read > 500, "only {read} of the inputs were scopes: they test nothing");
}

#[test]
fn inclusion_agrees_with_coverage() {
    const NAMES: [&str; 4] = ["/etc", "/a", "/ab", "/b"];
    const GLOBS: [&str; 7] = ["/etc", "/a", "/ab", "/b", "/*", "/a*", "/**"];
    let path = |random: &mut Random, from: &[&str]| -> String {
        (0..=random.below(3)).map(|_| random.pick(from).to_owned()).collect()
    };
    let mut compared = 0;
    inputs(2, &NAMES, |random, _| {
        let mut glob = || Capability::parse(&format!("fs:write:{}", path(random, &GLOBS))).unwrap();
        let (outer, inner) = (glob(), glob());
        let need = Need::FsWrite(path(random, &NAMES));
        if outer.includes(&inner) && inner.covers(&need) {
            compared += 1;
            assert!(outer.covers(&need), "{outer} includes {inner}, which alone covers {need}");
        }
    });
    assert!(compared > 50, "only {compared} cases were compared");
}

#[test]
fn a_resolved_path_stays_in_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    std::fs::create_dir_all(image.join("etc/a")).unwrap();
    std::fs::write(dir.path().join("secret"), "outside").unwrap();
    std::fs::write(image.join("etc/a/f"), "inside").unwrap();
    for (link, target) in [
        ("up", "../../../../.."),
        ("abs", "/etc"),
        ("host", "/../../secret"),
        ("loop", "loop"),
        ("etc/out", "../../secret"),
        ("etc/a/back", "/up/etc"),
    ] {
        std::os::unix::fs::symlink(target, image.join(link)).unwrap();
    }
    let rootfs = Rootfs::open(&image, 0).unwrap();
    let parts = ["/etc", "/a", "/f", "/..", "/.", "//", "/up", "/abs", "/host", "/loop", "/out", "/back", "/secret"];
    let mut resolved = 0;
    inputs(3, &parts, |_, text| {
        let Ok(path) = ImagePath::parse(text) else { return };
        let Ok(place) = rootfs.resolve(&path) else { return };
        resolved += 1;
        let place = place.as_str();
        assert!(place.starts_with('/') && !place.split('/').any(|part| part == ".."), "{text:?} is {place}");
        if let Ok(data) = rootfs.read(&path, 100) {
            assert_eq!(data, b"inside", "{text:?}");
        }
    });
    assert!(resolved > 1000, "only {resolved} of the paths lead anywhere");
}

#[test]
fn boot_files_print_as_they_were_read() {
    let parts =
        ["[pi4]\n", "[all]\n", "dtparam=audio=on\n", "# a\n", "\n", "\r\n", "include x\n", "kernel=", "gpu_mem", " "];
    inputs(4, &parts, |_, text| assert_eq!(ConfigTxt::parse(text).print(), text));
    inputs(5, &["quiet ", "root=x ", "a=\"b c\" ", "console=tty1", "  "], |_, text| {
        let printed = Cmdline::parse(text).print();
        assert_eq!(Cmdline::parse(&printed).print(), printed, "{text:?}");
    });
}

#[test]
fn addresses_have_one_form() {
    let parts =
        ["https://", "http://", "example.org", ":443", ":80", "/a", "/..", "//", "%2e", "?x", "#y", "u@", "127.0.0.1"];
    let mut read = 0;
    inputs(6, &parts, |_, text| {
        let Ok(url) = Url::parse(text) else { return };
        read += 1;
        assert_eq!(Url::parse(&url.to_string()).as_ref(), Ok(&url), "{text:?}");
        assert!(!url.path.split('/').any(|part| part == ".."), "{text:?}");
    });
    assert!(read > 100, "only {read} of the inputs were addresses");
}

#[test]
fn lock_files_and_logs_are_read_or_refused() {
    let entry = format!("[[plugin]]\nid = \"a/b\"\ndigest = \"sha256:{}\"\n", "a".repeat(64));
    let parts =
        ["version = 1\n", &entry, "grant = [\"fs:write:/etc/x\"]\n", "grant = [", "\"exec:sh\"", "]\n", "# c\n"];
    inputs(7, &parts, |_, text| drop(Lock::parse(text)));
    let parts = [
        "{\"event\":\"end\",\"plugin\":\"a/b\",\"calls\":1,\"fuel\":2,\"error\":null}\n",
        "{\"event\":\"call\",",
        "\"number\":1,",
        "{\"Bytes\":\"00\"}",
        "}\n",
        "[[[[",
    ];
    inputs(8, &parts, |_, text| drop(transcript::read(text.as_bytes())));
}
