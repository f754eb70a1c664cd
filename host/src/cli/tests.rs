//! What every command's help must have.

use clap::Command;

use super::{Arguments, command, version};
use clap::Parser as _;

/// Returns each command below `command` with the words that start it.
fn all(command: &Command, words: &str) -> Vec<(String, Command)> {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below
        .flat_map(|below| {
            let words = format!("{words} {}", below.get_name());
            std::iter::once((words.clone(), below.clone())).chain(all(below, &words))
        })
        .collect()
}

/// Splits a command line as a shell does, as far as examples need it: quotes, and one command within another.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match quote {
            Some(end) if letter == end => quote = None,
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Returns the command lines of piimg in an example.
fn examples(help: &str) -> Vec<Vec<String>> {
    let Some((_, text)) = help.split_once("Example: ") else { return Vec::new() };
    let text = text.replace("\\\n", " ");
    let lines = text.lines().flat_map(|line| line.split("&&")).map(words);
    lines.filter(|words| words.first().is_some_and(|word| word == "piimg")).collect()
}

#[test]
fn every_command_ends_its_help_with_an_example_that_can_be_typed() {
    let commands = all(&command(), "piimg");
    assert!(commands.len() > 15, "{}", commands.len());
    for (name, command) in commands {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        assert!(examples.iter().any(|words| words.join(" ").starts_with(&name)), "`{name}` shows no example: {help}");
        for words in examples {
            let parsed = Arguments::try_parse_from(&words).map(drop).map_err(|error| error.to_string());
            assert_eq!(parsed, Ok(()), "the example of `{name}`: {words:?}");
        }
    }
}

#[test]
fn the_options_of_a_build_are_in_groups() {
    let command = command();
    let build = command.find_subcommand("build").unwrap();
    let of_all = ["quiet", "verbose", "log_file"];
    let alone: Vec<&str> = build
        .get_arguments()
        .filter(|argument| argument.get_help_heading().is_none() && !of_all.contains(&argument.get_id().as_str()))
        .map(|argument| argument.get_id().as_str())
        .collect();
    assert_eq!(alone, [""; 0], "options without a group (`help_heading`)");
}

#[test]
fn a_version_begins_with_that_of_the_crate() {
    let rest = version().strip_prefix(env!("CARGO_PKG_VERSION")).unwrap();
    assert!(rest.is_empty() || rest.starts_with(" (") && rest.ends_with(')'), "{rest}");
}

#[test]
fn words_of_an_example_are_those_of_a_shell() {
    assert_eq!(words("piimg a 'b c' \"$(d e)\" ''"), ["piimg", "a", "b c", "$(d e)", ""]);
    assert_eq!(examples("Example: cd x && piimg a \\\n  b\npiimg c"), [vec!["piimg", "a", "b"], vec!["piimg", "c"]]);
}
