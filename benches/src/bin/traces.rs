//! Replays recorded builds on rules of eviction and on the engine; see `larder_benches::traces`.

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use larder_benches::traces::report::{Results, Row};
use larder_benches::traces::rules::{Rule, Segments};
use larder_benches::traces::settings::{Settings, USAGE, known_traces};
use larder_benches::traces::trace::Trace;
use larder_benches::traces::{engine, plot, simulate};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().any(|word| word == "--help") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::parse(std::env::args().skip(1), known_traces())?;
    let mut all = Vec::new();
    for path in &settings.traces {
        all.push(replay(&settings, &Trace::read(path)?)?);
    }
    let tables: Vec<String> = all.iter().map(Results::table).collect();
    let (mut differences, mut compared) = (Vec::new(), 0);
    for results in &all {
        let (more, count) = results.compare();
        differences.extend(more);
        compared += count;
    }
    if let Some(path) = &settings.results {
        fs::write(path.with_extension("md"), tables.join("\n"))?;
        fs::write(path.with_extension("svg"), plot::svg(&all))?;
    }
    if settings.json {
        let all: Vec<String> = all.iter().map(Results::json).collect();
        println!("[\n{}\n]", all.join(",\n"));
    } else {
        print!("{}", tables.join("\n"));
    }
    eprintln!("{compared} simulated figures were compared with known ones");
    for difference in &differences {
        eprintln!("{difference}");
    }
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn replay(settings: &Settings, trace: &Trace) -> Result<Results, Box<dyn Error>> {
    let mut results = Results::new(trace, &settings.shares);
    let bytes = |share: &u64| trace.footprint_bytes() * share / 100;
    for (rule, is_plotted) in rules(settings.variants) {
        let outcomes = settings.shares.iter().map(|s| simulate(trace, &rule, bytes(s))).collect();
        let (name, replayed) = (rule.name(), Vec::new());
        results.rows.push(Row { name, rule: Some(rule), outcomes, replayed, is_plotted });
    }
    let files = trace.in_blocks();
    let outcomes = settings.shares.iter().map(|s| simulate(&files, &Rule::Lru, bytes(s))).collect();
    let name = "LRU, a file for each object, in whole blocks".to_owned();
    results.rows.push(Row { name, rule: None, outcomes, replayed: vec![], is_plotted: false });
    if !settings.engine {
        return Ok(results);
    }
    for (name, run) in [
        ("**the engine, equal live bytes**", engine::at_equal_bytes as fn(_, _, _) -> _),
        ("**the engine, equal `max_size`**", engine::at_equal_disk),
    ] {
        let replayed: Vec<engine::Replayed> = settings
            .shares
            .iter()
            .map(|share| run(&settings.directory, trace, bytes(share)))
            .collect::<Result<_, Box<dyn Error>>>()?;
        let outcomes = replayed.iter().map(|replayed| replayed.outcome).collect();
        let name = name.to_owned();
        results.rows.push(Row { name, rule: None, outcomes, replayed, is_plotted: true });
    }
    Ok(results)
}

/// The rules, and whether they belong into the plot.
fn rules(variants: bool) -> Vec<(Rule, bool)> {
    let design = Segments::DESIGN;
    let segments = |segments, budget_percent| {
        (Rule::Segments(Segments { segments, budget_percent, ..design }), false)
    };
    let mut rules = vec![
        (Rule::Belady, true),
        (Rule::Lru, true),
        (Rule::Fifo, true),
        (Rule::Sieve, true),
        (Rule::S3Fifo, true),
        segments(64, 25),
        segments(64, 50),
        (Rule::Segments(design), true),
    ];
    if variants {
        rules.extend([segments(128, 50), segments(512, 50), segments(256, 0)]);
        rules.extend([25, 75, 100].map(|budget| segments(256, budget)));
        let old = |old_percent| (Rule::Segments(Segments { old_percent, ..design }), false);
        rules.extend([12, 25, 75, 100].map(old));
        let all = Segments { old_percent: 100, budget_percent: 100, ..design };
        rules.push((Rule::Segments(all), false));
        let watermarks = |start_percent, stop_percent| {
            (Rule::Segments(Segments { start_percent, stop_percent, ..design }), false)
        };
        rules.extend([watermarks(90, 80), watermarks(95, 90), watermarks(98, 97)]);
        let carried = |budget_percent, old_percent| {
            let carries_over = true;
            let rule = Segments { budget_percent, old_percent, carries_over, ..design };
            (Rule::Segments(rule), false)
        };
        rules.extend([10, 15, 20, 25, 50].map(|budget| carried(budget, 50)));
        rules.extend([carried(15, 75), carried(20, 75), carried(50, 75), carried(20, 25)]);
        let engine = Segments { start_percent: 90, stop_percent: 80, carries_over: true, ..design };
        rules.push((Rule::Segments(engine), false));
        rules.push((Rule::Segments(Segments { keeps_last: true, ..design }), false));
        rules.push((Rule::Segments(Segments { granules: 1024, ..design }), false));
    }
    rules
}
