//! A client on a thread of its own, under tokio, smol and an executor of a few lines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod executor;
mod streams;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;

use executor::{block_on, under_each_executor};
use lvs::Worker;
use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service};
use lvs::testing::Kernel;

/// A worker with an in-memory IPVS table.
async fn worker() -> Worker<Ipvs> {
    let kernel = Kernel::new();
    Worker::start(move || kernel.ipvs()).await.unwrap()
}

fn web() -> Service {
    Service::tcp("10.96.0.10:443".parse().unwrap(), Scheduler::WRR)
}

/// The value of a client that tells when it is dropped.
struct Tells(mpsc::Sender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
    }
}

/// The message of the panic that `work` ends in.
fn panic_of<T>(work: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(work)) else { panic!("no panic") };
    panic.downcast_ref::<&str>().unwrap().to_string()
}

#[test]
fn a_client_is_used_under_each_executor() {
    under_each_executor(|| async {
        let worker = worker().await;
        worker.call(|ipvs| ipvs.add_service(web())).await.unwrap();
        let error = worker.call(|ipvs| ipvs.add_service(web())).await.unwrap_err();
        assert!(error.is_already_exists(), "{error}");
        let server = Destination::new("10.244.1.7:6443".parse().unwrap());
        let changes = [Change::AddDestination(web().key, server), Change::ZeroAll];
        worker.clone().call(move |ipvs| ipvs.batch(changes)).await.unwrap();
        let mut services = worker.stream(|ipvs| Ok(Box::new(ipvs.stream_services()?)));
        assert_eq!(services.next().await.unwrap().unwrap().service, web());
        assert!(services.next().await.is_none());
    });
}

#[test]
fn ten_thousand_callers_share_a_client() {
    const CALLERS: u16 = 10_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let worker = worker().await;
        worker.call(|ipvs| ipvs.add_service(web())).await.unwrap();
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let worker = worker.clone();
                tokio::spawn(async move {
                    let (number, info) = worker.call(move |ipvs| (caller, ipvs.service(web()))).await;
                    number == caller && info.unwrap().service == web()
                })
            })
            .collect();
        for caller in callers {
            assert!(caller.await.unwrap());
        }
    });
}

#[test]
fn calls_run_in_their_order_whichever_is_awaited_first() {
    block_on(async {
        let worker = Worker::start(|| Ok(Vec::new())).await.unwrap();
        let calls: Vec<_> = (0..100)
            .map(|n| {
                worker.call(move |seen| {
                    seen.push(n);
                    seen.len()
                })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate().rev() {
            assert_eq!(call.await, n + 1);
        }
        assert_eq!(worker.call(|seen| seen.clone()).await, Vec::from_iter(0..100));
    });
}

#[test]
fn a_client_need_not_be_send() {
    block_on(async {
        let worker = Worker::start(|| Ok(Rc::new(Cell::new(1)))).await.unwrap();
        worker.call(|cell| cell.set(cell.get() + 1)).await;
        assert_eq!(worker.call(|cell| cell.get()).await, 2);
    });
}

#[test]
fn dropping_a_future_stops_nothing_that_runs_and_withdraws_what_waits() {
    block_on(async {
        let worker = Worker::start(|| Ok(Vec::new())).await.unwrap();
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let running = worker.call(move |seen: &mut Vec<_>| {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            seen.push("running");
        });
        let waiting = worker.call(|seen| seen.push("waiting"));
        let listing = worker.stream::<()>(|seen| {
            seen.push("listing");
            Ok(Box::new(std::iter::empty()))
        });
        has_begun.recv().unwrap();
        drop((running, waiting, listing));
        go_on.send(()).unwrap();
        assert_eq!(worker.call(|seen| seen.clone()).await, ["running"]);
    });
}

#[test]
fn a_panic_comes_out_at_its_caller_and_the_worker_goes_on() {
    let worker = block_on(worker());
    assert_eq!(panic_of(|| block_on(worker.call(|_| panic!("in the work")))), "in the work");
    block_on(worker.call(|ipvs| ipvs.add_service(web()))).unwrap();
    // In the middle of a batch, of an update, and of a listing.
    let batch = worker.call(|ipvs| {
        let changes = [Change::ZeroAll; 3].into_iter().chain(std::iter::once_with(|| panic!("in the batch")));
        ipvs.batch(changes).map_err(drop)
    });
    assert_eq!(panic_of(|| block_on(batch)), "in the batch");
    let update = worker.call(|ipvs| ipvs.update_service(web(), |_| panic!("in the update")));
    assert_eq!(panic_of(|| block_on(update)), "in the update");
    let listing = worker.call::<()>(|ipvs| {
        let mut services = ipvs.stream_services().unwrap();
        services.next();
        panic!("in the listing")
    });
    assert_eq!(panic_of(|| block_on(listing)), "in the listing");
    block_on(worker.call(|ipvs| ipvs.batch([Change::ZeroAll]))).unwrap();
    assert_eq!(block_on(worker.call(|ipvs| ipvs.services())).unwrap().len(), 1);
}

#[test]
fn a_panic_without_a_caller_is_survived() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }
    let worker = block_on(worker());
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let call = worker.call(move |_| {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
        Panics
    });
    has_begun.recv().unwrap();
    drop(call);
    go_on.send(()).unwrap();
    assert!(block_on(worker.call(|ipvs| ipvs.services())).unwrap().is_empty());
}

#[test]
fn connecting_fails_at_the_caller() {
    let error = block_on(Worker::start(|| Kernel::new().ipvs()?.service(web()))).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(panic_of(|| block_on(Worker::<Ipvs>::start(|| panic!("connecting")))), "connecting");
}

#[test]
fn the_thread_ends_with_the_last_clone_and_the_calls_before() {
    let (tells, told) = mpsc::channel();
    let worker = block_on(Worker::start(move || Ok(Tells(tells)))).unwrap();
    let other = worker.clone();
    drop(worker);
    let call = other.call(|_| 7);
    drop(other);
    assert_eq!(block_on(call), 7);
    told.recv().unwrap();
    told.recv().unwrap_err();

    // Nobody waits for the worker.
    let (tells, told) = mpsc::channel();
    drop(Worker::start(move || Ok(Tells(tells))));
    told.recv().unwrap();
}

#[test]
fn the_last_task_that_polls_is_woken() {
    let worker = block_on(worker());
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let mut call = Box::pin(worker.call(move |_| may_go_on.recv().unwrap()));
    assert!(executor::poll_once(&mut call).is_pending());
    assert!(executor::poll_once(&mut call).is_pending());
    go_on.send(()).unwrap();
    block_on(&mut call);
    assert!(executor::poll_once(&mut call).is_pending());
}
