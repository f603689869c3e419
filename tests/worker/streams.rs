//! Streams of a worker.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lvs::Worker;
use lvs::ipvs::{Scheduler, Service};

use crate::executor::{block_on, poll_once, under_each_executor};
use crate::{panic_of, web, worker};

/// Most items that exist at once, beside the one that the reader got.
const IN_MEMORY: usize = 3 * 128;

#[test]
fn every_item_arrives_in_its_order_and_memory_is_bounded() {
    under_each_executor(|| async {
        for count in [0, 1, 127, 128, 129, 10_000] {
            let worker = Worker::start(|| Ok(())).await.unwrap();
            let made = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&made);
            let mut items = worker.stream(move |()| {
                Ok(Box::new((0..count).map(move |n| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    Ok(n)
                })))
            });
            for n in 0..count {
                assert_eq!(items.next().await.unwrap().unwrap(), n);
                let made = made.load(Ordering::Relaxed);
                assert!(made <= n + IN_MEMORY, "{made} made when {n} were read");
            }
            assert!(items.next().await.is_none());
            assert!(items.next().await.is_none());
        }
    });
}

#[test]
fn a_dropped_listing_ends_and_the_next_call_runs() {
    block_on(async {
        let worker = worker().await;
        worker
            .call(|ipvs| {
                for port in 1..=1000 {
                    ipvs.add_service(Service::tcp(([10, 96, 0, 10], port).into(), Scheduler::RR)).unwrap();
                }
            })
            .await;
        for read in [0, 1, 200] {
            let mut services = worker.stream(|ipvs| Ok(Box::new(ipvs.stream_services()?)));
            for _ in 0..read {
                services.next().await.unwrap().unwrap();
            }
            drop(services);
            assert_eq!(worker.call(|ipvs| ipvs.services()).await.unwrap().len(), 1000);
        }
        // Without an end, and with a reader that goes.
        let mut endless = worker.stream(|_| Ok(Box::new(iter::repeat_with(|| Ok(())))));
        endless.next().await.unwrap().unwrap();
        drop(endless);
        assert_eq!(worker.call(|_| 7).await, 7);
    });
}

#[test]
fn an_error_is_an_item() {
    block_on(async {
        let worker = worker().await;
        let mut failing = worker.stream::<()>(|ipvs| {
            ipvs.service(web())?;
            Ok(Box::new(iter::empty()))
        });
        let error = failing.next().await.unwrap().unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(failing.next().await.is_none());
    });
}

#[test]
fn a_panic_comes_out_after_the_items_before() {
    let worker = block_on(worker());
    let mut items =
        worker.stream(|_| Ok(Box::new((0..200).map(|n| if n < 128 { Ok(n) } else { panic!("in the listing") }))));
    for n in 0..128 {
        assert_eq!(block_on(items.next()).unwrap().unwrap(), n);
    }
    assert_eq!(panic_of(|| block_on(items.next())), "in the listing");
    assert!(block_on(items.next()).is_none());
    assert_eq!(block_on(worker.call(|_| 7)), 7);
}

#[test]
fn a_dropped_future_of_an_item_loses_nothing() {
    let worker = block_on(worker());
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let mut items = worker.stream(move |_| Ok(Box::new(may_go_on.into_iter().map(Ok))));
    assert!(poll_once(&mut Box::pin(items.next())).is_pending());
    go_on.send(()).unwrap();
    drop(go_on);
    block_on(items.next()).unwrap().unwrap();
    assert!(block_on(items.next()).is_none());
}
