//! The help of a command, set from its row.

use super::super::style::{Paint, Style};
use super::{Command, Count, Flag, Operand, Takes};

/// Columns to the left of what flags do; longer ones stand on a line of their own.
const FLAG_COLUMNS_MAX: usize = 26;

/// How the command is called, from its name on: `larder trim`, and each part that can follow.
pub fn usage(command: &Command) -> Vec<String> {
    let mut parts = vec![format!("larder {}", command.name)];
    if !command.commands.is_empty() {
        parts.push("COMMAND".to_owned());
    }
    parts.extend(command.shown_flags().map(|flag| {
        let more = if flag.repeats { "..." } else { "" };
        format!("[{}]{more}", spelled(flag))
    }));
    let needs_operands = command.behind.is_none();
    parts.extend(command.operands.iter().map(|operand| match operand.count {
        Count::One if needs_operands => operand.name.to_owned(),
        Count::Some if needs_operands => format!("{}...", operand.name),
        Count::One | Count::Maybe => format!("[{}]", operand.name),
        Count::Some => format!("[{}...]", operand.name),
    }));
    parts.extend(command.behind.iter().map(|behind| format!("[-- {}]", behind.name)));
    parts
}

/// A flag with what stands behind it.
pub fn spelled(flag: &Flag) -> String {
    match flag.takes {
        Takes::Nothing => format!("--{}", flag.name),
        Takes::One(value, _) => format!("--{} {value}", flag.name),
        Takes::Maybe(value, _) => format!("--{} [{value}]", flag.name),
    }
}

/// The help, a page.
pub fn help(command: &Command, style: Style) -> String {
    let heading = |text: &str| format!("\n{}\n", style.paint(Paint::Bold, text));
    let first = format!("larder {}: {}", command.name, command.what);
    let mut page = style.hang("", 0, &first);
    for paragraph in command.about {
        page.push('\n');
        page.push_str(&style.hang("", 0, paragraph));
    }
    page.push_str(&heading("usage:"));
    page.push_str(&usage_lines(command, style));
    let rows: Vec<(String, &str)> = rows(command).collect();
    let widest = rows.iter().map(|(lead, _)| lead.chars().count() + 4);
    let indent = widest.filter(|columns| *columns <= FLAG_COLUMNS_MAX).max().unwrap_or(0);
    if !rows.is_empty() {
        page.push('\n');
    }
    for (lead, what) in &rows {
        page.push_str(&style.hang(&format!("  {lead}"), indent.max(8), what));
    }
    for paragraph in command.notes {
        page.push('\n');
        page.push_str(&style.hang("", 0, paragraph));
    }
    if !command.examples.is_empty() {
        page.push_str(&heading("examples:"));
    }
    for (line, what) in command.examples {
        page.push_str(&format!("  {}\n", style.paint(Paint::Cyan, line)));
        page.push_str(&style.hang("", 6, what));
    }
    if command.run.is_some() {
        page.push_str(&heading("exit status:"));
        for (status, what) in command.statuses {
            page.push_str(&style.hang(&format!("  {status}"), 7, what));
        }
    }
    page
}

/// The usage, one indented paragraph that is broken between its parts.
fn usage_lines(command: &Command, style: Style) -> String {
    let parts = usage(command);
    let indent = 2 + parts[0].chars().count() + 1;
    let mut lines = String::new();
    let mut column = indent - 1;
    lines.push_str(&format!("  {}", parts[0]));
    for part in &parts[1..] {
        if column + 1 + part.chars().count() > style.width && column >= indent {
            lines.push_str(&format!("\n{}", " ".repeat(indent - 1)));
            column = indent - 1;
        }
        lines.push_str(&format!(" {part}"));
        column += 1 + part.chars().count();
    }
    lines.push('\n');
    lines
}

/// What can stand there, and what each is.
pub fn rows(command: &Command) -> impl Iterator<Item = (String, &'static str)> {
    let operand = |operand: &'static Operand| (operand.name.to_owned(), operand.what);
    let commands = command.commands.iter().map(|next| {
        let parts = usage(next);
        (parts.join(" ").replacen("larder ", "", 1), next.what)
    });
    let flags = command.shown_flags().map(|flag| (spelled(flag), flag.what));
    let operands = command.operands.iter().map(operand);
    let behind = command.behind.as_ref().map(|behind| (format!("-- {}", behind.name), behind.what));
    commands.chain(operands).chain(behind).chain(flags)
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;

    #[test]
    fn every_help_fits_its_width_and_names_every_flag() {
        for (command, width) in all().flat_map(|command| [(command, 60), (command, 100)]) {
            let page = help(command, Style::plain(width));
            assert!(page.starts_with(&format!("larder {}: ", command.name)), "{page}");
            for flag in command.shown_flags() {
                assert!(page.contains(&format!("--{}", flag.name)), "{page}");
            }
            let is_example =
                |line: &str| command.examples.iter().any(|(known, _)| line.ends_with(known));
            let fits = |line: &str| line.chars().count() <= width || is_example(line);
            assert!(page.lines().all(fits), "{page}");
        }
    }
}
