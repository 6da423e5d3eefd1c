//! The engine in one process: get, miss, put and open, over sizes of the store and of the values.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use larder_benches::{fill, get, key, open, put, value};

/// Bytes of the values, and how many of them there are.
const SIZES: &[(usize, u64)] = &[(4 << 10, 20_000), (64 << 10, 4_000), (1 << 20, 400)];

fn lookups(criterion: &mut Criterion) {
    for (bytes, entries) in SIZES {
        let directory = tempfile::tempdir().expect("there is room");
        let store = open(directory.path(), *entries, *bytes);
        fill(&store, *entries, *bytes);
        let mut group = criterion.benchmark_group("lookup");
        group.throughput(Throughput::Bytes(*bytes as u64));
        let mut number = 0;
        let mut next = || {
            number = (number + 7919) % entries;
            number
        };
        group.bench_function(BenchmarkId::new("get", bytes), |bencher| {
            bencher.iter(|| black_box(get(&store, next())));
        });
        group.bench_function(BenchmarkId::new("miss", bytes), |bencher| {
            bencher.iter(|| black_box(store.get(&key(entries + next())).expect("disk").is_none()));
        });
        group.bench_function(BenchmarkId::new("open and get", bytes), |bencher| {
            bencher.iter(|| black_box(get(&open(directory.path(), *entries, *bytes), next())));
        });
    }
}

fn puts(criterion: &mut Criterion) {
    for (bytes, entries) in SIZES {
        let directory = tempfile::tempdir().expect("there is room");
        let store = open(directory.path(), *entries, *bytes);
        let value = value(0, *bytes);
        let mut group = criterion.benchmark_group("put");
        group.throughput(Throughput::Bytes(*bytes as u64));
        let mut number = 0;
        group.bench_function(BenchmarkId::new("put", bytes), |bencher| {
            bencher.iter(|| {
                number += 1;
                put(&store, number, &value);
            });
        });
    }
}

criterion_group!(benches, lookups, puts);
criterion_main!(benches);
