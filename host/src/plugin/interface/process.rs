//! `process`: commands in the box. A capability names program and arguments; here the rest is checked, so that no
//! variable, directory or user makes another program of it.

use super::blobs::Blob;
use super::{Answer, Session, from_bench};
use crate::plugin::capability::{Need, check_program};
use crate::plugin::workbench::{CallError, Command, ErrorCode, Outcome, Stdin};
use crate::rootfs::files::ImagePath;
use crate::ui::printable;

/// Bytes of arguments and variables together.
const MAX_ARGUMENTS: usize = 128 << 10;

impl Session<'_> {
    pub(super) fn run(&mut self, command: &Command, stdin: Option<u32>) -> Answer<Outcome> {
        check(command)?;
        self.gate(&Need::Exec(command.program.clone(), command.args.clone()))?;
        let stdin = match stdin.map(|blob| self.blobs.get(blob)).transpose()? {
            Some(Blob::Bytes(data)) => Some(Stdin::Bytes(data)),
            Some(Blob::File(file, _)) => Some(Stdin::File(file)),
            None => None,
        };
        // In a variable.
        self.record.read_clock = true;
        self.bench.run(command, stdin).map_err(|error| from_bench(&error))
    }
}

fn check(command: &Command) -> Answer<()> {
    let invalid = |message: String| Err(CallError::new(ErrorCode::Invalid, printable(&message)));
    if let Err(cause) = check_program(&command.program) {
        return invalid(format!("cannot run `{}`: {cause}", command.program));
    }
    let length = command.args.iter().map(|arg| arg.len() + 1).sum::<usize>()
        + command.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    if length > MAX_ARGUMENTS {
        let message =
            format!("cannot run `{}`: arguments and variables have more than {MAX_ARGUMENTS} bytes", command.program);
        return Err(CallError::new(ErrorCode::Limit, message));
    }
    if command.args.iter().any(|arg| arg.contains('\0')) {
        return invalid(format!("cannot run `{}`: an argument contains a NUL character", command.program));
    }
    for (name, value) in &command.env {
        if !is_variable(name) || value.contains('\0') {
            return invalid(format!("cannot run `{}`: `{name}` is no environment variable", command.program));
        }
        if decides_code(name) {
            return invalid(format!("cannot run `{}`: the variable `{name}` decides which code runs", command.program));
        }
    }
    if let Some(cwd) = &command.cwd {
        ImagePath::parse(cwd).map_err(|error| CallError::new(ErrorCode::Invalid, error.to_string()))?;
    }
    if let Some(user) = command.user.as_deref().filter(|user| !is_user(user)) {
        return invalid(format!("cannot run `{}`: `{user}` is no name of a user", command.program));
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_user(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Variables by which loaders, shells and interpreters load code that the capability does not name.
fn decides_code(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "PATH",
        "IFS",
        "ENV",
        "BASH_ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "PS4",
        "PERL5OPT",
        "PERL5LIB",
        "RUBYOPT",
        "NODE_OPTIONS",
        "GCONV_PATH",
    ];
    const PREFIXES: [&str; 4] = ["LD_", "PYTHON", "BASH_FUNC", "QEMU_"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::workbench::Sink;

    fn command() -> Command {
        let (env, args) = (vec![("LANG".into(), "C".into())], vec!["-l".into()]);
        Command {
            program: "ls".into(),
            args,
            env,
            cwd: None,
            user: None,
            timeout: None,
            stdout: Sink::Log,
            stderr: Sink::Log,
        }
    }

    #[test]
    fn what_would_make_it_another_command_is_refused() {
        check(&command()).unwrap();
        type Change = fn(&mut Command);
        let change: [(Change, &str); 8] = [
            (|c| c.program = "bin/ls".into(), "bare name"),
            (|c| c.program = String::new(), "missing"),
            (|c| c.args = vec!["a\0b".into()], "NUL"),
            (|c| c.env = vec![("LD_PRELOAD".into(), "/x".into())], "decides which code runs"),
            (|c| c.env = vec![("A=B".into(), "x".into())], "no environment variable"),
            (|c| c.cwd = Some("tmp".into()), "not absolute"),
            (|c| c.user = Some("-x".into()), "no name of a user"),
            (|c| c.args = vec!["x".repeat(MAX_ARGUMENTS)], "more than"),
        ];
        for (change, cause) in change {
            let mut command = command();
            change(&mut command);
            let error = check(&command).unwrap_err();
            assert!(error.message.contains(cause), "{}", error.message);
        }
    }
}
