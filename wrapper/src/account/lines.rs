//! Which lines of two texts differ.

/// Texts of more lines than this are compared at their ends only.
const LINES_MAX: usize = 4000;

/// One line that stands in one of two texts only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// Whether it is the later text that has it.
    pub is_added: bool,
    /// Its number, counted from 1.
    pub number: usize,
    /// The line, without its end.
    pub text: &'a str,
}

/// The lines that differ, in order.
pub fn differing<'a>(older: &'a str, newer: &'a str) -> Vec<Line<'a>> {
    let (older, newer): (Vec<_>, Vec<_>) = (older.lines().collect(), newer.lines().collect());
    let kept = common(&older, &newer);
    let mut found = Vec::new();
    let (mut one, mut other) = (0, 0);
    for (at, there) in kept.into_iter().chain([(older.len(), newer.len())]) {
        let line = |is_added, at: usize, text| Line { is_added, number: at + 1, text };
        found.extend((one..at).map(|at| line(false, at, older[at])));
        found.extend((other..there).map(|at| line(true, at, newer[at])));
        (one, other) = (at + 1, there + 1);
    }
    found
}

/// The places of a longest common sequence, in both.
pub fn common<T: PartialEq>(one: &[T], other: &[T]) -> Vec<(usize, usize)> {
    let start = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (rest, other_rest) = (&one[start..], &other[start..]);
    let end = rest.iter().rev().zip(other_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (middle, other_middle) = (&rest[..rest.len() - end], &other_rest[..other_rest.len() - end]);
    let mut kept: Vec<_> = (0..start).map(|at| (at, at)).collect();
    if middle.len().saturating_mul(other_middle.len()) <= LINES_MAX * LINES_MAX / 4 {
        let inner = common_middle(middle, other_middle);
        kept.extend(inner.into_iter().map(|(a, b)| (start + a, start + b)));
    }
    let (from, other_from) = (one.len() - end, other.len() - end);
    kept.extend((0..end).map(|at| (from + at, other_from + at)));
    kept
}

/// By the table of lengths.
fn common_middle<T: PartialEq>(one: &[T], other: &[T]) -> Vec<(usize, usize)> {
    let width = other.len() + 1;
    let mut lengths = vec![0u16; (one.len() + 1) * width];
    for a in (0..one.len()).rev() {
        for b in (0..other.len()).rev() {
            lengths[a * width + b] = match one[a] == other[b] {
                true => lengths[(a + 1) * width + b + 1].saturating_add(1),
                false => lengths[(a + 1) * width + b].max(lengths[a * width + b + 1]),
            };
        }
    }
    let (mut a, mut b) = (0, 0);
    let mut kept = Vec::new();
    while a < one.len() && b < other.len() {
        if one[a] == other[b] {
            kept.push((a, b));
            (a, b) = (a + 1, b + 1);
        } else if lengths[(a + 1) * width + b] >= lengths[a * width + b + 1] {
            a += 1;
        } else {
            b += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(older: &str, newer: &str) -> Vec<String> {
        let sign = |line: &Line<'_>| if line.is_added { '+' } else { '-' };
        let lines = differing(older, newer);
        lines.iter().map(|line| format!("{}{} {}", sign(line), line.number, line.text)).collect()
    }

    #[test]
    fn lines_that_differ_are_told_with_their_numbers() {
        assert_eq!(shown("a\nb\nc\n", "a\nx\nc\n"), ["-2 b", "+2 x"]);
        assert_eq!(shown("a\nb\n", "a\nnew\nb\n"), ["+2 new"]);
        assert_eq!(shown("a\nb\nc\nd\n", "b\nc\ne\nd\nf\n"), ["-1 a", "+3 e", "+5 f"]);
        assert!(shown("same\n", "same\n").is_empty());
        assert_eq!(shown("", "one\n"), ["+1 one"]);
    }

    #[test]
    fn long_texts_are_compared_at_their_ends() {
        let text =
            |word: &str| -> String { (0..9000).map(|line| format!("{word}{line}\n")).collect() };
        let (older, newer) = (format!("a\n{}z\n", text("o")), format!("a\n{}z\n", text("n")));
        let lines = differing(&older, &newer);
        assert_eq!((lines.len(), lines[0].number), (18000, 2));
    }
}
