//! The flags of gcc and g++ beside the common ones.

use super::flag::Attach::{Exact, Joined, Separate};
use super::flag::Class::{
    Color, Keyed, LaterStage, NamedFile, OptimizationReport, Profile, Side, Specs,
};
use super::flag::why::*;
use super::flag::{Flag, row};
use super::outputs::Side::{CallGraph, IpaClones, Prototypes};
use super::profile::ProfileFlag::{Default, Directory, Generate, GenerateIn, Use, UseIn};

/// The rows, sorted by spelling.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    row("--specs", Separate, Specs, "--specs f"),
    row("--specs=", Joined, Specs, "--specs=f"),
    row("-aux-info", Separate, Side(Prototypes), "-aux-info t.X"),
    row("-aux-info=", Joined, Side(Prototypes), "-aux-info=t.X"),
    row("-fauto-profile", Exact, Profile(Default("fbdata.afdo")), "-fauto-profile"),
    row("-fauto-profile=", Joined, NamedFile, "-fauto-profile=f"),
    row("-fbranch-probabilities", Exact, Profile(Use), "-fbranch-probabilities"),
    row("-fcallgraph-info", Exact, Side(CallGraph), "-fcallgraph-info"),
    row("-fcallgraph-info=", Joined, Side(CallGraph), "-fcallgraph-info=su"),
    row("-fcompare-debug", Joined, NOT_HANDLED, "-fcompare-debug-second"),
    row("-fcondition-coverage", Exact, PROFILE, "-fcondition-coverage"),
    row("-fdebug-cpp", Exact, NOT_HANDLED, "-fdebug-cpp"),
    row("-fdeps-", Joined, SIDE_OUTPUT, "-fdeps-file=f"),
    row("-fdiagnostics-plain-output", Exact, Color, "-fdiagnostics-plain-output"),
    row("-fdump-ipa-clones", Exact, Side(IpaClones), "-fdump-ipa-clones"),
    row("-flang-info-", Joined, MODULES, "-flang-info-module-cmi"),
    row("-fopt-info", Joined, OptimizationReport, "-fopt-info-vec"),
    row("-fpath-coverage", Exact, PROFILE, "-fpath-coverage"),
    // It changes what `-E` writes, and nothing else.
    row("-fpch-preprocess", Exact, LaterStage, "-fpch-preprocess"),
    row("-fpost-ipa-mem-report", Exact, MEASURES, "-fpost-ipa-mem-report"),
    row("-fpre-ipa-mem-report", Exact, MEASURES, "-fpre-ipa-mem-report"),
    row("-fprofile-correction", Exact, Keyed, "-fprofile-correction"),
    row("-fprofile-dir=", Joined, Profile(Directory), "-fprofile-dir=d"),
    row("-fprofile-exclude-files=", Joined, Keyed, "-fprofile-exclude-files=x"),
    row("-fprofile-filter-files=", Joined, Keyed, "-fprofile-filter-files=x"),
    row("-fprofile-generate", Exact, Profile(Generate), "-fprofile-generate"),
    row("-fprofile-generate=", Joined, Profile(GenerateIn), "-fprofile-generate=d"),
    row("-fprofile-partial-training", Exact, Keyed, "-fprofile-partial-training"),
    row("-fprofile-reorder-functions", Exact, Keyed, "-fprofile-reorder-functions"),
    row("-fprofile-reproducible=", Joined, Keyed, "-fprofile-reproducible=serial"),
    row("-fprofile-update=", Joined, Keyed, "-fprofile-update=atomic"),
    row("-fprofile-use", Exact, Profile(Use), "-fprofile-use"),
    row("-fprofile-use=", Joined, Profile(UseIn), "-fprofile-use=d"),
    row("-fprofile-values", Exact, Keyed, "-fprofile-values"),
    row("-frecord-gcc-switches", Exact, Keyed, "-frecord-gcc-switches"),
    row("-frepo", Exact, SIDE_OUTPUT, "-frepo"),
    row("-fself-test", Joined, NOT_HANDLED, "-fself-test=dir"),
    row("-fvtv-", Joined, SIDE_OUTPUT, "-fvtv-counts"),
    row("-fwpa", Joined, NOT_HANDLED, "-fwpa=2"),
    row("-iplugindir=", Joined, PLUGIN, "-iplugindir=d"),
    row("-pass-exit-codes", Exact, LaterStage, "-pass-exit-codes"),
    row("-remap", Exact, NOT_HANDLED, "-remap"),
    row("-specs", Separate, Specs, "-specs f"),
    row("-specs=", Joined, Specs, "-specs=f"),
    row("-wrapper", Separate, NOT_HANDLED, "-wrapper gdb"),
];
