//! One project: reference builds, then a cache's cold, warm, changed and second build.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{Behind, Cost, Place, build, prepare};
use super::catalogue::Project;
use super::compare::{Tree, differences, stable, tree};
use super::settings::Settings;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Counters of larder that are shown.
const COUNTERS: [&str; 3] = ["direct_cache_hit", "preprocessed_cache_hit", "cache_miss"];

/// What one build through larder came to.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// Which one.
    pub name: &'static str,
    /// What it took.
    pub cost: Cost,
    /// Direct hits, hits by preprocessed text, misses.
    pub counts: [u64; 3],
    /// Files that were compared.
    pub compared: usize,
    /// Files that were other than without a cache, or lost, or too many.
    pub different: Vec<PathBuf>,
}

/// What one project came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// What it is.
    pub what: String,
    /// A build without a cache.
    pub plain: Cost,
    /// Builds through larder.
    pub built: Vec<Built>,
    /// The other cache's cold and warm build.
    pub against: Option<[Cost; 2]>,
}

/// Runs all builds of a project in a folder.
///
/// # Errors
/// If a build fails.
pub fn run(project: &Project, sources: &Path, settings: &Settings) -> Outcome<Report> {
    let folder = settings.directory.join(project.name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let place = |tree: &str| Place {
        sources: sources.to_path_buf(),
        tree: folder.join(tree),
        links: folder.join("bin"),
    };
    let (here, there) = (place("tree"), place("second"));
    let base = vec![("LARDER_BASE_DIRS".to_owned(), folder.display().to_string())];
    let larder = settings.larder.canonicalize()?;
    let larder = Behind::Cache(larder, folder.join("store"), base);
    let mut stage = Stage { project, settings, folder: &folder, larder, built: Vec::new() };
    let (plain, reference) = stage.reference("without a cache", &here, false)?;
    stage.through("cold", &here, false, &reference)?;
    stage.through("warm", &here, false, &reference)?;
    let mut rounds = vec![stage.round(&here, plain)?];
    for _ in 1..settings.runs {
        rounds.push(stage.further_round(&here)?);
    }
    let (_, changed) = stage.reference("changed, without a cache", &here, true)?;
    stage.through("changed", &here, true, &changed)?;
    stage.through("changed, warm", &here, true, &changed)?;
    let (_, second) = stage.reference("second checkout, without a cache", &there, false)?;
    stage.through("second checkout", &there, false, &second)?;
    let mut built = stage.built;
    let (plain, larder, against) = medians(&rounds);
    for (built, cost) in built.iter_mut().zip(larder) {
        built.cost = cost;
    }
    let report = Report {
        name: project.name.to_owned(),
        what: project.what.to_owned(),
        plain,
        built,
        against,
    };
    fs::remove_dir_all(&folder)?;
    Ok(report)
}

/// The timed builds of one round: without a cache, through larder, and through the other cache,
/// each cold and warm.
struct Round {
    plain: Cost,
    larder: [Cost; 2],
    against: Option<[Cost; 2]>,
}

/// What the rounds took in the middle, each kind of build for itself.
fn medians(rounds: &[Round]) -> (Cost, [Cost; 2], Option<[Cost; 2]>) {
    let of = |cost: &dyn Fn(&Round) -> Cost| median(&rounds.iter().map(cost).collect::<Vec<_>>());
    let against =
        |at: usize| median(&rounds.iter().filter_map(|r| Some(r.against?[at])).collect::<Vec<_>>());
    let has_other = rounds.iter().all(|round| round.against.is_some());
    (
        of(&|round| round.plain),
        [0, 1].map(|at| of(&|round| round.larder[at])),
        has_other.then(|| [0, 1].map(against)),
    )
}

/// The cost in the middle, wall and CPU each for itself.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Cost { wall_secs: middle(|cost| cost.wall_secs), cpu_secs: middle(|cost| cost.cpu_secs) }
}

/// What two builds without a cache made alike, and all that one of them made.
struct Reference {
    stable: Tree,
    any: Tree,
}

struct Stage<'a> {
    project: &'a Project,
    settings: &'a Settings,
    folder: &'a Path,
    larder: Behind,
    built: Vec<Built>,
}

impl Stage<'_> {
    fn say(&self, name: &str) {
        eprintln!("{}: {name}", self.project.name);
    }

    fn prepare(&self, place: &Place, behind: &Behind, changed: bool) -> Outcome<()> {
        prepare(self.project, place, behind, |tree| {
            if changed { change(&tree.join(self.project.changed)) } else { Ok(()) }
        })
    }

    fn build(&self, place: &Place, behind: &Behind, changed: bool) -> Outcome<Cost> {
        self.prepare(place, behind, changed)?;
        build(self.project, place, behind)
    }

    fn reference(&self, name: &str, place: &Place, changed: bool) -> Outcome<(Cost, Reference)> {
        self.say(name);
        self.build(place, &Behind::Themselves, changed)?;
        let first = tree(&place.tree)?;
        let cost = self.build(place, &Behind::Themselves, changed)?;
        let mut any = tree(&place.tree)?;
        let stable = stable(&first, &any);
        any.extend(first);
        Ok((cost, Reference { stable, any }))
    }

    fn through(
        &mut self,
        name: &'static str,
        place: &Place,
        changed: bool,
        reference: &Reference,
    ) -> Outcome<()> {
        self.say(name);
        // What a configure script compiles often has the number of a process in its name.
        self.prepare(place, &self.larder, changed)?;
        let before = self.counts()?;
        let cost = build(self.project, place, &self.larder)?;
        let after = self.counts()?;
        let mut counts = [0; 3];
        for (count, (after, before)) in counts.iter_mut().zip(after.iter().zip(before)) {
            *count = after - before;
        }
        let found = tree(&place.tree)?;
        let different = differences(&reference.stable, &reference.any, &found);
        for path in different.iter().take(10) {
            eprintln!("{}: {name}: {} is another one", self.project.name, path.display());
        }
        let compared = reference.stable.len();
        self.built.push(Built { name, cost, counts, compared, different });
        Ok(())
    }

    fn counts(&self) -> Outcome<[u64; 3]> {
        let Behind::Cache(program, store, _) = &self.larder else { return Ok([0; 3]) };
        let mut command = Command::new(program);
        command.args(["stats", "--json"]).env("LARDER_DIR", store);
        let output = command.env("LARDER_CONFIG", "/dev/null").output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(COUNTERS.map(|name| number(&text, name).unwrap_or(0)))
    }

    /// The first round, of which larder's part is done.
    fn round(&self, place: &Place, plain: Cost) -> Outcome<Round> {
        let larder = [self.built[0].cost, self.built[1].cost];
        Ok(Round { plain, larder, against: self.against(place)? })
    }

    /// Another round, with empty stores.
    fn further_round(&self, place: &Place) -> Outcome<Round> {
        self.say("once more: without a cache, cold and warm");
        let plain = self.build(place, &Behind::Themselves, false)?;
        Ok(Round { plain, larder: self.pair(place, &self.larder)?, against: self.against(place)? })
    }

    /// A build with an empty store, and the same again.
    fn pair(&self, place: &Place, behind: &Behind) -> Outcome<[Cost; 2]> {
        if let Behind::Cache(_, store, _) = behind
            && store.exists()
        {
            fs::remove_dir_all(store)?;
        }
        let cold = self.build(place, behind, false)?;
        Ok([cold, self.build(place, behind, false)?])
    }

    /// The other cache, cold and warm.
    fn against(&self, place: &Place) -> Outcome<Option<[Cost; 2]>> {
        let Some(program) = &self.settings.against else { return Ok(None) };
        let store = self.folder.join("against");
        let behind = Behind::Cache(program.canonicalize()?, store, Vec::new());
        self.say("another cache, cold and warm");
        self.pair(place, &behind).map(Some)
    }
}

/// Adds a declaration to a header.
fn change(header: &Path) -> Outcome<()> {
    let mut file = fs::OpenOptions::new().append(true).open(header)?;
    Ok(file.write_all(b"\nextern int a_declaration_that_is_new;\n")?)
}

/// The number behind a name in JSON.
pub(crate) fn number(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\""))?;
    let digits = rest.trim_start_matches([':', ' ']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

impl Report {
    /// Whether all files were the same, and hits came where they must.
    pub fn is_good(&self) -> bool {
        let warm = |name: &str| self.built.iter().any(|b| b.name == name && b.counts[0] > 0);
        self.built.iter().all(|built| built.different.is_empty())
            && warm("warm")
            && warm("changed, warm")
    }

    /// A table.
    pub fn text(&self) -> String {
        let mut text = format!("### {} ({})\n\n", self.name, self.what);
        text += "| build | wall s | CPU s | CPU ratio | ";
        text += "hits | by text | misses | files | different |\n";
        text += "|---|---|---|---|---|---|---|---|---|\n";
        // To the build without a cache; those of changed trees have other ones.
        let cost = |cost: &Cost| {
            let ratio = cost.cpu_secs / self.plain.cpu_secs;
            format!("{:.2} | {:.2} | {ratio:.3}", cost.wall_secs, cost.cpu_secs)
        };
        text += &format!("| without a cache | {} | | | | | |\n", cost(&self.plain));
        for built in &self.built {
            let [direct, by_text, misses] = built.counts;
            text += &format!(
                "| {} | {} | {direct} | {by_text} | {misses} | {} | {} |\n",
                built.name,
                cost(&built.cost),
                built.compared,
                built.different.len()
            );
        }
        for (name, other) in ["cold", "warm"].iter().zip(self.against.iter().flatten()) {
            text += &format!("| the other cache, {name} | {} | | | | | |\n", cost(other));
        }
        if let (Some([cold, warm]), [first, second, ..]) = (&self.against, &self.built[..]) {
            let ratio = |larder: &Built, other: &Cost| larder.cost.wall_secs / other.wall_secs;
            let (cold, warm) = (ratio(first, cold), ratio(second, warm));
            text += &format!("\nlarder to the other cache, wall: cold {cold:.2}, warm {warm:.2}\n");
        }
        text + "\n"
    }

    /// One JSON object in a line.
    pub fn json(&self) -> String {
        let cost = |cost: &Cost| {
            format!("\"wall_secs\":{:.3},\"cpu_secs\":{:.2}", cost.wall_secs, cost.cpu_secs)
        };
        let built = self.built.iter().map(|built| {
            let [direct, by_text, misses] = built.counts;
            let counts = format!(
                "\"direct_hits\":{direct},\"preprocessed_hits\":{by_text},\"misses\":{misses}"
            );
            let files =
                format!("\"compared\":{},\"different\":{}", built.compared, built.different.len());
            format!("{{\"build\":\"{}\",{},{counts},{files}}}", built.name, cost(&built.cost))
        });
        let against = self.against.iter().flatten().map(|other| format!("{{{}}}", cost(other)));
        format!(
            "{{\"project\":\"{}\",\"plain\":{{{}}},\"builds\":[{}],\"against\":[{}]}}\n",
            self.name,
            cost(&self.plain),
            built.collect::<Vec<_>>().join(","),
            against.collect::<Vec<_>>().join(",")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_told_by_their_medians() {
        let cost = |secs: f64| Cost { wall_secs: secs, cpu_secs: 10.0 - secs };
        let round = |secs: f64| Round {
            plain: cost(secs),
            larder: [cost(secs + 1.0), cost(secs + 2.0)],
            against: Some([cost(secs + 3.0), cost(secs + 4.0)]),
        };
        let (plain, larder, against) = medians(&[round(3.0), round(1.0), round(2.0)]);
        assert_eq!((plain.wall_secs, plain.cpu_secs), (2.0, 8.0));
        assert_eq!(larder.map(|cost| cost.wall_secs), [3.0, 4.0]);
        assert_eq!(against.map(|costs| costs.map(|cost| cost.wall_secs)), Some([5.0, 6.0]));
        let without = Round { against: None, ..round(1.0) };
        assert!(medians(&[round(1.0), without]).2.is_none());
    }

    #[test]
    fn numbers_are_found_in_json() {
        let json = "{\"cache_miss\": 12, \"direct_cache_hit\":3}";
        assert_eq!(number(json, "cache_miss"), Some(12));
        assert_eq!(number(json, "direct_cache_hit"), Some(3));
        assert_eq!(number(json, "preprocessed_cache_hit"), None);
    }
}
