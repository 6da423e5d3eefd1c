//! Tables of medians, and what they were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// The median.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What was measured.
pub struct Report {
    machine: Vec<String>,
    tables: Vec<Value>,
}

impl Report {
    /// A report that begins with the machine, the versions and the command.
    pub fn new(directory: &Path) -> Report {
        let machine = machine(directory);
        machine.iter().for_each(|line| println!("- {line}"));
        println!();
        Report { machine, tables: Vec::new() }
    }

    /// A table with one row per engine: each cell a figure and, from the second row on, the first
    /// row's figure over it.
    pub fn table(&mut self, title: &str, columns: &[&str], rows: &[(String, Vec<Option<f64>>)]) {
        println!("{title} (larder / this)\n");
        println!("| engine | {} |", columns.join(" | "));
        println!("|---|{}", "---|".repeat(columns.len()));
        let first = rows.first().map(|(_, figures)| figures.clone()).unwrap_or_default();
        for (number, (name, figures)) in rows.iter().enumerate() {
            let cell = |(figure, first): (&Option<f64>, &Option<f64>)| match (figure, first) {
                (Some(figure), Some(first)) if number > 0 && *figure > 0.0 => {
                    format!("{} ({:.2})", short(*figure), first / figure)
                }
                (Some(figure), _) => short(*figure),
                (None, _) => "-".to_string(),
            };
            let cells: Vec<String> = figures.iter().zip(&first).map(cell).collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
        println!();
        let rows: Vec<Value> = rows
            .iter()
            .map(|(name, figures)| json!({ "engine": name, "figures": figures }))
            .collect();
        self.tables.push(json!({ "title": title, "columns": columns, "rows": rows }));
    }

    /// Writes everything as JSON.
    pub fn write_json(&self, path: &Path) {
        let report = json!({ "machine": self.machine, "tables": self.tables });
        fs::write(path, format!("{report:#}\n")).expect("the file can be written");
    }
}

/// Three digits that say something.
fn short(figure: f64) -> String {
    let digits = if figure.abs() >= 100.0 { 0 } else { usize::from(figure.abs() < 10.0) + 1 };
    format!("{figure:.digits$}")
}

/// The machine, the date, the versions and the command.
fn machine(directory: &Path) -> Vec<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let answer = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(directory).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let system = answer("stat", &["-f", "-c", "%T"]).unwrap_or_default();
    let date = Command::new("date").arg("-I").output();
    let date = date.map(|date| String::from_utf8_lossy(&date.stdout).trim().to_string());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    vec![
        format!("machine: {model}, {cores} cores, Linux {}, {system}", kernel.trim()),
        format!("date: {}", date.unwrap_or_default()),
        format!("versions: {}", versions()),
        format!("command: `compare {}`", arguments.join(" ")),
    ]
}

/// The engines' versions, from the lock file that this was built with.
fn versions() -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let found = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
        let version = found.and_then(|(_, rest)| rest.split('"').next());
        format!("{name} {}", version.unwrap_or("?"))
    };
    let names = ["larder-engine", "heed", "redb", "fjall", "rusqlite", "libsqlite3-sys"];
    names.map(version).join(", ")
}
