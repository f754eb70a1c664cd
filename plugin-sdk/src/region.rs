//! Language, keyboard and time zone: `region::locale("en_GB.UTF-8").apply()?`.

use crate::process::Command;
use crate::template::{all_filled, filled};
use crate::{Error, ErrorCode, Need, Needs, fs, text};

const LIST: &str = "/etc/locale.gen";
const LOCALE: &str = "/etc/default/locale";
const KEYBOARD: &str = "/etc/default/keyboard";
const ZONES: &str = "/usr/share/zoneinfo";
const ZONE: &str = "/etc/localtime";
const ZONE_NAME: &str = "/etc/timezone";

/// The language of the system, which is made first; see [`locale`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Locale<'a>(&'a str);

/// Describes the language of the system, such as `en_GB.UTF-8`. It brings the package `locales`.
///
/// ```no_run
/// # use piimg_plugin_sdk::region;
/// region::locale("en_GB.UTF-8").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn locale(name: &str) -> Locale<'_> {
    Locale(name)
}

impl Locale<'_> {
    /// Makes the locale as [`Locales::apply`] does, and lets the system speak it.
    ///
    /// # Errors
    /// As [`Locales::apply`].
    pub fn apply(&self) -> Result<(), Error> {
        let name = filled(self.0)?;
        generate(&[&name])?;
        fs::write(LOCALE, format!("LANG={name}\n")).apply()
    }
}

impl Needs for Locale<'_> {
    fn needs(&self) -> Vec<Need> {
        let purpose = format!("sets the locale {}", self.0);
        let mut needs = generation(&purpose);
        needs.push(Need::capability(format!("fs:write:{LOCALE}"), format!("{purpose}: makes it the system's")));
        needs
    }
}

/// Locales that programs may choose; see [`locales`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Locales<'a>(&'a [&'a str]);

/// Describes locales that programs may choose, each such as `en_GB.UTF-8`. They bring the package `locales`.
///
/// ```no_run
/// # use piimg_plugin_sdk::region;
/// region::locales(&["de_DE.UTF-8", "fr_FR.UTF-8"]).apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn locales<'a>(names: &'a [&'a str]) -> Locales<'a> {
    Locales(names)
}

impl Locales<'_> {
    /// Makes the locales with `locale-gen`.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no name of a locale, [`ErrorCode::NotFound`] if `locales`
    /// is not installed, or does not know the locale.
    pub fn apply(&self) -> Result<(), Error> {
        let names = all_filled(self.0)?;
        generate(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Needs for Locales<'_> {
    fn needs(&self) -> Vec<Need> {
        generation(&format!("makes the locales {}", self.0.join(", ")))
    }
}

/// Returns what [`generate`] takes.
fn generation(purpose: &str) -> Vec<Need> {
    let need = |scope: &str, why: &str| Need::capability(scope, format!("{purpose}: {why}"));
    vec![
        Need::package("locales"),
        need("fs:read:/etc/locale.gen", "finds it in the list"),
        need("fs:write:/etc/locale.gen", "chooses it in the list"),
        need("exec:locale-gen", "makes its files"),
        need("fs:write:/usr/lib/locale/locale-archive", "is where `locale-gen` puts them"),
    ]
}

fn generate(names: &[&str]) -> Result<(), Error> {
    let lines = names.iter().map(|name| locale_line(name)).collect::<Result<Vec<_>, _>>()?;
    let list = fs::read_to_string(LIST)?;
    lines.iter().try_for_each(|line| check_known(&list, line))?;
    let add = |text: &str| {
        let changed = lines.iter().fold(text.to_owned(), |text, line| text::uncommented(&text, line).unwrap_or(text));
        (changed != text).then_some(changed)
    };
    fs::edit(LIST, add)?;
    Command::new("locale-gen").apply()
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

/// Returns the line of `/etc/locale.gen`: the name and its character set.
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

/// A keyboard as `keyboard-configuration` describes it. It brings that package, and `console-setup`, which reads it.
///
/// ```no_run
/// # use piimg_plugin_sdk::region::Keyboard;
/// Keyboard::new("de").variant("nodeadkeys").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Keyboard<'a> {
    layout: &'a str,
    variant: &'a str,
    model: &'a str,
    options: &'a str,
}

impl<'a> Keyboard<'a> {
    /// Describes a keyboard of 105 keys with this layout, such as `gb`, or several, `us,de`.
    ///
    /// ```no_run
    /// # use piimg_plugin_sdk::region::Keyboard;
    /// const KEYBOARD: Keyboard = Keyboard::new("de").variant("nodeadkeys").options("compose:ralt");
    /// KEYBOARD.apply()?;
    /// # Ok::<(), piimg_plugin_sdk::Error>(())
    /// ```
    pub const fn new(layout: &'a str) -> Self {
        Self { layout, variant: "", model: "pc105", options: "" }
    }

    /// Sets the variant, such as `nodeadkeys`.
    pub const fn variant(self, variant: &'a str) -> Self {
        Self { variant, ..self }
    }

    /// Sets the model, such as `pc104`.
    pub const fn model(self, model: &'a str) -> Self {
        Self { model, ..self }
    }

    /// Sets options, such as `compose:ralt`.
    pub const fn options(self, options: &'a str) -> Self {
        Self { options, ..self }
    }

    /// Makes it the system's, on the console and in X.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for a word with other characters than those of such words.
    pub fn apply(&self) -> Result<(), Error> {
        fs::write(KEYBOARD, self.text()?).apply()
    }

    fn text(&self) -> Result<String, Error> {
        let [layout, variant, model, options] =
            &all_filled(&[self.layout, self.variant, self.model, self.options])?[..]
        else {
            unreachable!("as many words as there were")
        };
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

impl Needs for Keyboard<'_> {
    fn needs(&self) -> Vec<Need> {
        let purpose = format!("sets the keyboard {}", self.layout);
        vec![
            Need::package("keyboard-configuration"),
            Need::package("console-setup"),
            Need::capability(format!("fs:write:{KEYBOARD}"), purpose),
        ]
    }
}

/// The system's time zone; see [`timezone`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Timezone<'a>(&'a str);

/// Describes the system's time zone, such as `Europe/Berlin`. It brings the package `tzdata`.
///
/// ```no_run
/// # use piimg_plugin_sdk::region;
/// region::timezone("Europe/Berlin").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn timezone(name: &str) -> Timezone<'_> {
    Timezone(name)
}

impl Timezone<'_> {
    /// Makes it the system's.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no name of a zone, [`ErrorCode::NotFound`] if `tzdata` does
    /// not have it.
    pub fn apply(&self) -> Result<(), Error> {
        set_timezone(&filled(self.0)?)
    }
}

impl Needs for Timezone<'_> {
    fn needs(&self) -> Vec<Need> {
        let need = |scope: String, why: &str| Need::capability(scope, format!("sets the time zone {}: {why}", self.0));
        vec![
            Need::package("tzdata"),
            // Whole: a value with `/` in it, as most zones have, cannot be a part of a scope.
            need(format!("fs:read:{ZONES}/**"), "finds it"),
            need(format!("fs:read:{ZONE}"), "looks whether there is one to replace"),
            need(format!("fs:write:{ZONE}"), "is what programs read"),
            need(format!("fs:write:{ZONE_NAME}"), "is its name"),
        ]
    }
}

fn set_timezone(name: &str) -> Result<(), Error> {
    /// First bytes of the file of a zone: RFC 9636, 3.1.
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
    if fs::exists(ZONE)? {
        fs::remove(ZONE)?;
    }
    fs::symlink(ZONE, &file)?;
    fs::write(ZONE_NAME, format!("{name}\n")).apply()
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
    Ok(format!("{ZONES}/{name}"))
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
