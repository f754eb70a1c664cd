//! Implements `process`: commands in the box. A capability names program, arguments and all variables that could change
//! the command; the rest is checked here.

use std::collections::BTreeMap;

use super::blobs::Blob;
use super::{Answer, Session, from_bench};
use crate::plugin::capability::{Invocation, Need, check_program, is_variable};
use crate::plugin::workbench::{CallError, Command, ErrorCode, Outcome, Stdin};
use crate::rootfs::files::ImagePath;
use crate::ui::printable;

/// Bytes of arguments and variables together.
const MAX_ARGUMENTS: usize = 128 << 10;

impl Session<'_> {
    pub(super) fn run(&mut self, command: &Command, stdin: Option<u32>) -> Answer<Outcome> {
        let call = check(command)?;
        self.gate(&Need::Exec(call))?;
        let stdin = match stdin.map(|blob| self.blobs.get(blob)).transpose()? {
            Some(Blob::Bytes(data)) => Some(Stdin::Bytes(data)),
            Some(Blob::File(file, length)) => Some(Stdin::File { file, length: *length }),
            None => None,
        };
        // The command gets the image's time in a variable.
        self.record.read_clock = true;
        self.bench.run(command, stdin).map_err(|error| from_bench(&error))
    }
}

/// Checks a command, and returns the invocation to authorize.
fn check(command: &Command) -> Answer<Invocation> {
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
    let mut env = BTreeMap::new();
    for (name, value) in &command.env {
        if !is_variable(name) || value.contains('\0') {
            return invalid(format!("cannot run `{}`: `{name}` is no environment variable", command.program));
        }
        // Programs differ in which of two values they take.
        if env.insert(name.clone(), value.clone()).is_some() {
            return invalid(format!("cannot run `{}`: the variable `{name}` is set twice", command.program));
        }
    }
    if let Some(cwd) = &command.cwd {
        ImagePath::parse(cwd).map_err(|error| CallError::new(ErrorCode::Invalid, error.to_string()))?;
    }
    if let Some(user) = command.user.as_deref().filter(|user| !is_user(user)) {
        return invalid(format!("cannot run `{}`: `{user}` is no name of a user", command.program));
    }
    Ok(Invocation { program: command.program.clone(), args: command.args.clone(), env })
}

fn is_user(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
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
            (|c| c.env = vec![("A".into(), "1".into()), ("A".into(), "2".into())], "set twice"),
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

    #[test]
    fn the_gate_is_asked_for_each_variable_that_is_not_harmless() {
        let mut command = command();
        assert_eq!(Need::Exec(check(&command).unwrap()).to_string(), "exec:ls -l");
        for (name, value) in [("LD_PRELOAD", "/opt/x.so"), ("NOBODY_KNOWS", "a b"), ("TZ", "/opt/zone")] {
            command.env.push((name.into(), value.into()));
        }
        let need = Need::Exec(check(&command).unwrap()).to_string();
        assert_eq!(need, "exec:LD_PRELOAD=/opt/x.so NOBODY_KNOWS=* TZ=/opt/zone ls -l");
    }
}
