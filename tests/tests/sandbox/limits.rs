//! Commands that use up what there is.

use std::time::{Duration, Instant};

use piimg::sandbox::command::{BoxCommand, BoxLimits, Exceeded};

use super::{Image, Test, run};

pub(super) const TESTS: [Test; 10] = [
    ("memory_is_limited", memory),
    ("processes_are_limited", processes),
    ("disk_is_limited", disk),
    ("files_are_limited", files),
    ("files_in_memory_are_limited", files_in_memory),
    ("time_is_limited", time),
    ("memory_that_no_process_shows_is_limited", hidden_memory),
    ("output_is_limited_and_waits_for_nobody", output),
    ("the_watch_is_not_kept_busy", busy),
    ("addresses_are_bounded_where_they_are_to_be", addresses),
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
    let (output, text) = run(command);
    assert_eq!(output.status, 128 + 9, "{text}");
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "", "something is left");
    let error = command.check(&mut |_, _| {}).unwrap_err().to_string();
    let exceeded = output.exceeded.expect("a limit ended it");
    assert!(error.ends_with(&format!("` in the image {exceeded}")), "{error}");
    exceeded
}

fn memory() {
    let image = Image::new("memory");
    // One process that keeps all that it reads, and many that keep a little.
    assert_eq!(exceed(&image, "tail /dev/zero"), Exceeded::Memory(64 << 20));
    // The last command of a shell takes its place, and what the shell has kept is gone: hence the colon.
    let many = "for i in 1 2 3 4 5 6 7 8; do (x=$(head -c 16M /dev/zero | tr '\\0' x); sleep 99; :) & done; wait";
    assert_eq!(exceed(&image, many), Exceeded::Memory(64 << 20));
}

fn processes() {
    let image = Image::new("processes");
    // Each of them stays until it is found.
    let bomb = "b() { sleep 99 & b & wait; }; b";
    assert_eq!(exceed(&image, bomb), Exceeded::Processes(50));
    // A process of another user is one too.
    let users = "for i in $(seq 100); do setpriv --reuid $i --clear-groups sleep 99 & done; wait";
    assert_eq!(exceed(&image, users), Exceeded::Processes(50));
    // One that dies of its own success may be dead before anybody looks.
    let mut command = image.command(&["sh", "-c", "b() { b | b & }; b; sleep 1; echo over"]);
    command.limits = SMALL;
    let (output, text) = run(&command);
    match output.exceeded {
        Some(exceeded) => assert_eq!(exceeded, Exceeded::Processes(50)),
        None => assert!(text.contains("annot fork") && text.ends_with("over"), "{text}"),
    }
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

fn hidden_memory() {
    let image = Image::new("hidden");
    assert_eq!(exceed(&image, "exec /attack attack tables"), Exceeded::Memory(64 << 20));
    let mut command = image.command(&["/attack", "attack", "shared"]);
    command.limits = SMALL;
    let (output, text) = run(&command);
    // An eighth of the memory; an older kernel does not bound it, and the watch looks at the whole machine.
    assert_eq!((output.status, text.as_str()), (0, "8 ENOSPC"));
    let said = image.script("cd /dev/shm; seq 20000 | xargs touch 2>/dev/null; ls | wc -l");
    assert!((9000..10_000).contains(&said.parse().unwrap()), "{said}");
}

/// Most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn output() {
    let image = Image::new("output");
    let before = peak();
    let mut lines = 0_u64;
    let command = image.command(&["sh", "-c", "head -c 600M /dev/zero | tr '\\0' '\\n'; printf '\\033[2J\\342\\200'"]);
    let output = command
        .run(None, &mut |_, line| {
            // Whoever reads slowly must not have to keep what waits.
            if lines == 0 {
                std::thread::sleep(Duration::from_secs(2));
            }
            assert!(!line.contains('\u{1b}'));
            lines += 1;
        })
        .unwrap();
    assert_eq!((output.status, output.exceeded, output.stdout.len()), (0, None, 8 << 20));
    assert_eq!(output.dropped, (592 << 20) + 6);
    assert!(peak() - before < 100 << 20, "{} MiB", (peak() - before) >> 20);
}

fn busy() {
    let image = Image::new("busy");
    let mut command = image.command(&["sh", "-c", "echo go; exec tail /dev/zero"]);
    command.limits = SMALL;
    let is_running = || {
        let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        std::fs::read_dir("/proc").unwrap().any(|entry| name(entry.unwrap().path()) == "tail\n")
    };
    let mut was_killed = false;
    let output = command
        .run(None, &mut |_, _| {
            // Nobody comes back from here before the command is dead.
            std::thread::sleep(Duration::from_millis(300));
            let deadline = Instant::now() + Duration::from_secs(30);
            while is_running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            was_killed = !is_running();
        })
        .unwrap();
    assert!(was_killed);
    assert_eq!(output.exceeded, Some(Exceeded::Memory(64 << 20)));
}

/// A program that reserves more than there may be is refused at once, and one that reserves less is not.
fn addresses() {
    let image = Image::new("addresses");
    let reserve = |bound: Option<u64>, gib: u64| {
        let script = format!("import mmap; mmap.mmap(-1, {gib} << 30, mmap.MAP_PRIVATE | 0x4000, mmap.PROT_READ)");
        let mut command = image.command(&["python3", "-c", &script]);
        command.addresses = bound;
        let (output, said) = run(&command);
        (output.status, said)
    };
    assert_eq!(reserve(None, 8 << 10), (0, String::new()));
    assert_eq!(reserve(Some(192 << 30), 128), (0, String::new()));
    let (status, said) = reserve(Some(192 << 30), 8 << 10);
    assert!(status == 1 && said.contains("Cannot allocate memory"), "{status}: {said}");
}
