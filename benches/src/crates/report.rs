//! What the builds of one workspace came to, for people and for programs.

use std::path::PathBuf;

use crate::projects::build::Cost;

/// One kind of build.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// By cargo alone; else that of the first row counts.
    pub plain: Option<Cost>,
    /// Through larder, and through the other wrapper.
    pub wrappers: Vec<Cost>,
}

/// What one command in one workspace came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its directory's name.
    pub workspace: String,
    /// The words for cargo.
    pub command: String,
    /// Kinds of builds.
    pub rows: Vec<Row>,
    /// Hits and misses of larder in the last warm build.
    pub counts: [u64; 2],
    /// Files that two builds of cargo alone made alike.
    pub compared: usize,
    /// Those that builds through larder have made otherwise, lost, or made too many of.
    pub different: Vec<PathBuf>,
    /// Bytes on the disk and files: of larder's store, and of the other one.
    pub stores: Vec<(u64, u64)>,
}

impl Report {
    /// Whether all files were the same, and hits came.
    pub fn is_good(&self) -> bool {
        self.different.is_empty() && self.counts[0] > 0
    }

    /// Tables.
    pub fn text(&self) -> String {
        let has_other = self.rows.iter().any(|row| row.wrappers.len() > 1);
        let mut text = format!("### {}: cargo {}\n\n", self.workspace, self.command);
        text += "| build | cargo alone, s | larder, s | ";
        text += if has_other { "other, s | larder : other |\n" } else { "larder : cargo |\n" };
        text += if has_other { "|---|---|---|---|---|\n" } else { "|---|---|---|---|\n" };
        let first = self.rows.first().and_then(|row| row.plain).unwrap_or_default();
        for row in &self.rows {
            let plain = row.plain.unwrap_or(first);
            for kind in ["", ", CPU"] {
                let of = |cost: &Cost| if kind.is_empty() { cost.wall_secs } else { cost.cpu_secs };
                let values: Vec<f64> = [&plain].into_iter().chain(&row.wrappers).map(of).collect();
                let cells: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
                let against = values.get(2).unwrap_or(&values[0]);
                let ratio = values.get(1).unwrap_or(&0.0) / against;
                text += &format!("| {}{kind} | {} | {ratio:.3} |\n", row.name, cells.join(" | "));
            }
        }
        let [hits, misses] = self.counts;
        text += &format!("\nwarm: {hits} hits, {misses} misses\n");
        let (all, other) = (self.compared, self.different.len());
        text += &format!("files that cargo alone makes alike: {all}, other with larder: {other}\n");
        for (name, (bytes, files)) in ["larder", "other"].iter().zip(&self.stores) {
            text += &format!("store of {name}: {} MB, {files} files\n", bytes / 1_000_000);
        }
        text + "\n"
    }

    /// One JSON object in a line.
    pub fn json(&self) -> String {
        let cost = |cost: &Cost| {
            format!("{{\"wall_secs\":{:.3},\"cpu_secs\":{:.2}}}", cost.wall_secs, cost.cpu_secs)
        };
        let list = |costs: &[Cost]| costs.iter().map(cost).collect::<Vec<_>>().join(",");
        let rows = self.rows.iter().map(|row| {
            let plain = row.plain.as_ref().map_or("null".to_owned(), cost);
            let wrappers = list(&row.wrappers);
            format!("{{\"build\":\"{}\",\"plain\":{plain},\"wrappers\":[{wrappers}]}}", row.name)
        });
        let stores = self.stores.iter();
        let stores =
            stores.map(|(bytes, files)| format!("{{\"bytes\":{bytes},\"files\":{files}}}"));
        let [hits, misses] = self.counts;
        format!(
            "{{\"workspace\":{:?},\"command\":{:?},\"builds\":[{}],\"hits\":{hits},\
             \"misses\":{misses},\"compared\":{},\"different\":{},\"stores\":[{}]}}\n",
            self.workspace,
            self.command,
            rows.collect::<Vec<_>>().join(","),
            self.compared,
            self.different.len(),
            stores.collect::<Vec<_>>().join(",")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_other_wrapper_if_there_is_one() {
        let cost = |secs: f64| Cost { wall_secs: secs, cpu_secs: 2.0 * secs };
        let row = |name, plain, wrappers: &[f64]| Row {
            name,
            plain,
            wrappers: wrappers.iter().copied().map(cost).collect(),
        };
        let mut report = Report { counts: [1, 0], ..Report::default() };
        report.rows =
            vec![row("first", Some(cost(8.0)), &[9.0, 10.0]), row("warm", None, &[1.0, 4.0])];
        let text = report.text();
        assert!(text.contains("| warm | 8.00 | 1.00 | 4.00 | 0.250 |"), "{text}");
        assert!(text.contains("| first, CPU | 16.00 | 18.00 | 20.00 | 0.900 |"), "{text}");
        report.rows = vec![row("first", Some(cost(8.0)), &[10.0])];
        assert!(report.text().contains("| first | 8.00 | 10.00 | 1.250 |"));
        assert!(report.is_good() && report.json().contains("\"hits\":1,\"misses\":0"));
        report.different.push("a".into());
        assert!(!report.is_good());
    }
}
