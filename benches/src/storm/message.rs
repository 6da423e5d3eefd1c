//! What workers say: one line each, through one pipe that all of them share.
//!
//! A line is shorter than `PIPE_BUF` and written in one call, so it comes whole or, if its worker
//! was killed, not at all.

use std::io::{self, Write};

/// Something that a worker says; the first field of each is its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// It runs, under this process id as /proc shows it to the conductor.
    Hello(u32, u32),
    /// A put returned `Stored`: number, segment, last sequence, bytes that earlier attempts left.
    Stored(u32, u32, u32, u64, u64),
    /// A put was dropped: number, reason, bytes that it left in the log.
    Dropped(u32, u32, String, u64),
    /// It took its time over something: over what, from, to (milliseconds of the monotonic clock),
    /// and for how long without what the processor explains (microseconds).
    Waited(u32, String, u64, u64, u64),
    /// Numbers to be added to the sums: name and number.
    Sum(u32, Vec<(String, u64)>),
    /// It wants to be killed (or stopped) now, at this place.
    Aim(u32, bool, String),
    /// Something is wrong.
    Failure(u32, String),
}

/// Longest text of a failure: what is beyond would be torn.
const TEXT_BYTES_MAX: usize = 1_000;

impl Message {
    /// Says it.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn say(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.line().as_bytes())
    }

    fn line(&self) -> String {
        let pairs = |pairs: &[(String, u64)]| {
            pairs.iter().map(|(name, number)| format!(" {name} {number}")).collect::<String>()
        };
        match self {
            Message::Hello(id, process) => format!("hello {id} {process}\n"),
            Message::Stored(id, number, segment, sequence, left) => {
                format!("stored {id} {number} {segment} {sequence} {left}\n")
            }
            Message::Dropped(id, number, reason, left) => {
                format!("dropped {id} {number} {left} {reason}\n")
            }
            Message::Waited(id, what, from, to, wait) => {
                format!("waited {id} {from} {to} {wait} {what}\n")
            }
            Message::Sum(id, numbers) => format!("sum {id}{}\n", pairs(numbers)),
            Message::Aim(id, kill, place) => format!("aim {id} {} {place}\n", u8::from(*kill)),
            Message::Failure(id, text) => {
                let text: String = text.chars().take(TEXT_BYTES_MAX / 4).collect();
                format!("failure {id} {}\n", text.replace('\n', " "))
            }
        }
    }

    /// What a line says, `None` if it is none of these.
    pub fn parse(line: &str) -> Option<Message> {
        let (word, rest) = line.split_once(' ')?;
        let (id, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let id = id.parse().ok()?;
        let words: Vec<&str> = rest.split(' ').collect();
        let number = |index: usize| words.get(index)?.parse::<u64>().ok();
        let pairs = || {
            let pair = |pair: &[&str]| Some((pair[0].to_string(), pair.get(1)?.parse().ok()?));
            words.chunks(2).map(pair).collect::<Option<Vec<_>>>()
        };
        Some(match word {
            "hello" => Message::Hello(id, number(0)? as u32),
            "stored" => {
                let [put, segment] = [number(0)? as u32, number(1)? as u32];
                Message::Stored(id, put, segment, number(2)?, number(3)?)
            }
            "dropped" => {
                Message::Dropped(id, number(0)? as u32, words.get(2..)?.join(" "), number(1)?)
            }
            "waited" => {
                let what = words.get(3..)?.join(" ");
                Message::Waited(id, what, number(0)?, number(1)?, number(2)?)
            }
            "sum" => Message::Sum(id, pairs()?),
            "aim" => Message::Aim(id, number(0)? == 1, words.get(1..)?.join(" ")),
            "failure" => Message::Failure(id, rest.to_string()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let numbers = vec![("gets".to_string(), 3), ("hits".to_string(), 4)];
        for message in [
            Message::Hello(1, 2),
            Message::Stored(1, 2, 3, 1 << 40, 5),
            Message::Dropped(1, 2, "it is too full".into(), 9),
            Message::Waited(1, "get".into(), 2, 3, 4),
            Message::Sum(1, numbers),
            Message::Aim(1, true, "slot under tail".into()),
            Message::Failure(1, "a b".into()),
        ] {
            assert_eq!(Message::parse(message.line().trim_end()), Some(message));
        }
        assert_eq!(Message::parse("stored 1 2"), None);
        assert_eq!(Message::parse("nothing"), None);
    }
}
