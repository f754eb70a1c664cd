//! Finds the program and the component.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// Variable with the component, which `piimg plugin test` sets.
const COMPONENT: &str = "PIIMG_PLUGIN";
/// Variable with the program.
const PROGRAM: &str = "PIIMG";

/// Components that this process has had compiled, by directory.
static COMPILED: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());

/// Returns the component of the plugin in `dir`: the one that `piimg plugin test` has compiled, else it is compiled now.
#[track_caller]
pub(crate) fn of_directory(dir: &Path) -> PathBuf {
    if let Some(component) = std::env::var_os(COMPONENT) {
        return component.into();
    }
    let mut compiled = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(component) = compiled.get(dir) {
        return component.clone();
    }
    let output = piimg(None, &["plugin".as_ref(), "build".as_ref(), dir.as_os_str()], "");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the plugin does not compile:\n{}", String::from_utf8_lossy(&output.stderr));
    let component = PathBuf::from(said.trim_end());
    compiled.insert(dir.to_owned(), component.clone());
    component
}

/// Runs piimg, or `program`, with `input` to its end.
#[expect(clippy::disallowed_methods, reason = "it starts piimg itself")]
#[track_caller]
pub(crate) fn piimg(program: Option<&Path>, arguments: &[&std::ffi::OsStr], input: &str) -> Output {
    let named = program.map(|program| program.as_os_str().to_owned()).or_else(|| std::env::var_os(PROGRAM));
    let program = named.unwrap_or_else(|| "piimg".into());
    let shown = program.to_string_lossy().into_owned();
    let started = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => panic!(
            "`{shown}` is not installed, which runs plugins: install piimg, or set {PROGRAM} to where it is \
             (`piimg plugin test` does)"
        ),
        Err(error) => panic!("cannot start `{shown}`: {error}"),
    };
    let mut stdin = child.stdin.take().expect("it was asked for");
    let input = input.to_owned();
    // Both pipes may be full at once. One that does not read its input has said why.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    let output = child.wait_with_output().expect("the output of a child can be read");
    writer.join().expect("writing does not panic");
    output
}
