use std::process::Stdio;
use std::sync::mpsc;

use super::*;
use crate::sandbox::ending::Bounds;
use crate::sandbox::tool::Tool;

#[test]
fn the_console_is_turned_to_the_machine() {
    for (cmdline, arguments) in [
        (
            "console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootwait quiet splash\n",
            "root=PARTUUID=1-02 rootwait console=ttyAMA0",
        ),
        ("\n  root=LABEL=x\nsecond line", "root=LABEL=x console=ttyAMA0"),
        ("", "console=ttyAMA0"),
    ] {
        assert_eq!(kernel_arguments(cmdline, "ttyAMA0"), arguments);
    }
}

#[test]
fn a_board_is_what_it_is() {
    let pi = || BootOptions { board: Board::Raspi3b, ..BootOptions::default() };
    for (options, cause) in [
        (pi(), None),
        (BootOptions { model: Some(Model::Pi3), ..pi() }, None),
        (BootOptions { model: Some(Model::Pi4), memory_mib: 4096, ..BootOptions::default() }, None),
        (BootOptions { model: Some(Model::Pi4), ..pi() }, Some("the machine `raspi3b` is a pi3, not a pi4")),
        (BootOptions { memory_mib: 2048, ..pi() }, Some("the machine `raspi3b` has 1024 MiB of memory, not 2048")),
    ] {
        let refused = check(&options).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), cause, "{options:?}");
    }
}

#[test]
fn an_image_without_kernel_says_so() {
    let mut files = BootFiles::new(["start4.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb", "cmdline.txt"]);
    files.add_text("config.txt", "kernel=vmlinuz".to_owned());
    assert_eq!(
        choose(&files, None).unwrap_err().to_string(),
        "the image does not boot a pi4: missing `vmlinuz` (the kernel)"
    );
}

/// A shell that behaves like a serial line: it echoes what is typed and asks for a user.
fn fake(script: &str) -> (Session, mpsc::Receiver<String>) {
    let mut command = Tool::new("sh").args(["-c", script]).command().unwrap();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    let on_line = Box::new(move |line: &str| sender.send(line.to_owned()).unwrap_or_default());
    let (temp, disk) = (tempfile::tempdir().unwrap(), tempfile::tempfile().unwrap());
    let session = Session::start(child, Bounds::default(), temp, disk, on_line).unwrap();
    (session, lines)
}

const LOGIN: &str = "printf 'Debian\\nhost login: '; read u; echo \"$u\"; printf 'Password: '; read p; echo; \
                     [ \"$u$p\" = rootpw ] || { echo 'Login incorrect'; exec sleep 9; }; exec sh -v";

#[test]
fn commands_give_status_and_output() {
    let (mut session, lines) = fake(LOGIN);
    session.wait_for_login(Duration::from_secs(5)).unwrap();
    session.login("root", "pw").unwrap();
    let mut run = |command: &str| session.run(command, Duration::from_secs(5)).unwrap();
    assert_eq!(run("echo a; echo b"), (0, "a\nb\n".to_owned()));
    assert_eq!(run("printf \"it's\"; exit 7"), (7, "it's".to_owned()));
    assert_eq!(run("cat; echo 'PIIMG-END-3:0'"), (0, "PIIMG-END-3:0\n".to_owned()));
    assert_ne!(run("if").0, 0);
    assert_eq!(run("true"), (0, String::new()));
    drop(session);
    assert_eq!(lines.recv().unwrap(), "Debian");
}

/// A line to which the kernel writes too: into a prompt, an answer, and the marks around answers.
const NOISY: &str = "printf 'host log[ 62.8] hrtimer: slow\\nin: '; read u; printf 'host login: '; read u; \
                     printf 'Pass[ 62.9] usb: new\\nword: '; read p; printf 'host login: '; read u; printf 'Password: '; read p; \
                     sh | sed -u -e '/^PIIMG-BEGIN-1.1$/a [ 63.0] eth0: up' -e '/^PIIMG-END-1.2$/s/MG/[ 63.1] eth0: down\\n&/' \
                     -e '/^PIIMG-BEGIN-1.3$/s/MG/[ 63.2] eth0: up\\n&/' \
                     -e '0,/^PIIMG-READY$/{/READY/s/MG/[ 63.3] eth0: up\\n&/}'";

#[test]
fn the_kernel_may_write_to_the_same_line() {
    let (mut session, _lines) = fake(NOISY);
    session.patience = Duration::from_millis(100);
    session.wait_for_login(Duration::from_secs(60)).unwrap();
    session.login("root", "pw").unwrap();
    assert_eq!(session.run("echo a; echo b", Duration::from_secs(60)).unwrap(), (0, "a\nb\n".to_owned()));
    // Two whole copies came after three that were not.
    assert!(session.console.tail(100).contains("PIIMG-END-1.5"), "{}", session.console.tail(100));
}

#[test]
fn refusals_and_ends_are_told_apart() {
    let (mut session, _lines) = fake(LOGIN);
    session.wait_for_login(Duration::from_secs(5)).unwrap();
    assert_eq!(session.login("root", "wrong").unwrap_err().to_string(), "the image refuses the user `root`");

    let (mut session, _lines) = fake("echo 'Kernel panic'; echo 'no disk' >&2; exit 3");
    let error = session.wait_for_login(Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.to_string(), "the machine failed with status 3 before `login:` appeared");
    assert!(format!("{error:#}").contains("Kernel panic"), "{error:#}");

    let (mut session, _lines) = fake("echo waiting; exec sleep 60");
    let error = session.wait_for("never", Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.to_string(), "`never` did not appear within 0 s");
}
