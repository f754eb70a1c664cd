//! Commands that use up what there is.

use std::time::{Duration, Instant};

use piimg::sandbox::command::{BoxCommand, BoxLimits, Exceeded};

use super::{Image, Test, run};

pub(super) const TESTS: [Test; 6] = [
    ("memory_is_limited", memory),
    ("processes_are_limited", processes),
    ("disk_is_limited", disk),
    ("files_are_limited", files),
    ("files_in_memory_are_limited", files_in_memory),
    ("time_is_limited", time),
];

const SMALL: BoxLimits = BoxLimits { memory: 64 << 20, processes: 50, disk: 20 << 20, files: 2000 };

/// How a script ends that would run for ever.
fn exceed(image: &Image, script: &str) -> Exceeded {
    let mut command = image.command(&["sh", "-c", script]);
    command.limits = SMALL;
    command.timeout = Duration::from_secs(120);
    expect_end(&command)
}

fn expect_end(command: &BoxCommand) -> Exceeded {
    let start = Instant::now();
    let (output, text) = run(command);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(output.status, 128 + 9, "{text}");
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "", "something is left");
    let error = command.check(&mut |_, _| {}).unwrap_err().to_string();
    let exceeded = output.exceeded.expect("a limit ended it");
    assert!(error.ends_with(&format!("{exceeded} inside the image")), "{error}");
    exceeded
}

fn memory() {
    let image = Image::new("memory");
    // One process that keeps all that it reads, and many that keep a little.
    assert_eq!(exceed(&image, "tail /dev/zero"), Exceeded::Memory(64 << 20));
    let many = "for i in 1 2 3 4 5 6 7 8; do (x=$(head -c 16M /dev/zero | tr '\\0' x); sleep 99) & done; wait";
    assert_eq!(exceed(&image, many), Exceeded::Memory(64 << 20));
}

fn processes() {
    let image = Image::new("processes");
    let bomb = "b() { b | b & }; b; sleep 99";
    assert_eq!(exceed(&image, bomb), Exceeded::Processes(50));
    // A process of another user is one too.
    let users = "for i in $(seq 100); do setpriv --reuid $i --clear-groups sleep 99 & done; wait";
    assert_eq!(exceed(&image, users), Exceeded::Processes(50));
}

fn disk() {
    let image = Image::new("disk");
    // Slowly enough that it cannot fill the file system before anybody looks.
    let endless = "while :; do head -c 1M /dev/zero >> /var/tmp/big; sleep 0.01; done";
    assert_eq!(exceed(&image, endless), Exceeded::Disk(20 << 20));
    std::fs::remove_file(image.root.join("var/tmp/big")).unwrap();
    // Holes cost nothing.
    let (output, text) = image.run(&["truncate", "-s", "1T", "/var/tmp/hole"]);
    assert_eq!(output.status, 128 + 25, "SIGXFSZ: a file may not be longer than 64 GiB: {text}");
    let (output, text) = image.run(&["truncate", "-s", "1G", "/var/tmp/hole"]);
    assert_eq!((output.status, output.exceeded), (0, None), "{text}");
}

fn files() {
    let image = Image::new("files");
    assert_eq!(exceed(&image, "cd /var/tmp && seq 1000000 | xargs touch; sleep 99"), Exceeded::Files(2000));
}

fn files_in_memory() {
    let image = Image::new("in-memory");
    let mut command = image.command(&[
        "sh",
        "-c",
        "for d in /tmp /run /dev/shm; do dd if=/dev/zero of=$d/big bs=1M 2>/dev/null || stat -c '%n %s' $d/big; done",
    ]);
    command.limits = SMALL;
    let (output, text) = run(&command);
    assert_eq!((output.status, output.exceeded), (0, None), "{text}");
    assert_eq!(text, "/tmp/big 33554432\n/run/big 4190208\n/dev/shm/big 8388608");
}

fn time() {
    let image = Image::new("time");
    let mut command = image.command(&["sh", "-c", "trap '' TERM INT; setsid sleep 99 & while :; do :; done"]);
    command.timeout = Duration::from_secs(1);
    assert_eq!(expect_end(&command), Exceeded::Time(Duration::from_secs(1)));
}
