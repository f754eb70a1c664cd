//! Reads the times from what `piimg build --json-events` wrote.

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// All lines of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Timings {
    steps: Vec<Step>,
    first_call: Option<f64>,
    done: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Step {
    step: String,
    start: f64,
    seconds: f64,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    StepEnds(Step),
    FirstHostCall {
        at: f64,
    },
    Ends {
        code: i32,
        at: f64,
    },
    #[serde(other)]
    Other,
}

impl Timings {
    /// # Errors
    /// If a line is none of piimg's, or the build did not end.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut steps, mut first_call, mut done) = (Vec::new(), None, None);
        for line in text.lines() {
            match serde_json::from_str(line).with_context(|| format!("`{line}` is no event"))? {
                Line::StepEnds(step) => steps.push(step),
                Line::Ends { code: 0, at } => done = Some(at),
                // Of the first plugin.
                Line::FirstHostCall { at } => first_call = first_call.or(Some(at)),
                Line::Ends { .. } | Line::Other => {}
            }
        }
        Ok(Self { steps, first_call, done: done.context("the build did not say that it was done")? })
    }

    /// Seconds from the start of piimg to its end.
    pub fn done(&self) -> f64 {
        self.done
    }

    /// Seconds from the start of piimg to the first host call.
    ///
    /// # Errors
    /// If there was none.
    pub fn first_call(&self) -> Result<f64> {
        self.first_call.context("no plugin made a host call")
    }

    /// Seconds of the step whose title begins like this.
    ///
    /// # Errors
    /// If there was no such step.
    pub fn step(&self, title: &str) -> Result<f64> {
        let step = self.steps.iter().find(|step| step.step.starts_with(title));
        step.map(|step| step.seconds).with_context(|| format!("the build had no step `{title}`"))
    }

    /// Cuts the whole time into pieces that do not overlap: of steps that run at the same time, the later one counts
    /// from the end of the earlier one. What is in no step is `the rest`.
    pub fn parts(&self) -> Vec<(String, f64)> {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by(|a, b| a.start.total_cmp(&b.start));
        let (mut parts, mut reached, mut sum) = (Vec::<(String, f64)>::new(), 0.0_f64, 0.0);
        for Step { step, start, seconds } in steps {
            let end = (start + seconds).max(reached);
            let length = end - start.max(reached);
            reached = end;
            sum += length;
            match parts.iter_mut().find(|(name, _)| name == step) {
                Some((_, value)) => *value += length,
                None => parts.push((step.clone(), length)),
            }
        }
        parts.push(("the rest".into(), (self.done - sum).max(0.0)));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
{\"event\":\"step-ends\",\"step\":\"Bootstrap bookworm (arm64)\",\"result\":\"unchanged, from the store\",\"ok\":true,\"start\":1.0,\"seconds\":0.5}
{\"event\":\"first-host-call\",\"plugin\":\"a/b\",\"at\":2.5}
{\"event\":\"first-host-call\",\"plugin\":\"a/c\",\"at\":2.75}
{\"event\":\"step-goes-on\",\"step\":\"Checksum the image\",\"note\":\"\",\"position\":1,\"total\":2,\"at\":3.5}
{\"event\":\"step-ends\",\"step\":\"Checksum the image\",\"result\":\"\",\"start\":3.25,\"seconds\":2.25}
{\"event\":\"step-ends\",\"step\":\"Verify the image\",\"result\":\"boots\",\"start\":3.0,\"seconds\":1.0}
{\"event\":\"ends\",\"code\":0,\"at\":6.0}
";

    #[test]
    fn steps_and_events_are_found() {
        let timings = Timings::parse(TEXT).unwrap();
        assert_eq!(timings.done(), 6.0);
        assert_eq!(timings.first_call().unwrap(), 2.5);
        assert_eq!(timings.step("Bootstrap").unwrap(), 0.5);
        assert_eq!(timings.step("Flash").unwrap_err().to_string(), "the build had no step `Flash`");
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let parts = Timings::parse(TEXT).unwrap().parts();
        let expected = [
            ("Bootstrap bookworm (arm64)", 0.5),
            ("Verify the image", 1.0),
            ("Checksum the image", 1.5),
            ("the rest", 3.0),
        ];
        assert_eq!(parts, expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(parts.iter().map(|(_, value)| value).sum::<f64>(), 6.0);
    }

    #[test]
    fn a_build_that_did_not_end_or_something_else_is_refused() {
        let cut = TEXT.rsplit_once("{\"event\":\"ends\"").unwrap().0;
        assert_eq!(Timings::parse(cut).unwrap_err().to_string(), "the build did not say that it was done");
        assert_eq!(Timings::parse("x").unwrap_err().to_string(), "`x` is no event");
        let quiet = Timings::parse("{\"event\":\"ends\",\"code\":0,\"at\":6.0}").unwrap();
        assert_eq!(quiet.first_call().unwrap_err().to_string(), "no plugin made a host call");
        assert_eq!(quiet.parts(), [("the rest".to_owned(), 6.0)]);
    }
}
