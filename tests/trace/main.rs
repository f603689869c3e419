//! Spans and events of the feature `tracing`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use lvs::Worker;
use lvs::ipset::{HashIp, Member, NewSet};
use lvs::ipvs::{Change, Destination, Scheduler, Service};
use lvs::testing::Kernel;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A subscriber that writes each span and each event as a line, under the span that is entered.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    spans: Vec<String>,
    entered: Vec<u64>,
    lines: Vec<String>,
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "lvs"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut state = self.0.lock().unwrap();
        state.lines.push(fields.0.clone());
        state.spans.push(fields.0);
        Id::from_u64(state.spans.len().try_into().unwrap())
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let mut state = self.0.lock().unwrap();
        let span = state.entered.last().map(|id| state.spans[usize::try_from(*id).unwrap() - 1].clone());
        state.lines.push(format!("{} in {}", fields.0.trim(), span.unwrap_or_default()));
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().entered.pop();
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}

/// The lines that `run` leaves.
fn lines(run: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), run);
    let mut state = log.0.lock().unwrap();
    assert_eq!(state.entered, [] as [u64; 0]);
    std::mem::take(&mut state.lines)
}

fn web() -> Service {
    Service::tcp("10.96.0.10:443".parse().unwrap(), Scheduler::WRR)
}

#[test]
fn an_operation_is_a_span_and_a_refusal_an_event() {
    let mut ipvs = Kernel::new().ipvs().unwrap();
    let add = "operation text=add service 10.96.0.10:443/tcp";
    assert_eq!(lines(|| ipvs.add_service(web()).unwrap()), [add]);
    let refused = format!("message=refused request=0 refusal=EEXIST in {add}");
    assert_eq!(lines(|| drop(ipvs.add_service(web()).unwrap_err())), [add, &refused]);
    let found = lines(|| drop(ipvs.stream_services().unwrap().collect::<Vec<_>>()));
    assert_eq!(found, ["operation text=list services"]);
}

#[test]
fn a_batch_is_one_span_however_long() {
    let kernel = Kernel::new();
    let (mut ipvs, mut ipset) = (kernel.ipvs().unwrap(), kernel.ipset());
    ipvs.add_service(web()).unwrap();
    let add = |n: u32| Change::AddDestination(web().key, Destination::new((n.to_be_bytes(), 80).into()));
    let batch = "operation text=make changes in a batch";
    assert_eq!(lines(|| ipvs.batch((0x0a00_0001..0x0a00_1000).map(add)).unwrap()), [batch]);
    let found = lines(|| drop(ipvs.batch((0x0a00_0fff..0x0a00_1002).map(add)).unwrap_err()));
    assert_eq!(found, [batch, &format!("message=refused request=0 refusal=EEXIST in {batch}")]);

    let set = ipset.create("blocked".parse().unwrap(), &NewSet::<HashIp>::ipv4()).unwrap();
    let members = || (0x0a00_0001..0x0a00_4000_u32).map(|n| Member::new(std::net::Ipv4Addr::from_bits(n)));
    let found = lines(|| assert_eq!(ipset.add_all(&set, members()).unwrap(), 0x3fff));
    let batch = "operation text=add entries of set blocked";
    assert_eq!(found, [batch]);
    let found = lines(|| drop(ipset.add_all(&set, members()).unwrap_err()));
    assert_eq!(found, [batch, &format!("message=refused request=0 refusal=IPSET_ERR_EXIST in {batch}")]);
}

#[test]
fn work_on_a_worker_is_in_the_span_of_its_caller() {
    let found = lines(|| {
        let kernel = Kernel::new();
        let worker = smol::block_on(Worker::start(move || kernel.ipvs())).unwrap();
        let span = tracing::debug_span!(target: "lvs", "of the caller");
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        span.in_scope(|| {
            smol::block_on(worker.call(move |_| {
                tracing::dispatcher::with_default(&dispatch, || tracing::debug!(target: "lvs", "on the thread"));
            }));
        });
    });
    assert_eq!(found, ["of the caller", "message=on the thread in of the caller"]);
}
