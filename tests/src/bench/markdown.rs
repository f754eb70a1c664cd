//! `BENCHMARKS.md`.

use std::fmt::Write as _;

use super::results::{Machine, Results, Section, Table};

const HEAD: &str = "\
# Benchmarks

Made by `cargo xtask bench --write`; do not edit. How to measure again: `cargo xtask bench` as root, or
`cargo xtask bench NAME…` for some of the benchmarks below. `--rounds N` measures more often, `--full` adds what takes
long, `--work DIR` chooses the file system and may be repeated. Nothing else should run meanwhile.

What is compared is measured in turn, round by round, in one run. A time is the median; the spread is from the shortest
to the longest. Processor time is that of all processes together. A ratio is that of the medians; what stands behind it
in brackets is the ratio in single rounds.
";

/// Writes the report; plots are in `plots`, a path as a link wants it.
pub fn report(results: &Results, plots: &str) -> String {
    let mut out = format!("{HEAD}\n## Machine\n\n{}", machine(&results.machine));
    let mut last = None;
    for section in &results.sections {
        if last != Some(&section.name) {
            // Writing to a string cannot fail, here and below.
            write!(out, "\n## {}\n", section.title).expect("a string grows");
        }
        last = Some(&section.name);
        out += &text(section, plots);
    }
    out
}

fn machine(machine: &Machine) -> String {
    let facts = [
        ("Processor", format!("{}, {} cores", machine.cpu, machine.cores)),
        ("Memory", machine.memory.clone()),
        ("Kernel", machine.kernel.clone()),
    ];
    let versions = machine.versions.iter().map(|(name, version)| (name.as_str(), version.clone()));
    let rows = facts.into_iter().chain(versions).map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&Table { head: vec![String::new(), String::new()], rows })
}

fn text(section: &Section, plots: &str) -> String {
    let Section { name, file_system, date, commit, rounds, full, .. } = section;
    let commit = commit.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}"));
    let (plural, full) = (if *rounds == 1 { "" } else { "s" }, if *full { " --full" } else { "" });
    let mut out =
        format!("\n`cargo xtask bench {name}{full}` on {file_system}, {date}{commit}, {rounds} round{plural}.");
    out += "\n";
    for paragraph in &section.method {
        write!(out, "\n{}\n", filled(paragraph)).expect("a string grows");
    }
    for part in &section.tables {
        write!(out, "\n{}", table(part)).expect("a string grows");
    }
    let figures: String = section.figures.iter().map(|figure| format!("- {}\n", figure.line())).collect();
    if !figures.is_empty() {
        write!(out, "\n{figures}").expect("a string grows");
    }
    for (number, plot) in section.plots.iter().enumerate() {
        write!(out, "\n![{}]({plots}/{})\n", plot.title(), section.plot_file(number)).expect("a string grows");
    }
    for (caption, words) in &section.quotes {
        write!(out, "\n{caption}\n\n```text\n{words}\n```\n").expect("a string grows");
    }
    out + &format!("\n{}\n", filled(&section.says))
}

/// Breaks a paragraph into lines as long as those of the other documents.
fn filled(paragraph: &str) -> String {
    const WIDTH: usize = 120;
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

fn table(table: &Table) -> String {
    let cell = |text: &String| format!("{}{} |", if text.is_empty() { "" } else { " " }, text.replace('|', "\\|"));
    let line = |cells: &[String]| format!("|{}\n", cells.iter().map(cell).collect::<String>());
    let rule = format!("|{}\n", "---|".repeat(table.head.len()));
    table.rows.iter().fold(line(&table.head) + &rule, |text, row| text + &line(row))
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::section;
    use super::*;

    #[test]
    fn a_benchmark_on_two_file_systems_has_one_heading() {
        let machine = Machine {
            cpu: "Fast".into(),
            cores: 2,
            memory: "24 GiB".into(),
            kernel: "6.18".into(),
            versions: vec![("piimg".into(), "0.1.0".into())],
        };
        let results = Results { machine, sections: vec![section("a", "ext4"), section("a", "tmpfs")] };
        let text = report(&results, "docs/bench");
        let (head, rest) = text.split_once("## Machine\n").unwrap();
        assert!(head.starts_with("# Benchmarks\n"));
        assert_eq!(
            rest,
            "
| | |
|---|---|
| Processor | Fast, 2 cores |
| Memory | 24 GiB |
| Kernel | 6.18 |
| piimg | 0.1.0 |

## About a

`cargo xtask bench a` on ext4, 2026-11-24, commit 0123abcd, 3 rounds.

As usual.

| a |
|---|
| 1 \\| 2 |

- x: **1.00 s**

![Bars](docs/bench/a-ext4.svg)

It said:

```text
no
why
```

It is fast.

`cargo xtask bench a` on tmpfs, 2026-11-24, commit 0123abcd, 3 rounds.

As usual.

| a |
|---|
| 1 \\| 2 |

- x: **1.00 s**

![Bars](docs/bench/a-tmpfs.svg)

It said:

```text
no
why
```

It is fast.
"
        );
    }

    #[test]
    fn lines_are_filled_up_to_their_width() {
        let word = "x".repeat(59);
        assert_eq!(filled(&format!("{word}  {word} y\nz")), format!("{word} {word}\ny z"));
        assert_eq!(filled(""), "");
    }

    #[test]
    fn empty_cells_stay_cells() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = table(&Table { head: row(["", "", "x"]), rows: vec![row(["a", "", ""])] });
        assert_eq!(text, "| | | x |\n|---|---|---|\n| a | | |\n");
    }
}
