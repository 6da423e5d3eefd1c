//! What the value of a flag has to look like.

use std::ffi::OsStr;

use crate::config::parse_size;

/// What a value is, which also tells how a shell completes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// Bytes, as `500M` or `2Gi`.
    Size,
    /// A time that has gone by, as `12h`.
    Age,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// The id of a job.
    Job,
    /// The name of a namespace.
    Namespace,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A compiler and its arguments.
    Compile,
}

impl Kind {
    /// Why the text is no such value, as what follows "takes": "a size, as 500M or 2Gi".
    pub fn refuses(self, value: &OsStr) -> Option<String> {
        let text = value.to_str();
        let is_right = match self {
            Kind::Text | Kind::Namespace => text.is_some(),
            Kind::Job => text.is_some_and(|text| !text.is_empty()),
            Kind::File | Kind::Directory => !value.is_empty(),
            Kind::Size => text.and_then(parse_size).is_some(),
            Kind::Age => text.and_then(parse_age).is_some(),
            Kind::Choice(choices) => text.is_some_and(|text| choices.contains(&text)),
            Kind::Compile => true,
        };
        (!is_right).then(|| self.words())
    }

    /// What it is, in words.
    pub fn words(self) -> String {
        match self {
            Kind::Text => "a text (UTF-8)".to_owned(),
            Kind::Size => "a size, as 500M or 2Gi".to_owned(),
            Kind::Age => "an age, as 90s, 30m, 12h, 7d or 2w".to_owned(),
            Kind::File => "a file".to_owned(),
            Kind::Directory => "a directory".to_owned(),
            Kind::Job => "the id of a job, as `larder job list` shows them".to_owned(),
            Kind::Namespace => "a namespace; \"\" is none".to_owned(),
            Kind::Choice(choices) => match choices.split_last() {
                Some((last, [])) => (*last).to_owned(),
                Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
                None => "nothing".to_owned(),
            },
            Kind::Compile => "a compiler and its arguments".to_owned(),
        }
    }
}

/// Seconds of an age: a number and a unit.
pub fn parse_age(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_by_their_kind() {
        let refuses = |kind: Kind, value: &str| kind.refuses(OsStr::new(value)).is_some();
        for (kind, right, wrong) in [
            (Kind::Size, "500M", "many"),
            (Kind::Age, "2w", "2"),
            (Kind::Age, "0s", "99999999999999999999d"),
            (Kind::Job, "a", ""),
            (Kind::File, "a", ""),
            (Kind::Choice(&["bash", "zsh"]), "zsh", "csh"),
        ] {
            assert!(!refuses(kind, right) && refuses(kind, wrong), "{kind:?}");
        }
        assert!(!refuses(Kind::Namespace, ""));
        assert_eq!(Kind::Choice(&["a", "b", "c"]).words(), "a, b or c");
        assert_eq!(parse_age("2w"), Some(1_209_600));
    }
}
