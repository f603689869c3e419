//! Executors: tokio, smol, and one that parks the thread.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Runs the test on tokio (with one thread and with several), on smol and on [`block_on`].
pub(crate) fn under_each_executor<F: Future<Output = ()> + Send + 'static>(test: impl Fn() -> F) {
    block_on(test());
    smol::block_on(test());
    smol::block_on(smol::spawn(test()));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(runtime.spawn(test())).unwrap();
}

struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls with a waker of its own, which wakes nothing.
pub(crate) fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    pin!(future).poll(&mut Context::from_waker(&Waker::from(Arc::new(Nothing))))
}
