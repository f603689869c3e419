//! Many services and changes at once, and lists of them.

use std::collections::HashSet;

use libtest_mimic::Trial;
use lvs::Options;
use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service, ServiceKey};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use crate::ipvs::{read_destinations, web};
use crate::lab::{Lab, Need, address, tests};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs];
        a_thousand_services_are_listed_with_their_destinations,
        twenty_thousand_services_are_listed_completely,
        a_list_that_is_given_up_does_not_spoil_the_next,
        twenty_thousand_failures_are_told_apart,
        a_small_receive_buffer_loses_nothing,
        a_batch_goes_on_after_a_failure,
        a_panicking_iterator_leaves_nothing_behind,
        a_forged_datagram_is_ignored,
    )
}

/// Services at 10.0.0.1 and all ports of it from 1 on.
pub(crate) fn many(count: u16) -> impl Iterator<Item = Service> + Clone {
    (1..=count).map(|port| Service::tcp(([10, 0, 0, 1], port).into(), Scheduler::RR))
}

fn a_thousand_services_are_listed_with_their_destinations(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let changes = many(1000).zip(0u32..).flat_map(|(service, i)| {
        let destinations = [1, 2, 3].into_iter().take(i as usize % 4).map(move |host| {
            let destination = Destination::new(([10, 244, 0, host], 80).into()).weight(i);
            Change::AddDestination(service.key, destination)
        });
        [Change::AddService(service)].into_iter().chain(destinations)
    });
    ipvs.batch(changes).unwrap();
    let table = ipvs.table().unwrap();
    assert_eq!(table.len(), 1000);
    for (info, destinations) in table {
        let ServiceKey::Address { address, .. } = info.key() else { panic!("{info:?}") };
        let i = usize::from(address.port()) - 1;
        assert_eq!(destinations.len(), i % 4, "{info:?}");
        assert!(destinations.iter().all(|destination| destination.destination.weight as usize == i));
    }
}

fn twenty_thousand_services_are_listed_completely(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let all: HashSet<_> = many(20_000).collect();
    ipvs.batch(many(20_000).map(Change::AddService)).unwrap();
    // Linux 7.x may still be resizing its table: no service may be missing from this list all the same.
    let listed = ipvs.services().unwrap();
    assert_eq!(listed.len(), 20_000);
    assert_eq!(listed.into_iter().map(|info| info.service).collect::<HashSet<_>>(), all);
    // A stream may repeat some meanwhile; one that does not is complete.
    let complete = (0..10).find_map(|_| {
        let listed: Vec<_> = ipvs.stream_services().unwrap().map(|info| info.unwrap().service).collect();
        assert_eq!(listed.len(), 20_000);
        let seen: HashSet<_> = listed.into_iter().collect();
        (seen.len() == 20_000).then_some(seen)
    });
    assert_eq!(complete, Some(all));
}

fn a_list_that_is_given_up_does_not_spoil_the_next(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.batch(many(2000).map(Change::AddService)).unwrap();
    for read in [0, 1, 150, 1999] {
        assert_eq!(ipvs.stream_services().unwrap().take(read).count(), read);
        assert_eq!(ipvs.version().unwrap().release.0, 1);
        assert_eq!(ipvs.stream_services().unwrap().take(read).count(), read);
        assert!(ipvs.add_service(many(1).next().unwrap()).unwrap_err().is_already_exists());
        assert_eq!(ipvs.services().unwrap().len(), 2000);
    }
}

fn twenty_thousand_failures_are_told_apart(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let error = ipvs.batch(many(20_000).map(|service| Change::DeleteService(service.key))).unwrap_err();
    assert!(error.interruption.is_none());
    assert_eq!((error.failures.len(), error.done), (20_000, 20_000));
    for (index, (failure, service)) in error.failures.iter().zip(many(20_000)).enumerate() {
        assert_eq!(failure.position().unwrap(), index);
        assert_eq!(failure.change, Change::DeleteService(service.key));
        assert!(failure.error.is_not_found());
        assert_eq!(failure.error.operation(), failure.change.to_string());
    }
}

fn a_small_receive_buffer_loses_nothing(lab: &Lab) {
    for receive_buffer in [0, 100_000, 106_496, 400_000, 1 << 24, usize::MAX] {
        let mut options = Options::default();
        options.receive_buffer = receive_buffer;
        let mut ipvs = lab.run(|| Ipvs::connect_with(&options)).unwrap();
        let error = ipvs.batch(many(3000).map(|service| Change::DeleteService(service.key))).unwrap_err();
        assert_eq!(error.failures.len(), 3000);
        ipvs.batch(many(3000).map(Change::AddService)).unwrap();
        assert_eq!(ipvs.services().unwrap().len(), 3000);
        // The rest of a list that ended early must not take the room of the failures.
        assert_eq!(ipvs.stream_services().unwrap().take(5).count(), 5);
        let error = ipvs.batch(many(3000).map(Change::AddService)).unwrap_err();
        assert_eq!((error.failures.len(), error.done), (3000, 3000), "{receive_buffer}: {error}");
        assert_eq!(ipvs.stream_services().unwrap().take(5).count(), 5);
        assert!(ipvs.add_service(many(1).next().unwrap()).unwrap_err().is_already_exists());
        ipvs.clear().unwrap();
    }
}

fn a_batch_goes_on_after_a_failure(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let server = Destination::new(address("10.244.1.1:443"));
    let error = ipvs
        .batch([
            Change::AddService(web()),
            Change::AddService(web()),
            Change::AddDestination(web().key, server),
            Change::AddDestination(web().key, server.weight(u32::MAX)),
            Change::AddDestination(web().key, server),
            Change::SetDestination(web().key, server.weight(258)),
            Change::DeleteService(ServiceKey::udp(address("10.96.0.10:443"))),
        ])
        .unwrap_err();
    let failed: Vec<_> =
        error.failures.iter().map(|failure| (failure.position().unwrap(), failure.error.errno())).collect();
    assert_eq!(failed, [(1, Some(17)), (3, None), (4, Some(17)), (6, Some(3))]);
    assert_eq!(error.done, 7);
    let text = "4 changes failed; the first: add service 10.96.0.10:443/tcp: the service exists (EEXIST) (change 1)";
    assert_eq!(error.to_string(), text);
    assert_eq!(read_destinations(&mut ipvs, web().key), HashSet::from([server.weight(258)]));
}

fn a_panicking_iterator_leaves_nothing_behind(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let changes = many(20_000).map(|service| {
        let ServiceKey::Address { address, .. } = service.key else { unreachable!() };
        assert!(address.port() != 10_500, "as planned");
        Change::AddService(service)
    });
    let batch = std::panic::AssertUnwindSafe(|| ipvs.batch(changes));
    assert!(std::panic::catch_unwind(batch).is_err());
    let made = ipvs.services().unwrap().len();
    assert!(made < 10_500, "{made}");
    assert!(ipvs.delete_service(ServiceKey::tcp(address("10.0.0.1:20000"))).unwrap_err().is_not_found());
    assert_eq!(ipvs.services().unwrap().len(), made);
}

/// The generic netlink sockets of the machine: port and inode.
fn netlink_ports() -> HashSet<u32> {
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1] == "16").map(|row| row[2].parse().unwrap()).collect()
}

fn a_forged_datagram_is_ignored(lab: &Lab) {
    let before = lab.run(netlink_ports);
    let mut ipvs = lab.ipvs();
    ipvs.batch(many(300).map(Change::AddService)).unwrap();
    let ports: Vec<_> = lab.run(netlink_ports).difference(&before).copied().collect();
    // One for lists of destinations, one for all the rest.
    assert_eq!(ports.len(), 2);
    for port in ports {
        // An acknowledgement of whatever the client asked, for a good range of sequence numbers.
        let forged: Vec<u8> = (0..2000u32)
            .flat_map(|sequence| {
                let words = [36, 2, sequence, port, 0, 0, 0, 0, 0];
                words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>()
            })
            .collect();
        let sent = lab.run(|| Socket::new(NETLINK_GENERIC).unwrap().send_to(&forged, &SocketAddr::new(port, 0), 0));
        // The kernel itself keeps it away from a connected socket.
        assert_eq!(sent.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }
    assert!(ipvs.add_service(many(1).next().unwrap()).unwrap_err().is_already_exists());
    assert_eq!(ipvs.services().unwrap().len(), 300);
}
