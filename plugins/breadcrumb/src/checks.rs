//! Values that become words of scripts and units.

/// # Errors
/// A sentence for what is no name.
pub(crate) fn name(name: &str) -> Result<(), String> {
    if is_plain(name, "_-") {
        return Ok(());
    }
    let name = name.escape_debug();
    Err(format!("`{name}` is no name of a user, directory or interface here: letters, digits, `_` and `-`"))
}

/// Checks what `roslaunch` is given: a package and a file of it.
///
/// # Errors
/// A sentence for anything else.
pub(crate) fn launch(text: &str) -> Result<String, String> {
    match text.split(' ').collect::<Vec<_>>()[..] {
        [package, file] if is_plain(package, "_-") && is_plain(file, "_-.") => Ok(text.to_owned()),
        _ => Err(format!(
            "`{}` is nothing to launch: it is a package and a file, such as `breadcrumb_bringup base.launch`",
            text.escape_debug()
        )),
    }
}

fn is_plain(word: &str, others: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('-')
        && word.chars().all(|it| it.is_ascii_alphanumeric() || others.contains(it))
}
