//! A client on a thread of its own, for asynchronous programs.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::error::{Cause, Error, Result};
use crate::netns::Namespace;
use crate::trace::Span;

/// Items of a stream that change hands at once. At most three times as many are in memory.
const CHUNK: usize = 128;

/// A client on a thread of its own, for asynchronous programs and for threads that share one client.
///
/// The client is an [`Ipvs`](crate::ipvs::Ipvs), an [`Ipset`](crate::ipset::Ipset), a [`Vips`](crate::vip::Vips), a
/// [`Director`](crate::director::Director), or any other value, such as a tuple of clients. It is created on the thread and need not
/// be `Send`. Futures of a worker run under any executor.
///
/// ```no_run
/// use lvs::Worker;
/// use lvs::ipvs::{Ipvs, Scheduler, Service};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = Worker::start(Ipvs::connect).await?;
/// let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
/// worker.call(move |ipvs| ipvs.add_service(web)).await?;
///
/// let mut services = worker.stream(|ipvs| Ok(Box::new(ipvs.stream_services()?)));
/// while let Some(service) = services.next().await {
///     println!("{}", service?.service);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Calls run one after the other, in the order in which they were made. Clones of a worker share its thread. The thread ends when
/// the last clone is dropped and the calls before that are done.
///
/// # Cancellation
///
/// Dropping a [`Call`] or [`Items`] before its turn withdraws it: nothing is sent to the kernel. Work that has begun runs to its end,
/// so that a time limit around a future never leaves a request half done. [`Options`](crate::Options) limit the time of the work
/// itself.
///
/// # Panics
///
/// A panic in the work continues in the task that awaits the call. The client stays usable, and so does the worker.
pub struct Worker<C> {
    jobs: mpsc::Sender<Job<C>>,
}

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

impl<C: 'static> Worker<C> {
    /// Starts a thread and creates the client on it, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Those of `connect`, and when no thread can be started.
    pub fn start(connect: impl FnOnce() -> Result<C> + Send + 'static) -> Call<Result<Self>> {
        let (slot, call) = Slot::new();
        let thread = thread::Builder::new().name("lvs-worker".into()).spawn({
            let slot = Arc::clone(&slot);
            move || work(connect, slot)
        });
        if let Err(error) = thread {
            slot.fill(Ok(Err(Error::new("start a worker", Cause::Io(error)))));
        }
        call
    }

    /// As [`Worker::start`], with a thread that lives in `namespace`. Files of `/proc` that the client reads, such as IPVS's connection
    /// table, are those of that namespace, too.
    ///
    /// ```no_run
    /// use lvs::{Worker, ipvs::Ipvs, netns::Namespace};
    ///
    /// # async fn example() -> lvs::Result<()> {
    /// let pod = Worker::start_in(&Namespace::of_process(4711)?, Ipvs::connect).await?;
    /// println!("{} services", pod.call(|ipvs| ipvs.services()).await?.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Worker::start`]; [`is_permission_denied`](Error::is_permission_denied) without `CAP_SYS_ADMIN`.
    pub fn start_in(namespace: &Namespace, connect: impl FnOnce() -> Result<C> + Send + 'static) -> Call<Result<Self>> {
        let namespace = namespace.try_clone();
        Self::start(move || {
            namespace?.enter()?;
            connect()
        })
    }

    /// Runs `work` with the client, after the calls before it, and returns its value.
    ///
    /// The work is queued at once. Its value arrives when the future is awaited.
    pub fn call<T: Send + 'static>(&self, work: impl FnOnce(&mut C) -> T + Send + 'static) -> Call<T> {
        let (slot, call) = Slot::new();
        self.queue(move |client| {
            if !slot.is_withdrawn() {
                slot.fill(catch_unwind(AssertUnwindSafe(|| work(client))));
            }
        });
        call
    }

    /// Runs a streamed listing, such as [`Ipvs::stream_services`](crate::ipvs::Ipvs::stream_services). An error of `open` is the only
    /// item.
    ///
    /// The thread reads a few hundred items ahead and then waits for the reader: memory is constant. Other calls wait until the items
    /// are read or dropped. Awaiting another call of the same worker before the stream ends may therefore be a deadlock.
    pub fn stream<T: Send + 'static>(
        &self,
        open: impl FnOnce(&mut C) -> Result<Box<dyn Iterator<Item = Result<T>> + '_>> + Send + 'static,
    ) -> Items<T> {
        let queue = Arc::new(Queue::new());
        let items = Items { queue: Arc::clone(&queue), ready: VecDeque::new() };
        self.queue(move |client| {
            if queue.is_closed() {
                return;
            }
            let done = catch_unwind(AssertUnwindSafe(|| match open(client) {
                Ok(items) => queue.feed(items),
                Err(error) => drop(queue.put(VecDeque::from([Err(error)]))),
            }));
            queue.finish(done);
        });
        items
    }

    fn queue(&self, job: impl FnOnce(&mut C) + Send + 'static) {
        let caller = Span::current();
        let job = move |client: &mut C| {
            let _entered = caller.enter();
            job(client);
        };
        // The thread receives as long as a sender exists.
        let _received = self.jobs.send(Box::new(job));
    }
}

/// Body of the thread.
fn work<C>(connect: impl FnOnce() -> Result<C>, slot: Arc<Slot<Result<Worker<C>>>>) {
    let mut client = match catch_unwind(AssertUnwindSafe(connect)) {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return slot.fill(Ok(Err(error))),
        Err(panic) => return slot.fill(Err(panic)),
    };
    let (sender, jobs) = mpsc::channel::<Job<C>>();
    slot.fill(Ok(Ok(Worker { jobs: sender })));
    // It owns the worker if the caller is gone.
    drop(slot);
    for job in jobs {
        // A panic here is of a waker, or of a value without a caller that is dropped.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(&mut client))) {
            mem::forget(panic);
        }
    }
}

impl<C> Clone for Worker<C> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

impl<C> fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// Future of [`Worker::start`] and [`Worker::call`].
///
/// Dropping it withdraws work that has not begun, and does not stop work that has.
#[must_use = "dropping the future withdraws the call"]
pub struct Call<T>(Arc<Slot<T>>);

impl<T> Future for Call<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = lock(&self.0.0);
        match mem::replace(&mut *state, State::Taken) {
            State::Done(Ok(value)) => Poll::Ready(value),
            State::Done(Err(panic)) => {
                drop(state);
                resume_unwind(panic)
            }
            State::Waiting(waker) => {
                *state = State::Waiting(Some(renewed(waker, context)));
                Poll::Pending
            }
            State::Taken => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

/// Place of one value that the thread makes and the caller awaits.
struct Slot<T>(Mutex<State<T>>);

enum State<T> {
    Waiting(Option<Waker>),
    Done(Outcome<T>),
    Taken,
}

/// A value, or the payload of a panic.
type Outcome<T> = std::result::Result<T, Box<dyn Any + Send>>;

impl<T> Slot<T> {
    fn new() -> (Arc<Self>, Call<T>) {
        let slot = Arc::new(Self(Mutex::new(State::Waiting(None))));
        (Arc::clone(&slot), Call(slot))
    }

    /// Whether the future was dropped.
    fn is_withdrawn(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }

    fn fill(&self, outcome: Outcome<T>) {
        let before = mem::replace(&mut *lock(&self.0), State::Done(outcome));
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// Items of [`Worker::stream`]. Dropping it ends the listing.
///
/// A `Stream` of the crate `futures` is `futures::stream::poll_fn(move |context| items.poll_next(context))`.
#[must_use = "dropping the items withdraws the listing"]
pub struct Items<T> {
    queue: Arc<Queue<T>>,
    ready: VecDeque<Result<T>>,
}

impl<T> Items<T> {
    /// Next item; `None` at the end. No item is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Items::next`], for implementations of `Stream`.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if self.ready.is_empty() {
            let mut state = lock(&self.queue.state);
            if let Some(chunk) = state.chunk.take() {
                self.ready = chunk;
                self.queue.changed.notify_one();
            } else if let Some(end) = &mut state.end {
                let end = mem::replace(end, Ok(()));
                drop(state);
                return end.map_or_else(|panic| resume_unwind(panic), |()| Poll::Ready(None));
            } else {
                state.waker = Some(renewed(state.waker.take(), context));
                return Poll::Pending;
            }
        }
        Poll::Ready(self.ready.pop_front())
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        state.is_closed = true;
        let unread = state.chunk.take();
        drop(state);
        self.queue.changed.notify_one();
        drop(unread);
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

/// One chunk of items between the thread and the reader.
struct Queue<T> {
    state: Mutex<Queued<T>>,
    /// The chunk was taken, or the reader is gone.
    changed: Condvar,
}

struct Queued<T> {
    chunk: Option<VecDeque<Result<T>>>,
    waker: Option<Waker>,
    /// The thread adds no more.
    end: Option<Outcome<()>>,
    /// The reader is gone.
    is_closed: bool,
}

impl<T> Queue<T> {
    fn new() -> Self {
        let state = Queued { chunk: None, waker: None, end: None, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// Hands over all items, until the reader is gone.
    fn feed(&self, mut items: impl Iterator<Item = Result<T>>) {
        loop {
            let chunk: VecDeque<_> = items.by_ref().take(CHUNK).collect();
            let is_last = chunk.len() < CHUNK;
            if !self.put(chunk) || is_last {
                return;
            }
        }
    }

    /// Waits until the reader has taken the chunk before, and leaves this one. False if the reader is gone.
    fn put(&self, chunk: VecDeque<Result<T>>) -> bool {
        if chunk.is_empty() {
            return true;
        }
        let is_occupied = |state: &mut Queued<T>| state.chunk.is_some() && !state.is_closed;
        let state = self.changed.wait_while(lock(&self.state), is_occupied);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return false;
        }
        state.chunk = Some(chunk);
        wake(state);
        true
    }

    fn finish(&self, end: Outcome<()>) {
        let mut state = lock(&self.state);
        state.end = Some(end);
        wake(state);
    }
}

/// Wakes the reader, after unlocking.
fn wake<T>(mut state: MutexGuard<'_, Queued<T>>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The waker to store: the one before if it wakes the same task.
fn renewed(before: Option<Waker>, context: &Context<'_>) -> Waker {
    before.filter(|waker| waker.will_wake(context.waker())).unwrap_or_else(|| context.waker().clone())
}

/// No code of a caller runs under a lock but the clone of a waker, which leaves the state whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
