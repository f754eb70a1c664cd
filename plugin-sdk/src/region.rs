//! Language, keyboard and time zone: `region::set_locale("en_GB.UTF-8")?`.

use crate::process::Command;
use crate::{Error, ErrorCode, fs, text};

/// Makes locales, each such as `en_GB.UTF-8`, with the program of the package `locales`. Needs `fs:read` and `fs:write`
/// of `/etc/locale.gen`, `fs:write:/usr/lib/locale/locale-archive` and `exec:locale-gen`.
///
/// # Errors
/// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no name of a locale, [`ErrorCode::NotFound`] if `locales` is
/// not installed, or does not know the locale.
pub fn generate_locales(names: &[&str]) -> Result<(), Error> {
    let lines = names.iter().map(|name| locale_line(name)).collect::<Result<Vec<_>, _>>()?;
    let list = fs::read_to_string("/etc/locale.gen")?;
    lines.iter().try_for_each(|line| check_known(&list, line))?;
    let add = |text: &str| {
        let changed = lines.iter().fold(text.to_owned(), |text, line| text::uncommented(&text, line).unwrap_or(text));
        (changed != text).then_some(changed)
    };
    fs::edit("/etc/locale.gen", add)?;
    Command::new("locale-gen").run()
}

/// Refuses a locale that is not in the package's list of all, of which most lines are comments: `locale-gen` would name it in
/// its output and succeed. A list without comments is somebody's own, and says nothing.
fn check_known(list: &str, line: &str) -> Result<(), Error> {
    let name = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let of_line = |text: &str| text.trim_start_matches('#').trim().to_owned();
    let is_locale = |text: &str| text.split_whitespace().count() == 2 && text.contains(['.', '_']);
    let all: Vec<String> = list.lines().map(of_line).filter(|text| is_locale(text)).collect();
    let is_complete = list.lines().any(|text| text.starts_with('#') && is_locale(&of_line(text)));
    if !is_complete || all.iter().any(|known| known == line) {
        return Ok(());
    }
    let language = line.split(['_', '.']).next().unwrap_or_default();
    let like: Vec<String> =
        all.iter().filter(|known| known.starts_with(&format!("{language}_"))).map(|it| name(it)).collect();
    let hint = if like.is_empty() { String::new() } else { format!("; of that language it knows {}", like.join(", ")) };
    let message = format!("the package `locales` of the image knows no locale `{}`{hint}", name(line));
    Err(Error::new(ErrorCode::NotFound, message))
}

/// Makes a locale as [`generate_locales`] does and lets the system speak it. Needs `fs:write:/etc/default/locale` too.
///
/// # Errors
/// As [`generate_locales`].
pub fn set_locale(name: &str) -> Result<(), Error> {
    generate_locales(&[name])?;
    fs::write("/etc/default/locale", format!("LANG={name}\n")).apply()
}

/// The line of `/etc/locale.gen`: the name and its character set.
fn locale_line(name: &str) -> Result<String, Error> {
    let (language, charset) = name.split_once('.').unwrap_or((name, ""));
    let word = |text: &str| !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || "_-@".contains(it));
    if !word(language) || !word(charset) {
        let message = format!("`{name}` is no locale: it is a language and a character set, such as `en_GB.UTF-8`");
        return Err(Error::new(ErrorCode::Invalid, message));
    }
    // The modifier belongs to the name alone: `de_DE.UTF-8@euro UTF-8`.
    let charset = charset.split('@').next().unwrap_or(charset);
    Ok(format!("{name} {charset}"))
}

/// A keyboard as `keyboard-configuration` describes it.
#[derive(Clone, Debug)]
pub struct Keyboard {
    layout: String,
    variant: String,
    model: String,
    options: String,
}

impl Keyboard {
    /// A keyboard of 105 keys with this layout, such as `gb`, or several, `us,de`.
    #[must_use]
    pub fn new(layout: &str) -> Self {
        Self { layout: layout.to_owned(), variant: String::new(), model: "pc105".to_owned(), options: String::new() }
    }

    /// Such as `nodeadkeys`.
    #[must_use]
    pub fn variant(mut self, variant: &str) -> Self {
        variant.clone_into(&mut self.variant);
        self
    }

    /// Such as `pc104`.
    #[must_use]
    pub fn model(mut self, model: &str) -> Self {
        model.clone_into(&mut self.model);
        self
    }

    /// Such as `compose:ralt`.
    #[must_use]
    pub fn options(mut self, options: &str) -> Self {
        options.clone_into(&mut self.options);
        self
    }

    /// Makes it the system's, on the console and in X. Needs `fs:write:/etc/default/keyboard`.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for a word with other characters than those of such words.
    pub fn apply(&self) -> Result<(), Error> {
        fs::write("/etc/default/keyboard", self.text()?).apply()
    }

    fn text(&self) -> Result<String, Error> {
        let Self { layout, variant, model, options } = self;
        // A shell reads the file.
        let plain = |text: &str| text.chars().all(|it| it.is_ascii_alphanumeric() || "_-,:()+".contains(it));
        if let Some(odd) = [layout, variant, model, options].into_iter().find(|text| !plain(text)) {
            let message = format!("`{}` is no word for a keyboard, such as `gb`", odd.escape_debug());
            return Err(Error::new(ErrorCode::Invalid, message));
        }
        Ok(format!(
            "XKBMODEL=\"{model}\"\nXKBLAYOUT=\"{layout}\"\nXKBVARIANT=\"{variant}\"\nXKBOPTIONS=\"{options}\"\nBACKSPACE=\"guess\"\n"
        ))
    }
}

/// Sets the time zone, such as `Europe/Berlin`. Needs `fs:read:/usr/share/zoneinfo/**`, `fs:read:/etc/localtime`,
/// `fs:write:/etc/localtime` and `fs:write:/etc/timezone`.
///
/// # Errors
/// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no name of a zone, [`ErrorCode::NotFound`] if `tzdata` does not
/// have it.
pub fn set_timezone(name: &str) -> Result<(), Error> {
    /// How the file of a zone begins: RFC 9636, 3.1.
    const MAGIC: &[u8] = b"TZif";
    let file = zone_file(name)?;
    let beginning = match fs::open(&file).and_then(|zone| zone.read(0, 4)) {
        Ok(beginning) => beginning,
        Err(error) if error.code() == ErrorCode::NotAFile => Vec::new(),
        Err(error) if error.code() == ErrorCode::NotFound => {
            return Err(Error::new(ErrorCode::NotFound, missing_zone(name)));
        }
        Err(error) => return Err(error),
    };
    if beginning != MAGIC {
        let message = format!(
            "`{name}` is no time zone, but something else in `/usr/share/zoneinfo`; one is such as `Europe/Berlin`"
        );
        return Err(Error::new(ErrorCode::Invalid, message));
    }
    if fs::exists("/etc/localtime")? {
        fs::remove("/etc/localtime")?;
    }
    fs::symlink("/etc/localtime", &file)?;
    fs::write("/etc/timezone", format!("{name}\n")).apply()
}

fn missing_zone(name: &str) -> String {
    format!(
        "there is no time zone `{name}` in the image: zones come with the package `tzdata`, and old names of them with \
         `tzdata-legacy` in newer releases"
    )
}

fn zone_file(name: &str) -> Result<String, Error> {
    let part = |text: &str| !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || "_-+".contains(it));
    if !name.split('/').all(part) {
        let message = format!("`{}` is no time zone; one is such as `Europe/Berlin`", name.escape_debug());
        return Err(Error::new(ErrorCode::Invalid, message));
    }
    Ok(format!("/usr/share/zoneinfo/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_has_a_language_and_a_character_set() {
        assert_eq!(locale_line("en_GB.UTF-8").unwrap(), "en_GB.UTF-8 UTF-8");
        assert_eq!(locale_line("de_DE.UTF-8@euro").unwrap(), "de_DE.UTF-8@euro UTF-8");
        for odd in ["", "en_GB", "en_GB.UTF-8 x", "en_GB.UTF-8\n", ".UTF-8", "en.", "C.utf8;x"] {
            let error = locale_line(odd).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Invalid, "{odd}");
            assert!(error.to_string().ends_with("such as `en_GB.UTF-8`"), "{error}");
        }
    }

    #[test]
    fn a_locale_is_one_that_the_package_knows() {
        let list = "# This file lists locales.\n# en_GB.UTF-8 UTF-8\n#en_US ISO-8859-1\nen_US.UTF-8 UTF-8\n";
        for known in ["en_GB.UTF-8 UTF-8", "en_US.UTF-8 UTF-8"] {
            check_known(list, known).unwrap();
        }
        let error = check_known(list, "en_UK.UTF-8 UTF-8").unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
        assert_eq!(
            error.to_string(),
            "the package `locales` of the image knows no locale `en_UK.UTF-8`; of that language it knows en_GB.UTF-8, \
             en_US, en_US.UTF-8"
        );
        assert!(check_known(list, "xx_XX.UTF-8 UTF-8").unwrap_err().to_string().ends_with("no locale `xx_XX.UTF-8`"));
        // Somebody's own list is not that of all.
        check_known("# my own\nen_US.UTF-8 UTF-8\n", "de_DE.UTF-8 UTF-8").unwrap();
    }

    #[test]
    fn a_keyboard_is_quoted_for_the_shell() {
        let text = Keyboard::new("us,de").variant("intl,").model("pc104").options("compose:ralt").text().unwrap();
        let expected = "XKBMODEL=\"pc104\"\nXKBLAYOUT=\"us,de\"\nXKBVARIANT=\"intl,\"\nXKBOPTIONS=\"compose:ralt\"\nBACKSPACE=\"guess\"\n";
        assert_eq!(text, expected);
        let error = Keyboard::new("gb\"; reboot").text().unwrap_err();
        assert_eq!(error.to_string(), "`gb\\\"; reboot` is no word for a keyboard, such as `gb`");
    }

    #[test]
    fn a_time_zone_stays_in_its_directory() {
        assert_eq!(zone_file("Etc/GMT+3").unwrap(), "/usr/share/zoneinfo/Etc/GMT+3");
        for odd in ["", "/etc/passwd", "Europe/", "../../../etc/passwd", "Europe/./Berlin", "UTC\n"] {
            assert!(
                zone_file(odd).unwrap_err().to_string().ends_with("is no time zone; one is such as `Europe/Berlin`")
            );
        }
    }
}
