//! The host functions, called as a worker that keeps to no rule may call them: whatever the calls, what changes is in the
//! image, and is what was granted.

use std::collections::BTreeMap;
use std::path::Path;

use piimg::plugin::InspectedPlugin;
use piimg::plugin::grant::{GrantSet, Granted};
use piimg::plugin::info::Request;
use piimg::plugin::protocol::{Call, Reply};
use piimg::plugin::run::Run;
use piimg::plugin::{Limits, Session, wire};

use super::naive::assert_printable;
use super::path::Tree;
use crate::directory::{Directory, image_info};

/// The plugin's grants; all else must stay.
const SCOPES: [&str; 7] = [
    "fs:read:/etc/**",
    "fs:write:/opt/**",
    "boot:config:gpu_mem",
    "boot:cmdline:quiet",
    "svc:install:app.service",
    "user:create:ann",
    "user:keys:ann",
];

/// Files that a granted setting changes, whose content is not compared: the gate is asked for the setting.
const SETTINGS: [&str; 9] = [
    "/boot/firmware",
    "/etc/systemd",
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/subgid",
    "/home",
];

/// Between calls in the input; a message seldom has it.
const END: u8 = 0xfe;

pub(super) fn check(data: &[u8]) -> bool {
    let calls: Vec<Call> = data.split(|byte| *byte == END).take(20).filter_map(wire::decode).collect();
    if calls.is_empty() {
        return false;
    }
    let dir = Tree::new();
    fill(&dir.image());
    let before = dir.listing();
    let (grants, info) = grants();
    let run = Run {
        plugin: &info,
        grants: &grants,
        image: image_info(),
        params: BTreeMap::new(),
        assets: BTreeMap::new(),
        secrets: BTreeMap::new(),
        limits: Limits::EXECUTE,
    };
    let mut bench = Directory::open(&dir.image());
    let done = serve(&run, &mut bench, calls);
    assert!(bench.commands.is_empty(), "a command was run: {:?}", bench.commands);
    assert!(bench.requests.is_empty(), "a download was made: {:?}", bench.requests);
    let after = dir.listing();
    for path in before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)) {
        let inside = path.strip_prefix("image").unwrap_or_else(|| panic!("{path:?} is outside of the image"));
        let granted = inside == "/opt" || inside.starts_with("/opt/");
        let setting = SETTINGS.iter().any(|setting| inside == *setting || inside.starts_with(&format!("{setting}/")));
        // A directory's time is not looked at, so that only what is in it counts.
        assert!(granted || setting, "{inside:?} changed");
    }
    done
}

/// Makes the calls; whether one did anything.
fn serve(run: &Run<'_>, bench: &mut Directory, calls: Vec<Call>) -> bool {
    let mut sink = |_: &str, _, line: &str| assert_printable(line);
    let mut session = Session::new(run, bench, &mut sink, None);
    let mut done = false;
    for call in calls {
        let is_told = matches!(call, Call::Log { .. } | Call::Printed { .. } | Call::Panicked { .. } | Call::Image);
        match session.serve(call) {
            Reply::Failed(error) => assert_printable(&error.to_string()),
            Reply::Stop(why) => assert_printable(&why),
            _ => done |= !is_told,
        }
    }
    done
}

/// Makes what the calls may find, the ways out included.
fn fill(image: &Path) {
    let write = |name: &str, text: &str| {
        let path = image.join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory can be made");
        std::fs::write(path, text).expect("a file can be written");
    };
    write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    write("etc/group", "root:x:0:\n");
    write("etc/shadow", "root:*:20000:0:99999:7:::\n");
    write("etc/secret", "inside\n");
    write("opt/file", "line\n");
    write("boot/firmware/config.txt", "gpu_mem=64\n[pi4]\n");
    write("boot/firmware/cmdline.txt", "root=x rw\n");
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, image.join(name)).expect("a link can be made");
    };
    link("../../outside", "opt/up");
    link("/etc", "opt/etc");
    link("/../outside", "opt/root");
    link("loop", "opt/loop");
}

fn grants() -> (GrantSet, InspectedPlugin) {
    let mut info = InspectedPlugin::default();
    info.conf.id = "a/b".into();
    let request =
        |scope: &&str| Request { scope: (*scope).into(), reason: String::new(), optional: true, listed: false };
    info.requests = SCOPES.iter().map(request).collect();
    let granted = Granted { requested: true, ..Granted::default() };
    let grants = GrantSet::new(&info, &BTreeMap::new(), &granted).expect("they are capabilities");
    (grants, info)
}
