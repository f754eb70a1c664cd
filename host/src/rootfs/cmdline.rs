//! Edits cmdline.txt: the kernel's parameters, on one line
//! (<https://docs.kernel.org/admin-guide/kernel-parameters.html>). Pure; what is not changed stays byte for byte.

use std::ops::Range;

/// Most bytes that an arm64 kernel takes, the final NUL among them.
const MAX_LENGTH: usize = 2048;

/// Parameters that piimg sets itself, for each image anew.
const OURS: [&str; 5] = ["root", "rootfstype", "rootwait", "ro", "rw"];

/// The whole file, of which the firmware reads the first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmdline {
    line: String,
    rest: String,
}

/// Returns the name of `name` or `name=value`.
///
/// # Errors
/// What is wrong with the name, or that it is not a plugin's to set.
pub fn check_name(parameter: &str) -> Result<&str, String> {
    let name = parameter.split('=').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        return Err("a parameter's name begins with a letter or digit and has no others but `_`, `-` and `.`".into());
    }
    if OURS.contains(&canonical(name).as_str()) {
        return Err(format!("`{name}` is set by piimg, for each image anew"));
    }
    Ok(name)
}

/// # Errors
/// What is wrong with `name` or `name=value`.
pub fn check_parameter(parameter: &str) -> Result<&str, String> {
    let name = check_name(parameter)?;
    // A quote would swallow the parameters behind it.
    if parameter.contains(|c: char| !c.is_ascii_graphic() || c == '"') {
        return Err("a parameter is ASCII text without white space and quotes".into());
    }
    Ok(name)
}

/// Returns the kernel takes `-` and `_` in names for the same.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

impl Cmdline {
    pub fn parse(text: &str) -> Self {
        let length = text.find(['\n', '\r']).unwrap_or(text.len());
        Self { line: text[..length].to_owned(), rest: text[length..].to_owned() }
    }

    pub fn print(&self) -> String {
        format!("{}{}", self.line, self.rest)
    }

    /// Parameters of that name, whole.
    pub fn named(&self, name: &str) -> Vec<String> {
        self.find(name).into_iter().map(|span| self.line[span].to_owned()).collect()
    }

    /// Puts the parameter where the first of its name is, or at the end; the others go.
    ///
    /// # Errors
    /// If it is invalid, or the line would be too long.
    pub fn set(&mut self, parameter: &str) -> Result<(), String> {
        let name = check_parameter(parameter)?;
        let mut new = self.clone();
        match new.find(name).split_first() {
            None => new.append(parameter),
            Some((first, others)) => {
                new.delete(others);
                new.line.replace_range(first.clone(), parameter);
            }
        }
        self.accept(new, parameter)
    }

    /// Says where the root file system is, as piimg alone may: `root` is what stands behind `root=`.
    pub fn set_root(&mut self, root: &str) {
        let parameter = format!("root={root}");
        match self.find("root").split_first() {
            None => self.append(&parameter),
            Some((first, others)) => {
                self.delete(others);
                self.line.replace_range(first.clone(), &parameter);
            }
        }
    }

    /// Adds the parameter unless it is there.
    ///
    /// # Errors
    /// Those of [`Cmdline::set`].
    pub fn add(&mut self, parameter: &str) -> Result<bool, String> {
        let name = check_parameter(parameter)?;
        if self.named(name).iter().any(|known| known == parameter) {
            return Ok(false);
        }
        let mut new = self.clone();
        new.append(parameter);
        self.accept(new, parameter).map(|()| true)
    }

    /// Removes the parameters of that name, each with the space before it, and returns how many there were.
    ///
    /// # Errors
    /// If it is no name, or one that piimg sets.
    pub fn remove(&mut self, name: &str) -> Result<usize, String> {
        check_name(name)?;
        let found = self.find(name);
        self.delete(&found);
        Ok(found.len())
    }

    fn accept(&mut self, new: Self, parameter: &str) -> Result<(), String> {
        if !new.named(check_name(parameter)?).iter().any(|known| known == parameter) {
            return Err("the kernel's command line has a quote that is not closed".into());
        }
        if new.line.len() >= MAX_LENGTH {
            return Err(format!("the kernel's command line would have {MAX_LENGTH} or more characters"));
        }
        *self = new;
        Ok(())
    }

    /// Returns the positions of the parameters called `name`. What follows `--` is for the init system
    /// (<https://docs.kernel.org/admin-guide/kernel-parameters.html>).
    fn find(&self, name: &str) -> Vec<Range<usize>> {
        let name = canonical(name);
        let is = |span: &Range<usize>| canonical(self.line[span.clone()].split('=').next().unwrap_or_default()) == name;
        self.words().into_iter().filter(is).collect()
    }

    /// Returns the kernel's parameters; white space within quotes does not end one.
    fn words(&self) -> Vec<Range<usize>> {
        let (mut words, mut start, mut quoted) = (Vec::new(), None, false);
        for (at, c) in self.line.char_indices().chain([(self.line.len(), ' ')]) {
            quoted ^= c == '"';
            match start {
                None if !c.is_ascii_whitespace() => start = Some(at),
                Some(from) if (c.is_ascii_whitespace() && !quoted) || at == self.line.len() => {
                    if &self.line[from..at] == "--" {
                        return words;
                    }
                    words.push(from..at);
                    start = None;
                }
                _ => {}
            }
        }
        words
    }

    fn append(&mut self, parameter: &str) {
        match self.words().last().map(|last| last.end) {
            Some(end) => self.line.insert_str(end, &format!(" {parameter}")),
            None if self.line.trim().is_empty() => self.line = parameter.to_owned(),
            None => self.line.insert_str(0, &format!("{parameter} ")),
        }
    }

    fn delete(&mut self, spans: &[Range<usize>]) {
        for span in spans.iter().rev() {
            let before = self.line[..span.start].trim_end_matches(|c: char| c.is_ascii_whitespace()).len();
            self.line.replace_range(before..span.end, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str =
        " console=ttyS1,115200 console=tty0 root=PARTUUID={root_partuuid} rw net.ifnames=0  rootwait \n";

    #[test]
    fn a_file_that_is_not_changed_stays_byte_for_byte() {
        for text in [DEBIAN, "", "\n", "a", "a\r\nb\n", "  a  \"b c\"  -- d\t\n", "\"", "ä=1 \u{a0}x"] {
            let mut cmdline = Cmdline::parse(text);
            assert_eq!(cmdline.print(), text);
            assert_eq!(cmdline.remove("none").unwrap(), 0);
            assert_eq!(cmdline.print(), text);
        }
    }

    #[test]
    fn parameters_are_set_added_and_removed() {
        let mut cmdline = Cmdline::parse(DEBIAN);
        assert_eq!(cmdline.named("console"), ["console=ttyS1,115200", "console=tty0"]);
        cmdline.set("console=tty1").unwrap();
        cmdline.set("net.ifnames=1").unwrap();
        assert!(cmdline.add("quiet").unwrap());
        assert!(!cmdline.add("quiet").unwrap());
        assert_eq!(cmdline.print(), " console=tty1 root=PARTUUID={root_partuuid} rw net.ifnames=1  rootwait quiet \n");
        assert_eq!(cmdline.remove("net.ifnames").unwrap(), 1);
        assert_eq!(cmdline.print(), " console=tty1 root=PARTUUID={root_partuuid} rw  rootwait quiet \n");
    }

    #[test]
    fn the_root_file_system_is_named_once() {
        for (text, expected) in [
            ("quiet root=LABEL=a rw root=/dev/sda2\n", "quiet root=X rw\n"),
            ("quiet\n", "quiet root=X\n"),
            ("", "root=X"),
        ] {
            let mut cmdline = Cmdline::parse(text);
            cmdline.set_root("X");
            assert_eq!(cmdline.print(), expected);
        }
    }

    #[test]
    fn names_are_the_kernels() {
        for (text, parameter, expected) in [
            ("", "a=1", "a=1"),
            ("\n", "a=1", "a=1\n"),
            ("a-b=0 x", "a_b=1", "a_b=1 x"),
            ("x=\"a=0 a=1\" a=0", "a=2", "x=\"a=0 a=1\" a=2"),
            ("b -- a=0", "a=1", "b a=1 -- a=0"),
            ("-- a=0", "a=1", "a=1 -- a=0"),
            ("a a=0 ab=1", "a=1", "a=1 ab=1"),
        ] {
            let mut cmdline = Cmdline::parse(text);
            cmdline.set(parameter).unwrap();
            assert_eq!(cmdline.print(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_stands_beside_a_parameter_stays() {
        // Within a quote that is not closed, it would be no parameter.
        for text in ["a=\"b", "x \"", "a=\"b c -- d"] {
            let mut cmdline = Cmdline::parse(text);
            for error in [cmdline.set("quiet").unwrap_err(), cmdline.add("quiet").unwrap_err()] {
                assert!(error.contains("a quote that is not closed"), "{text:?}: {error}");
            }
            assert_eq!(cmdline.print(), text);
        }
        // A space of another script is a part of the word that it ends.
        let mut cmdline = Cmdline::parse("x\u{a0} quiet");
        assert_eq!((cmdline.remove("quiet").unwrap(), cmdline.print().as_str()), (1, "x\u{a0}"));
    }

    #[test]
    fn what_is_not_the_plugins_is_refused() {
        for (parameter, cause) in [
            ("root=/dev/sda1", "set by piimg"),
            ("rootfstype=btrfs", "set by piimg"),
            ("rw", "set by piimg"),
            ("", "begins with"),
            ("--", "begins with"),
            ("=x", "begins with"),
            ("a b", "begins with"),
            ("a=b root=/dev/sda1", "white space"),
            ("a=\"", "quotes"),
            ("a=b\nc", "white space"),
            ("a=ä", "ASCII"),
        ] {
            let mut cmdline = Cmdline::parse(DEBIAN);
            for error in [cmdline.set(parameter).unwrap_err(), cmdline.add(parameter).unwrap_err()] {
                assert!(error.contains(cause), "{parameter:?}: {error}");
            }
            assert_eq!(cmdline.print(), DEBIAN);
        }
        assert!(Cmdline::parse(DEBIAN).remove("root").unwrap_err().contains("set by piimg"));
        let error = Cmdline::parse("a").set(&format!("b={}", "x".repeat(2048))).unwrap_err();
        assert!(error.contains("2048 or more"), "{error}");
    }
}
