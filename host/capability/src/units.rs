//! Units of systemd: names, and what `[Install]` sections ask for. Pure; files are data here, nothing of them is run.
//!
//! Links are worked out here rather than by `systemctl` in the box: each unit that `Also=` brings in, and each name
//! that an alias takes, is known before anything changes, so that it can be compared with the grants.

/// Longest name, as systemd has it.
const MAX_NAME: usize = 255;
/// Kinds of units that have files; the others are made by systemd alone.
const SUFFIXES: [&str; 9] = ["service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice"];

/// A unit's name with its suffix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(String);

impl UnitName {
    /// # Errors
    /// The rule for names, if the text breaks it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (stem, suffix) = text.rsplit_once('.').unwrap_or((text, ""));
        if !SUFFIXES.contains(&suffix) {
            return Err("a unit's name has a suffix, such as `.service`");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || ":_.\\-@".contains(c);
        let good = text.len() <= MAX_NAME
            && !stem.is_empty()
            && !stem.starts_with(['.', '-', '@'])
            && stem.chars().all(plain)
            && stem.matches('@').count() <= 1;
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err("a unit's name has letters, digits and `:_.\\-`, at most one `@`, and begins with none of `.-@`")
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn suffix(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// Returns the name without its suffix.
    fn stem(&self) -> &str {
        &self.0[..self.0.len() - self.suffix().len() - 1]
    }

    /// Splits the name at `@`: returns the template's name and the instance, which is empty for a template and `None`
    /// for a plain unit. See <https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html>.
    fn parts(&self) -> (&str, Option<&str>) {
        self.stem().split_once('@').map_or((self.stem(), None), |(prefix, instance)| (prefix, Some(instance)))
    }

    pub fn is_template(&self) -> bool {
        self.parts().1 == Some("")
    }

    /// Returns the template of an instance.
    pub fn template(&self) -> Option<Self> {
        let (prefix, instance) = self.parts();
        instance.filter(|instance| !instance.is_empty())?;
        Some(Self(format!("{prefix}@.{}", self.suffix())))
    }

    /// Returns the instance of a template.
    fn instance(&self, name: &str) -> Result<Self, &'static str> {
        Self::parse(&format!("{}@{name}.{}", self.parts().0, self.suffix()))
    }

    /// Returns whether a drop-in for it is one for a single unit or template: `a-.service` stands for all that begin
    /// with it.
    pub fn is_single(&self) -> bool {
        !self.parts().0.ends_with('-')
    }

    /// Returns the specifiers that can be known without a running system.
    fn expand(&self, text: &str) -> Result<String, String> {
        let (prefix, instance) = self.parts();
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => out.push('%'),
                Some('n') => out.push_str(&self.0),
                Some('N') => out.push_str(self.stem()),
                Some('p') => out.push_str(prefix),
                Some('i') => out.push_str(instance.unwrap_or_default()),
                Some('j') => out.push_str(prefix.rsplit('-').next().unwrap_or_default()),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("its [Install] section has `%{other}`, which only a running system knows"));
                }
            }
        }
        Ok(out)
    }
}

/// A link in `/etc/systemd/system`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// `<holder>.<wants|requires|upholds>/<unit>`.
    In { directory: String, unit: UnitName },
    /// Another name of the unit.
    Alias(UnitName),
}

/// The `[Install]` section of a unit and of its drop-ins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    upheld_by: Vec<String>,
    alias: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

impl Install {
    /// Reads a unit and then its drop-ins, which add to it; an empty value begins a list anew.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut install = Self::default();
        for text in texts {
            install.read(text);
        }
        install
    }

    fn read(&mut self, text: &str) {
        let mut inside = false;
        // A line that ends in a backslash goes on in the next one that is no comment.
        let mut joined = String::new();
        for line in text.lines() {
            let comment = line.trim_start().starts_with(['#', ';']);
            if comment {
                continue;
            }
            if let Some(start) = line.strip_suffix('\\') {
                joined.push_str(start);
                joined.push(' ');
                continue;
            }
            joined.push_str(line);
            let whole = std::mem::take(&mut joined);
            let line = whole.trim();
            if line.starts_with('[') {
                inside = line == "[Install]";
            } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
                self.assign(key.trim(), value.trim());
            }
        }
    }

    fn assign(&mut self, key: &str, value: &str) {
        let list = match key {
            "WantedBy" => &mut self.wanted_by,
            "RequiredBy" => &mut self.required_by,
            "UpheldBy" => &mut self.upheld_by,
            "Alias" => &mut self.alias,
            "Also" => &mut self.also,
            "DefaultInstance" => {
                self.default_instance = Some(value.to_owned()).filter(|value| !value.is_empty());
                return;
            }
            _ => return,
        };
        if value.is_empty() {
            list.clear();
        }
        list.extend(value.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()));
    }

    /// Returns the units that are enabled and disabled with `unit`.
    ///
    /// # Errors
    /// If a name is invalid.
    pub fn also(&self, unit: &UnitName) -> Result<Vec<UnitName>, String> {
        self.also.iter().map(|name| Ok(UnitName::parse(&unit.expand(name)?)?)).collect()
    }

    /// Returns the links that enable `unit`; `None` if nothing asks for one.
    ///
    /// # Errors
    /// If a name is invalid, or a template has no instance.
    pub fn links(&self, unit: &UnitName) -> Result<Vec<Link>, String> {
        let mut links = Vec::new();
        for (list, kind) in [(&self.wanted_by, "wants"), (&self.required_by, "requires"), (&self.upheld_by, "upholds")]
        {
            for holder in list {
                let unit = match (&self.default_instance, unit.is_template()) {
                    (Some(instance), true) => unit.instance(&unit.expand(instance)?)?,
                    (None, true) => return Err("it is a template: name an instance, as in `a@b.service`".into()),
                    (_, false) => unit.clone(),
                };
                let holder = UnitName::parse(&unit.expand(holder)?)?;
                links.push(Link::In { directory: format!("{}.{kind}", holder.0), unit });
            }
        }
        for alias in &self.alias {
            let alias = UnitName::parse(&unit.expand(alias)?)?;
            if alias.suffix() != unit.suffix() || alias.parts().1.is_some() != unit.parts().1.is_some() {
                return Err(format!("its alias `{}` is another kind of unit", alias.0));
            }
            if alias != *unit {
                links.push(Link::Alias(alias));
            }
        }
        Ok(links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    fn links(unit: &str, install: &str) -> Result<Vec<String>, String> {
        let shown = |link: Link| match link {
            Link::In { directory, unit } => format!("{directory}/{}", unit.0),
            Link::Alias(alias) => alias.0,
        };
        let text = format!("[Unit]\nWantedBy=not.target\n[Install]\n{install}\n");
        Ok(Install::parse([text.as_str()]).links(&name(unit))?.into_iter().map(shown).collect())
    }

    #[test]
    fn only_names_are_names() {
        for (text, good) in [
            ("ssh.service", true),
            ("dbus-org.freedesktop.login1.service", true),
            ("getty@tty1.service", true),
            ("getty@.service", true),
            ("dev-disk-by\\x2dlabel-x.swap", true),
            ("ssh", false),
            (".service", false),
            ("@x.service", false),
            ("a@b@c.service", false),
            ("../ssh.service", false),
            ("a/b.service", false),
            ("a b.service", false),
            ("a.conf", false),
            ("a.device", false),
            ("-a.service", false),
            ("a\n.service", false),
        ] {
            assert_eq!(UnitName::parse(text).is_ok(), good, "{text}");
        }
        assert!(UnitName::parse(&format!("{}.service", "a".repeat(248))).is_err());
        assert_eq!(name("getty@tty1.service").template(), Some(name("getty@.service")));
        assert_eq!(name("getty@.service").template(), None);
        assert!(name("getty@.service").is_template() && !name("getty.service").is_template());
        assert!(
            !name("app-.service").is_single() && !name("app-@x.service").is_single() && name("app.service").is_single()
        );
    }

    #[test]
    fn the_install_section_says_which_links() {
        let multi = "multi-user.target.wants";
        for (unit, install, expected) in [
            ("a.service", "WantedBy=multi-user.target", vec![format!("{multi}/a.service")]),
            ("a.service", "", vec![]),
            (
                "a.service",
                "WantedBy=x.target y.target\nRequiredBy=z.target\nAlias=b.service",
                vec![
                    "x.target.wants/a.service".into(),
                    "y.target.wants/a.service".into(),
                    "z.target.requires/a.service".into(),
                    "b.service".into(),
                ],
            ),
            (
                "a.service",
                "WantedBy=x.target\nWantedBy=\nWantedBy=multi-user.target",
                vec![format!("{multi}/a.service")],
            ),
            (
                "a.service",
                "# WantedBy=x.target\nWantedBy = \\\n# between\n multi-user.target",
                vec![format!("{multi}/a.service")],
            ),
            ("a@b.service", "WantedBy=multi-user.target", vec![format!("{multi}/a@b.service")]),
            ("a@b.service", "WantedBy=dev-%i.mount", vec!["dev-b.mount.wants/a@b.service".into()]),
            ("a@.service", "WantedBy=multi-user.target\nDefaultInstance=x", vec![format!("{multi}/a@x.service")]),
            (
                "a.service",
                "WantedBy=multi-user.target\n[Service]\nWantedBy=x.target",
                vec![format!("{multi}/a.service")],
            ),
        ] {
            assert_eq!(links(unit, install).unwrap(), expected, "{unit} {install}");
        }
    }

    #[test]
    fn what_cannot_be_enabled_says_why() {
        for (unit, install, cause) in [
            ("a@.service", "WantedBy=multi-user.target", "name an instance"),
            ("a.service", "WantedBy=../../etc", "suffix"),
            ("a.service", "WantedBy=../x.target", "letters"),
            ("a.service", "Alias=a.socket", "another kind"),
            ("a.service", "Alias=a@.service", "another kind"),
            ("a.service", "WantedBy=%H.target", "`%H`"),
            ("a@.service", "WantedBy=x.target\nDefaultInstance=../y", "letters"),
        ] {
            let error = links(unit, install).unwrap_err();
            assert!(error.contains(cause), "{unit} {install}: {error}");
        }
    }

    #[test]
    fn drop_ins_add_to_the_unit() {
        let texts =
            ["[Install]\nWantedBy=a.target\nAlso=x.socket", "[Install]\nWantedBy=b.target\n", "WantedBy=c.target"];
        let install = Install::parse(texts);
        assert_eq!(install.wanted_by, ["a.target", "b.target"]);
        assert_eq!(install.also(&name("u.service")).unwrap(), [name("x.socket")]);
    }
}
