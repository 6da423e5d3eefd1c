//! What the doctor has to say.

use std::path::Path;

use super::super::json::Object;
use super::super::style::{Paint, Style};
use super::trial::Trial;
use crate::stats::counted;

/// Columns before the text of a finding.
const INDENT: usize = 22;

/// How good a fact is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is fine.
    Ok,
    /// It is worth knowing.
    Note,
    /// It is a problem.
    Problem,
}

impl Verdict {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Problem => "problem",
        }
    }

    fn paint(self) -> Paint {
        match self {
            Verdict::Ok => Paint::Green,
            Verdict::Note => Paint::Yellow,
            Verdict::Problem => Paint::Red,
        }
    }
}

/// One fact.
pub struct Line {
    /// What it is about.
    pub topic: &'static str,
    /// How good it is.
    pub verdict: Verdict,
    /// The fact.
    pub text: String,
    /// What can be done.
    pub advice: Option<String>,
}

/// Everything that there is to say.
#[derive(Default)]
pub struct Findings(pub Vec<Line>);

impl Findings {
    /// Adds what is fine.
    pub fn ok(&mut self, topic: &'static str, text: impl Into<String>) {
        self.0.push(Line { topic, verdict: Verdict::Ok, text: text.into(), advice: None });
    }

    /// Adds what is worth knowing; the advice may be empty.
    pub fn note(
        &mut self,
        topic: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let advice = Some(advice.into()).filter(|advice| !advice.is_empty());
        self.0.push(Line { topic, verdict: Verdict::Note, text: text.into(), advice });
    }

    /// Adds a problem.
    pub fn problem(
        &mut self,
        topic: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let advice = Some(advice.into());
        self.0.push(Line { topic, verdict: Verdict::Problem, text: text.into(), advice });
    }

    /// Whether anything is a problem.
    pub fn has_problem(&self) -> bool {
        self.0.iter().any(|line| line.verdict == Verdict::Problem)
    }

    /// The findings as lines. Only a terminal gets them broken: elsewhere somebody may search them.
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for line in &self.0 {
            let verdict = format!("{:<8}", line.verdict.name());
            let lead =
                format!("{} {:<12} ", style.paint(line.verdict.paint(), &verdict), line.topic);
            text.push_str(&set(style, &lead, &line.text));
            if let Some(advice) = &line.advice {
                text.push_str(&set(style, &" ".repeat(INDENT), &format!("-> {advice}")));
            }
        }
        let count = |verdict| self.0.iter().filter(|l| l.verdict == verdict).count() as u64;
        let (problems, notes) = (count(Verdict::Problem), count(Verdict::Note));
        let sum = format!("{}, {}", counted(problems, "problem"), counted(notes, "note"));
        text.push_str(&format!("{}\n", style.paint(Paint::Dim, &sum)));
        text
    }

    /// The findings for programs.
    pub fn json(&self, path: Option<&Path>, trials: &[Trial]) -> String {
        let line = |line: &Line| {
            Object::new()
                .text("topic", line.topic)
                .text("verdict", line.verdict.name())
                .text("text", &line.text)
                .maybe_text("advice", line.advice.as_deref())
        };
        let count = |verdict| self.0.iter().filter(|l| l.verdict == verdict).count() as u64;
        Object::new()
            .maybe_text("store", path.map(|path| path.display().to_string()).as_deref())
            .number("problems", count(Verdict::Problem))
            .number("notes", count(Verdict::Note))
            .list("findings", self.0.iter().map(line))
            .list("trials", trials.iter().map(Trial::object))
            .page()
    }
}

/// A lead, which takes [`INDENT`] columns, and a text behind it.
fn set(style: Style, lead: &str, text: &str) -> String {
    if !style.is_terminal {
        return format!("{lead}{text}\n");
    }
    let hung = style.hang("", INDENT, text);
    format!("{lead}{}", hung.get(INDENT..).unwrap_or("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_hang_on_terminals_and_are_lines_elsewhere() {
        let mut findings = Findings::default();
        findings.problem("PATH", "one two three four five six seven", "go on");
        let style = |is_terminal| Style { is_coloured: false, width: 40, is_terminal };
        let plain = "problem  PATH         one two three four five six seven\n\
                     \x20                     -> go on\n\
                     1 problem, 0 notes\n";
        assert_eq!(findings.text(style(false)), plain);
        let broken = "problem  PATH         one two three four\n\
                      \x20                     five six seven\n\
                      \x20                     -> go on\n\
                      1 problem, 0 notes\n";
        assert_eq!(findings.text(style(true)), broken);
    }
}
