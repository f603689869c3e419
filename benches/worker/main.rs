//! Cost of a hop to the thread of a [`Worker`] and back.
//!
//! ```sh
//! cargo bench --bench worker
//! ```
//!
//! `docs/performance.md` has the figures.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Mutex;

use divan::Bencher;
use divan::counter::ItemsCount;
use lvs::Worker;
use tokio::runtime::{Builder, Runtime};

fn main() {
    divan::main();
}

fn worker() -> Worker<u64> {
    smol::block_on(Worker::start(|| Ok(0))).unwrap()
}

fn tokio() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

/// For comparison: the client behind a lock that is free.
#[divan::bench]
fn mutex(bencher: Bencher<'_, '_>) {
    let client = Mutex::new(0_u64);
    bencher.bench_local(|| *black_box(&client).lock().unwrap() += 1);
}

#[divan::bench]
fn hop_smol(bencher: Bencher<'_, '_>) {
    let worker = worker();
    bencher.bench_local(|| smol::block_on(worker.call(|client| *client += 1)));
}

#[divan::bench]
fn hop_tokio(bencher: Bencher<'_, '_>) {
    let (worker, runtime) = (worker(), tokio());
    bencher.bench_local(|| runtime.block_on(worker.call(|client| *client += 1)));
}

/// Many callers at once: each hop is paid once, for all calls that wait.
#[divan::bench(args = [100, 10_000])]
fn callers(bencher: Bencher<'_, '_>, callers: usize) {
    let (worker, runtime) = (worker(), tokio());
    bencher.counter(ItemsCount::new(callers)).bench_local(|| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..callers)
                .map(|_| {
                    let worker = worker.clone();
                    tokio::spawn(async move { worker.call(|client| *client += 1).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}

#[divan::bench]
fn stream(bencher: Bencher<'_, '_>) {
    const ITEMS: u64 = 10_000;
    let worker = worker();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        smol::block_on(async {
            let mut items = worker.stream(|_| Ok(Box::new((0..ITEMS).map(Ok))));
            while let Some(item) = items.next().await {
                black_box(item.unwrap());
            }
        });
    });
}
