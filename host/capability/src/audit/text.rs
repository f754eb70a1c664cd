//! An audit as people read it: the verdict first, then what it rests on.

use super::folding::{Folded, fold};
use super::{Audit, Difference, Finding, Possible, Risk, Row};
use crate::capability::Kind;
use piimg_sandbox::text::{count, printable, wrapped};

/// The look of a line where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Title,
    Ranked(Risk),
}

/// A line of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub tone: Tone,
    pub text: String,
}

/// Most names in a sentence of the verdict; all of them are in the table.
const NAMED: usize = 4;
/// Column in which the text of a line with a title begins.
const INDENT: usize = 10;

/// Lines of a bounded width.
struct Text {
    width: usize,
    lines: Vec<Line>,
}

/// Writes an audit down. `granted` is what the user granted to another build of it before, if that is known; `width` is
/// that of the widest line.
pub fn text(audit: &Audit, difference: Option<&Difference>, granted: Option<&str>, width: usize) -> Vec<Line> {
    let mut text = Text { width, lines: Vec::new() };
    text.push(
        Tone::Title,
        &format!("{} {}: {}", printable(&audit.id), printable(&audit.version), printable(&audit.title)),
    );
    text.push(Tone::Plain, &audit.digest);
    text.push(Tone::Plain, "");
    let folded = fold(audit.rows.iter().map(|row| row.declared.as_str()));
    text.verdict(audit, &folded);
    if let Some(difference) = difference {
        text.difference(audit, difference);
    }
    if let Some(granted) = granted {
        text.paragraph(Tone::Plain, "granted", granted);
    }
    text.table(audit, &folded);
    text.lines
}

/// Returns what a rank means, for who reads one for the first time.
const fn meaning(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "it touches named files that nothing runs",
        Risk::Medium => "it changes parts of the system, within what the distribution made",
        Risk::High => "it decides what runs on the Pi, or who gets in",
        Risk::Critical => "it can do whatever it likes, within the image",
    }
}

impl Text {
    fn push(&mut self, tone: Tone, text: &str) {
        self.lines.push(Line { tone, text: text.to_owned() });
    }

    /// Adds a text under a short title, with a hanging indent.
    fn paragraph(&mut self, tone: Tone, title: &str, text: &str) {
        // The longest title is as long as the indent.
        let gap = if title.len() < INDENT { "" } else { " " };
        self.wrap(tone, &format!("{title:<INDENT$}{gap}"), INDENT, text);
    }

    /// Adds a text after `first`, broken into lines that are indented.
    fn wrap(&mut self, tone: Tone, first: &str, indent: usize, text: &str) {
        for line in wrapped(first, &" ".repeat(indent), text, self.width) {
            self.push(tone, &line);
        }
    }

    fn verdict(&mut self, audit: &Audit, folded: &[Folded]) {
        self.paragraph(Tone::Ranked(audit.risk), "risk", &format!("{}: {}", audit.risk, meaning(audit.risk)));
        for (risk, says) in sentences(&audit.findings, folded) {
            self.paragraph(Tone::Ranked(risk), &format!("  {risk}"), &printable(&says));
        }
        let cannot = if audit.cannot.is_empty() { "nothing".to_owned() } else { audit.cannot.join(", ") };
        self.paragraph(Tone::Plain, "cannot", &printable(&cannot));
        if !audit.possible_but_not_declared.is_empty() {
            let kinds = audit.possible_but_not_declared.join(", ");
            let odd = format!("it has functions that need {kinds}, and does not ask for that");
            self.paragraph(Tone::Plain, "odd", &odd);
        }
        if !audit.unused.is_empty() {
            self.paragraph(Tone::Plain, "unused", &printable(&audit.unused.join(", ")));
        }
    }

    /// Adds what the new version asks for and the old one did not, each with its rank, and the other way round.
    fn difference(&mut self, audit: &Audit, difference: &Difference) {
        let head = format!("from {} to {}", printable(&difference.from), printable(&difference.to));
        self.paragraph(Tone::Plain, "changed", &head);
        let before = self.lines.len();
        for scope in &difference.new_capabilities {
            let alone = audit.findings.iter().find(|finding| finding.from == [scope.as_str()]);
            let risk = alone.map_or(Risk::Low, |finding| finding.risk);
            self.wrap(Tone::Ranked(risk), "  + ", INDENT, &format!("asks for {}  ({risk})", printable(scope)));
        }
        for (sign, title, names) in [
            ("  - ", "asked for", &difference.gone_capabilities),
            ("  + ", "can call", &difference.new_functions),
            ("  - ", "could call", &difference.gone_functions),
        ] {
            for name in names {
                self.wrap(Tone::Plain, sign, INDENT, &format!("{title} {}", printable(name)));
            }
        }
        if self.lines.len() == before {
            let says = if difference.same_code { "it is the same code" } else { SAME_REQUESTS };
            self.wrap(Tone::Plain, "  ", INDENT, says);
        }
    }

    fn table(&mut self, audit: &Audit, folded: &[Folded]) {
        self.push(Tone::Plain, "");
        if audit.rows.is_empty() {
            self.push(Tone::Plain, "it asks for nothing");
            return;
        }
        let reasons = "asks for the following, for these reasons in its author's words";
        self.push(Tone::Title, reasons);
        let is_folded = |row: &&Row| folded.iter().any(|set| set.scopes.contains(&row.declared));
        let (of_sets, single): (Vec<&Row>, Vec<&Row>) = audit.rows.iter().partition(is_folded);
        for set in folded {
            self.push(Tone::Title, &format!("  {}", printable(&set.does)));
            for row in of_sets.iter().filter(|row| set.scopes.contains(&row.declared)) {
                self.row(row, &row.declared);
            }
        }
        for kind in Kind::all() {
            let rows: Vec<&Row> = single.iter().copied().filter(|row| row.kind() == Some(kind)).collect();
            if rows.is_empty() {
                continue;
            }
            self.push(Tone::Title, &format!("  {} ({})", kind.verb, kind.name));
            self.of_kind(kind, &rows);
        }
        for row in single.iter().filter(|row| row.kind().is_none()) {
            self.row(row, &row.declared);
        }
    }

    /// Adds the requests of one kind: those of which the same is to be said together, and that once.
    fn of_kind(&mut self, kind: &Kind, rows: &[&Row]) {
        let mut groups: Vec<(Option<String>, Vec<&str>)> = Vec::new();
        for row in rows {
            // That a package is in the plugin's list is all that there is to say of it.
            let notes = (!row.listed || kind.name != "pkg:install").then(|| notes(row));
            match groups.iter_mut().find(|(known, _)| *known == notes) {
                Some((_, scopes)) => scopes.push(scope(row)),
                None => groups.push((notes, vec![scope(row)])),
            }
        }
        for (notes, scopes) in groups {
            // Paths, addresses and commands are compared by the eye, one below the other.
            if scopes.iter().any(|scope| scope.contains(['/', ' '])) {
                scopes.iter().for_each(|scope| self.wrap(Tone::Plain, "    ", 8, &printable(scope)));
            } else {
                self.wrap(Tone::Plain, "    ", 4, &printable(&scopes.join(", ")));
            }
            if let Some(notes) = notes {
                self.wrap(Tone::Plain, "      ", 6, &notes);
            }
        }
    }

    /// Adds one request, with what is to be said of it.
    fn row(&mut self, row: &Row, shown: &str) {
        self.wrap(Tone::Plain, "    ", 8, &printable(shown));
        self.wrap(Tone::Plain, "      ", 6, &notes(row));
    }
}

/// Returns the reason of a request, and what a build tells of it.
fn notes(row: &Row) -> String {
    let mut notes = vec![printable(&row.reason)];
    if row.listed {
        notes[0] = format!("piimg's reason: {}", notes[0]);
    }
    if row.optional {
        notes.push("it can do without".into());
    }
    match row.possible {
        Possible::Never => notes.push("it calls nothing that could use it".into()),
        Possible::ByCommand => notes.push("by a command alone".into()),
        Possible::Yes => {}
    }
    match (row.granted, row.used, row.changed) {
        (Some(false), ..) => notes.push("was not granted in this build".into()),
        (_, Some(used), Some(changed)) => {
            notes.push(format!("used {}, changed {}", count(used, "time"), count(changed, "path")));
        }
        (Some(true), None, _) => notes.push("commands may have used it".into()),
        _ => {}
    }
    notes.join("; ")
}

/// Words about two versions that ask for the same, when no more is known.
pub const SAME_REQUESTS: &str =
    "asks for the same; its code differs (--replay LOG of a build with the old one shows what it does otherwise)";

fn scope(row: &Row) -> &str {
    Kind::split(&row.declared).map_or(row.declared.as_str(), |(_, scope)| scope)
}

/// Writes the findings as sentences, each once, the gravest first: those that say the same of several are one, and so
/// are those of what a helper of the SDK needs.
fn sentences(findings: &[Finding], folded: &[Folded]) -> Vec<(Risk, String)> {
    let mut found: Vec<(Risk, String, Vec<String>)> = Vec::new();
    let mut told: Vec<&String> = Vec::new();
    for finding in findings {
        let set = folded.iter().find(|set| finding.from.iter().all(|scope| set.scopes.contains(scope)));
        let (says, name) = match set {
            // The gravest of a set comes first, and stands for it: that a helper needs it does not bound it.
            Some(set) if told.contains(&&set.does) => continue,
            Some(set) => {
                told.push(&set.does);
                let as_grave = findings.iter().filter(|other| other.risk == finding.risk).flat_map(|other| &other.from);
                let scopes: Vec<String> =
                    as_grave.filter(|scope| set.scopes.contains(*scope)).map(|scope| format!("`{scope}`")).collect();
                (format!("{}, or whatever else can be done by {}", set.does, scopes.join(" and ")), None)
            }
            None => template(finding),
        };
        let known = found.iter_mut().find(|(risk, known, _)| *known == says && *risk == finding.risk);
        match known {
            Some((.., names)) => names.extend(name),
            None => found.push((finding.risk, says, name.into_iter().collect())),
        }
    }
    found.into_iter().map(|(risk, says, names)| (risk, filled(&says, &names))).collect()
}

/// Mark that stands for the names in a sentence about several.
const GAP: &str = "\u{0}";

/// Returns a finding without the name by which it differs from others of its kind, and the name: a quoted part of its last
/// scope.
fn template(finding: &Finding) -> (String, Option<String>) {
    let whole = || (finding.says.clone(), None);
    let Some(last) = finding.from.last() else { return whole() };
    let is_of_it = |quoted: &&str| !quoted.is_empty() && last.contains(*quoted);
    let Some(name) = finding.says.split('`').skip(1).step_by(2).find(is_of_it) else { return whole() };
    let name = format!("`{name}`");
    (finding.says.replacen(&name, GAP, 1), Some(name))
}

fn filled(says: &str, names: &[String]) -> String {
    let names = match names {
        [] | [_] => names.concat(),
        [first @ .., last] if names.len() <= NAMED => format!("each of {} and {last}", first.join(", ")),
        all => format!("each of {} and {} more", all[..NAMED - 1].join(", "), all.len() + 1 - NAMED),
    };
    says.replace(GAP, &names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(risk: Risk, from: &[&str], says: &str) -> Finding {
        Finding { risk, from: from.iter().map(ToString::to_string).collect(), says: says.to_owned() }
    }

    #[test]
    fn what_is_true_of_several_is_one_sentence() {
        let package = |name: &str| {
            let says = format!("installs `{name}`; its scripts run as root of the image");
            finding(Risk::Medium, &[&format!("pkg:install:{name}")], &says)
        };
        let said = |names: &[&str]| {
            let findings: Vec<Finding> = names.iter().map(|name| package(name)).collect();
            sentences(&findings, &[]).into_iter().map(|(_, says)| says).collect::<Vec<_>>()
        };
        assert_eq!(said(&["a"]), ["installs `a`; its scripts run as root of the image"]);
        assert_eq!(said(&["a", "b"]), ["installs each of `a` and `b`; its scripts run as root of the image"]);
        assert_eq!(
            said(&["a", "b", "c", "d", "e"]),
            ["installs each of `a`, `b`, `c` and 2 more; its scripts run as root of the image"]
        );
    }

    #[test]
    fn a_sentence_about_several_names_what_differs() {
        let said =
            |findings: &[Finding]| sentences(findings, &[]).into_iter().map(|(_, says)| says).collect::<Vec<_>>();
        let sends = |net: &str| {
            let says = format!("can have piimg send the secret to any address that `{net}` covers");
            finding(Risk::High, &["secret:token", net], &says)
        };
        assert_eq!(
            said(&[sends("net:https://a/*"), sends("net:https://b/*")]),
            [
                "can have piimg send the secret to any address that each of `net:https://a/*` and `net:https://b/*` covers"
            ]
        );
        let runs = |program: &str| {
            finding(Risk::High, &[&format!("exec:/usr/bin/{program} --now")], &format!("runs `{program}` as root"))
        };
        assert_eq!(said(&[runs("a"), runs("b")]), ["runs each of `a` and `b` as root"]);
        let other = finding(Risk::High, &["exec:c"], "decides about `d`");
        assert_eq!(said(&[other.clone(), other]), ["decides about `d`"]);
    }

    #[test]
    fn what_a_helper_needs_has_the_rank_of_its_gravest_scope() {
        let scopes = ["fs:write:/etc/localtime", "fs:write:/etc/timezone"];
        let folded = [Folded { does: "sets the time zone".into(), scopes: scopes.map(String::from).into() }];
        let findings = [
            finding(Risk::High, &scopes[..1], "`/etc/localtime` is dangerous"),
            finding(Risk::High, &["exec:id"], "runs `id` as root of the image"),
            finding(Risk::Medium, &scopes[1..], "`/etc/timezone` is less so"),
        ];
        assert_eq!(
            sentences(&findings, &folded),
            [
                (
                    Risk::High,
                    "sets the time zone, or whatever else can be done by `fs:write:/etc/localtime`".to_owned()
                ),
                (Risk::High, "runs `id` as root of the image".to_owned())
            ]
        );
    }

    #[test]
    fn lines_are_broken_at_spaces_and_words_stay_whole() {
        let mut text = Text { width: 80, lines: Vec::new() };
        let long = "x".repeat(100);
        text.paragraph(Tone::Plain, "cannot", &format!("{} {long} end", "word ".repeat(20).trim_end()));
        let lines: Vec<&str> = text.lines.iter().map(|line| line.text.as_str()).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80 || line.contains(&long)), "{lines:?}");
        assert!(lines[0].starts_with("cannot    word"), "{lines:?}");
        assert_eq!(lines.last(), Some(&"          end"));
    }
}
