//! Refusals of this crate and of the kernel: the reason and the text of each.

use std::net::UdpSocket;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipvs::{
    Change, Destination, Forwarding, Ipvs, Netmask, Persistence, PersistenceEngine, Scheduler, Service, ServiceFlags,
    SyncDaemon, SyncState, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
use lvs::netns::Namespace;
use lvs::{Cause, Error, Interface, Reason, Result};

use crate::ipvs::web;
use crate::lab::{Lab, Need, address, child_in_its_own_namespaces, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs];
        what_the_kernel_would_refuse_is_not_sent,
        what_is_there_already,
        what_is_not_there,
        modules_that_are_not_there_are_named,
        destinations_that_only_the_kernel_can_judge,
        daemons_that_only_the_kernel_can_judge,
        a_table_that_is_too_small_for_its_destinations,
        a_timeout_that_the_kernel_cannot_count,
    );
    all.extend(tests!(&[Need::Ipvs, Need::Program("unshare")]; root_of_a_child_user_namespace_has_no_privilege,));
    all
}

const SERVICE: &str = "10.96.0.10:443/tcp";

/// Checks the reason, that the predicates agree with it, and all of the text.
fn refused<T: std::fmt::Debug>(result: Result<T>, reason: Reason, text: &str) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.to_string(), text);
    assert!(matches!(error.cause(), Cause::Refused(refused) if refused.reason == reason), "{error:?}");
    let not_found =
        [Reason::ServiceNotFound, Reason::DestinationNotFound, Reason::DaemonNotFound, Reason::InterfaceNotFound];
    assert_eq!(error.is_already_exists(), reason == Reason::AlreadyExists);
    assert_eq!(error.is_not_found(), not_found.contains(&reason));
    assert_eq!(error.is_unavailable(), reason == Reason::Unavailable);
    assert!(!error.is_invalid_input() && !error.is_permission_denied());
}

fn server(text: &str) -> Destination {
    Destination::new(address(text))
}

fn daemon(state: SyncState, interface: &str) -> SyncDaemon {
    SyncDaemon::new(state, Interface::new(interface).unwrap(), 1)
}

fn with<T>(mut value: T, edit: impl FnOnce(&mut T)) -> T {
    edit(&mut value);
    value
}

fn what_the_kernel_would_refuse_is_not_sent(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let key = web().key;
    let limited = |upper, lower| {
        let upper = NonZeroU32::new(upper).unwrap();
        let thresholds = Some(Thresholds { upper, lower: NonZeroU32::new(lower) });
        with(server("10.244.1.1:443"), |server| server.thresholds = thresholds)
    };
    let with_netmask = |service, netmask| {
        let persistence = Some(Persistence::new(Duration::ZERO).netmask(netmask));
        with(service, |service: &mut Service| service.persistence = persistence)
    };
    let six = Service::tcp(address("[2001:db8::a]:443"), Scheduler::RR);
    let gue_without_port = Tunnel::Other { kind: 1, port: 0, flags: TunnelFlags::empty() };
    let timeouts = |tcp| Timeouts { tcp: Some(tcp), ..Timeouts::default() };
    let lone = with(daemon(SyncState::Master, "near"), |daemon| daemon.group = Some([10, 0, 0, 1].into()));
    let rows = [
        (
            Change::AddService(Service::tcp(address("10.96.0.10:0"), Scheduler::RR)),
            "port 0 (any port) needs a persistent service",
        ),
        (
            Change::AddService(web().persistent(Duration::from_millis(1500))),
            "the persistence timeout 1.5s is not in whole seconds",
        ),
        (
            Change::SetService(web().persistent(Persistence::LONGEST + Duration::from_secs(1))),
            "the persistence timeout 4294968s is above 4294967s",
        ),
        (
            Change::AddService(Service::tcp(address("[fe80::1%3]:80"), Scheduler::RR)),
            "a virtual service's address cannot have a scope (%interface)",
        ),
        (
            Change::AddService(with(web(), |service| service.flags = ServiceFlags::ONE_PACKET)),
            "one-packet scheduling is only for UDP and firewall-mark services",
        ),
        (
            Change::AddService(with_netmask(web(), Netmask::inet6(64).unwrap())),
            "an IPv6 persistence prefix on an IPv4 service",
        ),
        (
            Change::AddService(with_netmask(six, Netmask::inet([255, 255, 255, 0].into()))),
            "an IPv4 persistence netmask on an IPv6 service",
        ),
        (
            Change::AddDestination(key, server("10.244.1.1:443").weight(1 << 31)),
            "weight 2147483648 is above 2147483647",
        ),
        (Change::AddDestination(key, limited(1 << 31, 0)), "upper threshold 2147483648 is above 2147483647"),
        (Change::SetDestination(key, limited(5, 6)), "lower threshold 6 is above the upper one, 5"),
        (
            Change::AddDestination(key, server("[2001:db8::1]:443")),
            "a destination of another family than its inet service needs a tunnel",
        ),
        (
            Change::AddDestination(key, server("10.244.1.1:443").forwarding(Forwarding::Other(5))),
            "forwarding method 5 has no meaning",
        ),
        (
            Change::AddDestination(key, server("10.244.1.1:443").forwarding(Forwarding::Tunnel(gue_without_port))),
            "tunnel type 1 is no other one: it has a name in Tunnel",
        ),
        (
            Change::AddDestination(key, server("10.244.1.1:80").forwarding(Forwarding::DirectRoute)),
            "direct routing and tunnels leave the port as it is: it must be the service's, 443, or 0",
        ),
        (Change::AddDestination(key, server("224.0.0.1:443")), "224.0.0.1 is not the address of one host"),
        (Change::AddDestination(key, server("0.0.0.0:443")), "0.0.0.0 is not the address of one host"),
        (Change::SetDestination(key, server("255.255.255.255:443")), "255.255.255.255 is not the address of one host"),
        (Change::AddDestination(six.key, server("[ff02::1]:443")), "ff02::1 is not the address of one host"),
        (Change::SetTimeouts(timeouts(Duration::ZERO)), "a timeout of 0ns is not a number of whole seconds from 1 up"),
        (Change::StartDaemon(lone), "10.0.0.1 is not the address of a multicast group"),
    ];
    for (change, problem) in rows {
        // There is no such service and no such interface: the kernel would have said so, had it been asked.
        let error = ipvs.change(change).unwrap_err();
        assert!(error.is_invalid_input(), "{error}");
        assert_eq!(error.to_string(), format!("{change}: {problem}"));
    }
}

fn what_is_there_already(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let key = web().key;
    ipvs.add_service(web()).unwrap();
    ipvs.add_destination(key, server("10.244.1.1:6443")).unwrap();
    lab.add_interface();
    ipvs.start_daemon(&daemon(SyncState::Backup, "near")).unwrap();
    let exists = Reason::AlreadyExists;
    let other = Service::new(key, Scheduler::RR);
    refused(ipvs.add_service(other), exists, &format!("add service {SERVICE}: the service exists (EEXIST)"));
    assert_eq!(ipvs.service(key).unwrap().service, web());
    let text = format!("add destination 10.244.1.1:6443 to service {SERVICE}: the destination exists (EEXIST)");
    refused(ipvs.add_destination(key, server("10.244.1.1:6443").weight(7)), exists, &text);
    let text = "start the backup sync daemon on near: such a daemon runs already (EEXIST)";
    refused(ipvs.start_daemon(&daemon(SyncState::Backup, "near")), exists, text);
}

fn what_is_not_there(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let (key, at) = (web().key, address("10.244.1.1:6443"));
    let operations = |ipvs: &mut Ipvs| {
        [
            (ipvs.set_destination(key, Destination::new(at)), "set destination 10.244.1.1:6443 of"),
            (ipvs.update_destination(key, at, |_| {}), "update destination 10.244.1.1:6443 of"),
            (ipvs.delete_destination(key, at), "delete destination 10.244.1.1:6443 of"),
        ]
    };
    let mut rows = vec![
        (ipvs.service(key).map(drop), "read"),
        (ipvs.destinations(key).map(drop), "list destinations of"),
        (ipvs.set_service(web()), "set"),
        (ipvs.update_service(key, |_| {}), "update"),
        (ipvs.delete_service(key), "delete"),
        (ipvs.zero(key), "zero the counters of"),
        (ipvs.add_destination(key, Destination::new(at)), "add destination 10.244.1.1:6443 to"),
    ];
    rows.extend(operations(&mut ipvs));
    for (result, what) in rows {
        refused(result, Reason::ServiceNotFound, &format!("{what} service {SERVICE}: no such service (ESRCH)"));
    }
    ipvs.add_service(web()).unwrap();
    for (result, what) in operations(&mut ipvs) {
        let text = format!("{what} service {SERVICE}: no such destination");
        // An update reads the destinations first: the kernel is not asked to change one that it does not list.
        if what.starts_with("update") {
            let error = result.unwrap_err();
            assert!(matches!(error.cause(), Cause::Precondition { .. }) && error.errno().is_none(), "{error:?}");
            assert_eq!((error.to_string(), error.reason()), (text, Some(Reason::DestinationNotFound)));
        } else {
            refused(result, Reason::DestinationNotFound, &format!("{text} (ENOENT)"));
        }
    }
    for state in [SyncState::Master, SyncState::Backup] {
        let text = format!("stop the {state} sync daemon: no such daemon runs (ESRCH)");
        refused(ipvs.stop_daemon(state), Reason::DaemonNotFound, &text);
        let text = format!("start the {state} sync daemon on nowhere: no such interface (ENODEV)");
        refused(ipvs.start_daemon(&daemon(state, "nowhere")), Reason::InterfaceNotFound, &text);
    }
}

fn modules_that_are_not_there_are_named(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let unknown = Service::new(web().key, Scheduler::new("nosuch").unwrap());
    let engine = with(web(), |service| service.engine = PersistenceEngine::new("nosuch").ok());
    let no_scheduler = "no scheduler nosuch: the module ip_vs_nosuch is not loaded and could not be loaded (ENOENT)";
    let no_engine = "no scheduler wrr: the module ip_vs_wrr is not loaded and could not be loaded; or no persistence engine \
                     nosuch (module ip_vs_pe_nosuch) (ENOENT)";
    refused(ipvs.add_service(unknown), Reason::Unavailable, &format!("add service {SERVICE}: {no_scheduler}"));
    refused(ipvs.add_service(engine), Reason::Unavailable, &format!("add service {SERVICE}: {no_engine}"));
    ipvs.add_service(web()).unwrap();
    refused(ipvs.set_service(unknown), Reason::Unavailable, &format!("set service {SERVICE}: {no_scheduler}"));
    refused(ipvs.set_service(engine), Reason::Unavailable, &format!("set service {SERVICE}: {no_engine}"));
}

fn destinations_that_only_the_kernel_can_judge(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let six = Service::tcp(address("[2001:db8::a]:443"), Scheduler::RR);
    lab.add_interface();
    ipvs.add_service(web()).unwrap();
    ipvs.add_service(six).unwrap();
    let add = |address: &str, service: &str, why: &str| {
        format!("add destination {address} to service {service}: {why} (EINVAL)")
    };
    let inet = "the address is not a unicast address in this network namespace; or the namespace has no address of its own yet (bring up lo)";
    let text = add("10.9.9.255:443", SERVICE, inet);
    refused(ipvs.add_destination(web().key, server("10.9.9.255:443")), Reason::Invalid, &text);
    let inet6 =
        "the address is not a unicast address in this network namespace, or is link-local and not this machine's own";
    let text = add("[fe80::1]:443", "[2001:db8::a]:443/tcp", inet6);
    refused(ipvs.add_destination(six.key, server("[fe80::1]:443")), Reason::Invalid, &text);
    // Without an address of its own, not even lo's.
    let mut elsewhere = Namespace::create().unwrap().run(Ipvs::connect).unwrap().unwrap();
    elsewhere.add_service(web()).unwrap();
    let text = add("10.244.1.1:443", SERVICE, inet);
    refused(elsewhere.add_destination(web().key, server("10.244.1.1:443")), Reason::Invalid, &text);
    // Another family, while a sync daemon runs.
    let mixed = server("[2001:db8::1]:443").forwarding(Forwarding::Tunnel(Tunnel::Ipip));
    ipvs.start_daemon(&daemon(SyncState::Backup, "near")).unwrap();
    let why = "a sync daemon runs, and synchronisation does not support destinations of another family than their service's; or \
               the address is not a unicast address in this network namespace";
    let text = add("[2001:db8::1]:443", SERVICE, why);
    refused(ipvs.add_destination(web().key, mixed), Reason::Invalid, &text);
    ipvs.stop_daemon(SyncState::Backup).unwrap();
    ipvs.add_destination(web().key, mixed).unwrap();
}

fn daemons_that_only_the_kernel_can_judge(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    lab.add_interface();
    let text =
        "start the master sync daemon on far: the interface is down or has no address to send from (ENETUNREACH)";
    refused(ipvs.start_daemon(&daemon(SyncState::Master, "far")), Reason::Invalid, text);
    let taken = lab.run(|| UdpSocket::bind("0.0.0.0:258")).unwrap();
    let backup = with(daemon(SyncState::Backup, "near"), |daemon| daemon.port = NonZeroU16::new(258));
    let text = "start the backup sync daemon on near: another program has the daemon's UDP port (EADDRINUSE)";
    refused(ipvs.start_daemon(&backup), Reason::Busy, text);
    drop(taken);
    let mixed = server("[2001:db8::1]:443").forwarding(Forwarding::Tunnel(Tunnel::Ipip));
    ipvs.add_service(web()).unwrap();
    ipvs.add_destination(web().key, mixed).unwrap();
    let text = "start the backup sync daemon on near: a service has a destination of another family, which synchronisation \
                does not support (EINVAL)";
    refused(ipvs.start_daemon(&backup), Reason::Invalid, text);
}

fn a_table_that_is_too_small_for_its_destinations(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.add_service(web()).unwrap();
    // More than the 4093 places of the table, as kernels are built unless told otherwise.
    let servers =
        (1..=4096u16).map(|port| Change::AddDestination(web().key, Destination::new(([10, 244, 1, 1], port).into())));
    ipvs.batch(servers).unwrap();
    let text = format!(
        "set service {SERVICE}: the kernel rejects the service as invalid (with mh: more destinations than its table?) (EINVAL)"
    );
    refused(ipvs.set_service(Service::new(web().key, Scheduler::MH)), Reason::Invalid, &text);
    assert_eq!(ipvs.service(web().key).unwrap().service, web());
}

fn a_timeout_that_the_kernel_cannot_count(lab: &Lab) {
    let long = Timeouts { udp: Some(Duration::from_secs(u32::MAX.into())), ..Timeouts::default() };
    let text = "set the timeouts udp 4294967295s: a timeout is longer than the kernel can count (EINVAL)";
    refused(lab.ipvs().set_timeouts(&long), Reason::Invalid, text);
}

fn root_of_a_child_user_namespace_has_no_privilege(lab: &Lab) {
    let lines = child_in_its_own_namespaces(lab, "netlink");
    for (line, operation) in lines.iter().zip(["read the version of IPVS", "delete all services"]) {
        let why = "IPVS needs CAP_NET_ADMIN in the initial user namespace: run as root, outside of a container that has its own \
                   users (EPERM)";
        assert_eq!(*line, format!("permission denied: {operation}: {why}"));
    }
    assert_eq!(lines.len(), 3, "{lines:?}");
}
