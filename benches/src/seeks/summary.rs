//! The figures of a run: for people, as JSON, and as the tables and plots of a results file.

use std::fmt::Write as _;

use super::model::Model;
use super::run::{Phase, Report};

/// The table for people; the markdown of a results file is the same.
pub fn text(report: &Report) -> String {
    let mut text = String::from(
        "| who | what | n | reads per op | joined | writes per op | seeks per op | \
         KB read per op | KB written per op | ms per op, flat | curve | queued | \
         of reads, flat | curve | queued |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for phase in &report.phases {
        text.push_str(&row(phase));
    }
    for note in &report.notes {
        let _ = writeln!(text, "\n{note}");
    }
    text
}

fn row(phase: &Phase) -> String {
    let (f, n) = (&phase.figures, phase.operations as f64);
    let per = |count: u64| format!("{:.2}", count as f64 / n);
    let kb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e3 / n);
    let ms = |times: [f64; 3]| times.map(|ms| format!("{:.1}", ms / n)).join(" | ");
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        phase.contestant,
        phase.name,
        phase.operations,
        per(f.reads_issued),
        per(f.reads),
        per(f.writes),
        per(f.seeks),
        kb(f.read_bytes),
        kb(f.written_bytes),
        ms(f.model_ms),
        ms(f.read_model_ms),
    )
}

/// One object for programs.
pub fn json(report: &Report) -> String {
    let mut text = String::from("{\"phases\":[");
    for (index, phase) in report.phases.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let f = &phase.figures;
        let _ = write!(
            text,
            "{comma}{{\"contestant\":\"{}\",\"phase\":\"{}\",\"operations\":{},\"reads\":{},\
             \"reads_issued\":{},\"writes\":{},\"flushes\":{},\"read_bytes\":{},\
             \"written_bytes\":{},\"seeks\":{},\"read_seeks\":{}",
            phase.contestant,
            phase.name,
            phase.operations,
            f.reads,
            f.reads_issued,
            f.writes,
            f.flushes,
            f.read_bytes,
            f.written_bytes,
            f.seeks,
            f.read_seeks
        );
        for (model, (all, reads)) in
            Model::ALL.iter().zip(f.model_ms.iter().zip(f.read_model_ms.iter()))
        {
            let name = model.name();
            let _ = write!(text, ",\"{name}_ms\":{all:.3},\"{name}_read_ms\":{reads:.3}");
        }
        text.push('}');
    }
    text.push_str("],\"notes\":[");
    for (index, note) in report.notes.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\"{}\"", note.replace(['"', '\\'], "'"));
    }
    text.push_str("]}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::super::model::Figures;
    use super::*;

    #[test]
    fn figures_are_given_by_operation_and_in_whole() {
        let figures =
            Figures { reads_issued: 49, reads: 40, read_bytes: 98_000, ..Figures::default() };
        let name = "hits in build order";
        let phase = Phase { contestant: "larder".into(), name, operations: 98, figures };
        let report = Report { phases: vec![phase], notes: vec!["a \"note\"".into()] };
        assert!(
            text(&report).contains("| larder | hits in build order | 98 | 0.50 | 0.41 | 0.00 |")
        );
        let json = json(&report);
        assert!(json.contains("\"reads\":40,") && json.contains("\"a 'note'\""), "{json}");
    }
}
