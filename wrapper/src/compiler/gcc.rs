//! The flags of gcc and g++ beside the common ones.

use super::flag::Attach::{Exact, Joined, Separate};
use super::flag::Class::{Color, LaterStage, OptimizationReport, Side};
use super::flag::why::*;
use super::flag::{Flag, row};
use super::outputs::Side::{CallGraph, IpaClones, Prototypes};

/// The rows, sorted by spelling.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    row("-aux-info", Separate, Side(Prototypes), "-aux-info t.X"),
    row("-aux-info=", Joined, Side(Prototypes), "-aux-info=t.X"),
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
    row("-fpost-ipa-mem-report", Exact, MEASURES, "-fpost-ipa-mem-report"),
    row("-fpre-ipa-mem-report", Exact, MEASURES, "-fpre-ipa-mem-report"),
    row("-frepo", Exact, SIDE_OUTPUT, "-frepo"),
    row("-fself-test", Joined, NOT_HANDLED, "-fself-test=dir"),
    row("-fvtv-", Joined, SIDE_OUTPUT, "-fvtv-counts"),
    row("-fwpa", Joined, NOT_HANDLED, "-fwpa=2"),
    row("-iplugindir=", Joined, PLUGIN, "-iplugindir=d"),
    row("-pass-exit-codes", Exact, LaterStage, "-pass-exit-codes"),
    row("-remap", Exact, NOT_HANDLED, "-remap"),
    row("-wrapper", Separate, NOT_HANDLED, "-wrapper gdb"),
];
