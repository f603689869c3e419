//! Flows of the connection tracker.

use lvs::Family;
use lvs::conntrack::{Conntrack, Flow, Tuple};
use lvs::testing::Kernel;

use crate::everywhere::Nature::{One, Stream};
use crate::everywhere::{Bench, Operation, all, any_byte, lines};

struct Flows;

/// The original tuple and the reply tuple of a flow that is not translated.
fn tuples(port: u16) -> (Tuple, Tuple) {
    let (source, destination) = (([192, 0, 2, 1], port).into(), ([10, 96, 0, 10], 53).into());
    (Tuple { source, destination, zone: 258 }, Tuple { source: destination, destination: source, zone: 258 })
}

fn flow(conntrack: &mut Conntrack, port: u16) -> Flow {
    let flows = conntrack.flows(Family::Inet).unwrap();
    flows.into_iter().find(|flow| flow.original.source.port() == port).unwrap()
}

impl Bench for Flows {
    type Client = (Kernel, Conntrack);

    fn kernel() -> Kernel {
        let kernel = Kernel::new();
        for port in 4000..4012 {
            let (original, reply) = tuples(port);
            kernel.add_flow(original, reply).unwrap();
        }
        kernel
    }

    fn connect(kernel: &Kernel) -> Self::Client {
        (kernel.clone(), kernel.conntrack())
    }

    fn state((_, conntrack): &mut Self::Client) -> String {
        format!("{:?}", conntrack.flows(Family::Inet).unwrap())
    }

    fn works((kernel, conntrack): &mut Self::Client) {
        let (original, reply) = tuples(5000);
        let added = kernel.add_flow(original, reply).unwrap();
        assert_eq!(flow(conntrack, 5000), added);
        conntrack.delete(&added).unwrap();
        assert!(conntrack.delete(&added).unwrap_err().is_not_found());
    }
}

/// The flow as it was added.
fn fourth() -> Flow {
    flow(&mut Flows::kernel().conntrack(), 4004)
}

const OPERATIONS: [Operation<(Kernel, Conntrack)>; 3] = [
    Operation {
        name: "list the UDP flows of the family inet",
        nature: Stream,
        run: |(_, conntrack)| conntrack.flows(Family::Inet).map(lines),
    },
    Operation {
        name: "list the UDP flows of the family inet",
        nature: Stream,
        run: |(_, conntrack)| {
            conntrack.stream_flows(Family::Inet)?.map(|flow| flow.map(|flow| flow.to_string())).collect()
        },
    },
    Operation {
        name: "delete flow 192.0.2.1:4004 -> 10.96.0.10:53/udp",
        nature: One,
        run: |(_, conntrack)| conntrack.delete(&fourth()).map(|()| Vec::new()),
    },
];

#[test]
fn every_fault_is_reported_and_the_next_call_works() {
    let tried = all::<Flows>(&OPERATIONS, &[]);
    assert!(tried > 100, "{tried}");
}

#[test]
fn whichever_byte_is_wrong_the_next_call_works() {
    any_byte::<Flows>(&OPERATIONS);
}

#[test]
fn only_the_flow_itself_is_deleted_and_the_requests_are_recorded() {
    let kernel = Flows::kernel();
    let mut conntrack = kernel.conntrack();
    let _ = kernel.sent();
    let flow = flow(&mut conntrack, 4004);
    let mut later = flow;
    later.id += 100;
    assert!(conntrack.delete(&later).unwrap_err().is_not_found());
    let mut elsewhere = flow;
    elsewhere.reply.zone = 0;
    assert!(!conntrack.remove(&elsewhere).unwrap().is_change());
    assert!(conntrack.remove(&flow).unwrap().is_change());
    let sent = kernel.sent();
    let gone = "delete a flow that has ended";
    assert_eq!(sent.changes, [gone, gone, "delete flow 192.0.2.1:4004 -> 10.96.0.10:53/udp"]);
    assert_eq!(sent.queries, ["list the UDP flows of the family inet"]);
    assert_eq!(conntrack.flows(Family::Inet).unwrap().len(), 11);
    assert_eq!(conntrack.flows(Family::Inet6).unwrap(), []);
}
