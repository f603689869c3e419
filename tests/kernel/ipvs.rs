//! Operations on the table, and what the kernel refuses.

use std::collections::HashSet;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipvs::{
    Change, Destination, Forwarding, Ipvs, Netmask, Persistence, PersistenceEngine, Scheduler, Service, ServiceFlags,
    ServiceKey, SyncDaemon, SyncState, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
use lvs::{Cause, Error, Family, Interface, Reason};

use crate::lab::{Lab, Need, address, tests};
use crate::unchecked::Unchecked;

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs];
        info_has_a_version,
        every_kind_of_service_is_read_as_it_was_written,
        every_kind_of_destination_is_read_as_it_was_written,
        an_empty_table_is_an_empty_list,
        a_refused_replacement_changes_nothing,
        replacing_a_service_replaces_all_of_it,
        updating_keeps_what_was_not_meant,
        an_update_cannot_change_the_key,
        deleting_a_service_deletes_its_destinations,
        flush_empties_the_table,
        what_another_program_set_can_be_updated,
        timeouts_are_set_and_left_alone,
        sync_daemons_start_and_stop,
    )
}

fn mark(mark: u32) -> NonZeroU32 {
    NonZeroU32::new(mark).unwrap()
}

pub(crate) fn web() -> Service {
    Service::tcp(address("10.96.0.10:443"), Scheduler::WRR)
}

/// Services of every kind, with values that differ when their bytes are swapped.
fn services() -> Vec<Service> {
    let v4_mask = Netmask::inet("255.255.240.0".parse().unwrap());
    let mut all = vec![
        web(),
        Service::udp(address("10.96.0.10:443"), Scheduler::RR),
        Service::sctp(address("10.96.0.10:443"), Scheduler::LC),
        Service::tcp(address("[2001:db8::a]:443"), Scheduler::WLC),
        Service::udp(address("[2001:db8::a]:443"), Scheduler::SED),
        Service::sctp(address("[2001:db8::a]:443"), Scheduler::NQ),
        Service::firewall_mark(mark(0x0102_0304), Family::Inet, Scheduler::FO),
        Service::firewall_mark(mark(0x0102_0304), Family::Inet6, Scheduler::OVF),
        Service::firewall_mark(mark(0xfffe_fdfc), Family::Inet, Scheduler::DH),
        Service::tcp(address("10.96.0.11:258"), Scheduler::LBLC).persistent(Duration::from_secs(258)),
        Service::tcp(address("10.96.0.12:0"), Scheduler::LBLCR).persistent(Persistence::LONGEST),
    ];
    let mut masked = Service::tcp(address("10.96.0.13:80"), Scheduler::NONE);
    masked.persistence = Some(Persistence::new(Duration::from_secs(600)).netmask(v4_mask));
    let mut prefixed = Service::tcp(address("[2001:db8::b]:80"), Scheduler::RR);
    prefixed.persistence = Some(Persistence::new(Duration::from_secs(258)).netmask(Netmask::inet6(65).unwrap()));
    let mut hashed = Service::tcp(address("10.96.0.14:80"), Scheduler::SH);
    hashed.flags = ServiceFlags::FALLBACK | ServiceFlags::PORT;
    let mut maglev = Service::tcp(address("10.96.0.15:80"), Scheduler::MH);
    maglev.flags = ServiceFlags::PORT;
    let mut one_packet = Service::udp(address("10.96.0.16:53"), Scheduler::RR);
    one_packet.flags = ServiceFlags::ONE_PACKET | ServiceFlags::SCHEDULER_3;
    let mut sip = Service::udp(address("10.96.0.17:5060"), Scheduler::RR).persistent(Duration::from_secs(300));
    sip.engine = Some(PersistenceEngine::SIP);
    all.extend([masked, prefixed, hashed, maglev, one_packet, sip]);
    all
}

/// Destinations of every kind for an IPv4 service at port 443.
fn destinations() -> Vec<Destination> {
    let gue = |port, flags| Forwarding::Tunnel(Tunnel::Gue { port: NonZeroU16::new(port).unwrap(), flags });
    let gre = |flags| Forwarding::Tunnel(Tunnel::Gre { flags });
    let mut all = vec![
        Destination::new(address("10.244.1.1:6443")).weight(258),
        Destination::new(address("10.244.1.2:0")).weight(0),
        Destination::new(address("10.244.1.3:443")).weight(i32::MAX as u32),
        Destination::new(address("10.244.1.4:443")).forwarding(Forwarding::Local),
        Destination::new(address("10.244.1.5:443")).forwarding(Forwarding::DirectRoute),
        Destination::new(address("10.244.1.6:443")).forwarding(Forwarding::Bypass),
        Destination::new(address("10.244.1.7:443")).forwarding(Forwarding::Tunnel(Tunnel::Ipip)),
        Destination::new(address("10.244.1.8:443")).forwarding(gue(6080, TunnelFlags::CHECKSUM)),
        Destination::new(address("10.244.1.9:443")).forwarding(gue(258, TunnelFlags::REMOTE_CHECKSUM)),
        Destination::new(address("10.244.1.10:443")).forwarding(gre(TunnelFlags::empty())),
        Destination::new(address("10.244.1.11:443")).forwarding(gre(TunnelFlags::CHECKSUM)),
        Destination::new(address("[2001:db8::1:1]:443")).forwarding(Forwarding::Tunnel(Tunnel::Ipip)),
    ];
    let mut limited = Destination::new(address("10.244.1.12:443"));
    limited.thresholds = Some(Thresholds { upper: mark(0x0102_0304), lower: Some(mark(0x0001_0203)) });
    let mut upper = Destination::new(address("10.244.1.13:443"));
    upper.thresholds = Some(Thresholds { upper: mark(258), lower: None });
    all.extend([limited, upper]);
    all
}

fn read_services(ipvs: &mut Ipvs) -> HashSet<Service> {
    ipvs.services().unwrap().into_iter().map(|info| info.service).collect()
}

pub(crate) fn read_destinations(ipvs: &mut Ipvs, key: ServiceKey) -> HashSet<Destination> {
    ipvs.destinations(key).unwrap().into_iter().map(|info| info.destination).collect()
}

fn reason(error: &Error) -> Option<Reason> {
    match error.cause() {
        Cause::Refused(refused) => Some(refused.reason),
        _ => None,
    }
}

fn info_has_a_version(lab: &Lab) {
    let info = lab.ipvs().version().unwrap();
    assert_eq!((info.release.0, info.release.1), (1, 2));
}

fn every_kind_of_service_is_read_as_it_was_written(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    for service in services() {
        ipvs.add_service(service).unwrap();
        let read = ipvs.service(service.key).unwrap();
        assert_eq!(read.service, service);
        assert_eq!(read.stats, Default::default());
    }
    assert_eq!(read_services(&mut ipvs), services().into_iter().collect());
}

fn every_kind_of_destination_is_read_as_it_was_written(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.add_service(web()).unwrap();
    for destination in destinations() {
        ipvs.add_destination(web().key, destination).unwrap();
    }
    assert_eq!(read_destinations(&mut ipvs, web().key), destinations().into_iter().collect());
    for info in ipvs.destinations(web().key).unwrap() {
        assert_eq!((info.active_connections, info.inactive_connections, info.persistent_connections), (0, 0, 0));
    }
    for destination in destinations() {
        ipvs.delete_destination(web().key, destination.address).unwrap();
    }
    assert!(ipvs.destinations(web().key).unwrap().is_empty());
}

fn an_empty_table_is_an_empty_list(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    assert!(ipvs.services().unwrap().is_empty());
    assert!(ipvs.table().unwrap().is_empty());
}

fn a_refused_replacement_changes_nothing(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let service = web().persistent(Duration::from_secs(258));
    ipvs.add_service(service).unwrap();
    let error = ipvs.set_service(Service::new(service.key, Scheduler::new("nosuch").unwrap())).unwrap_err();
    assert!(error.is_unavailable());
    assert_eq!(ipvs.service(service.key).unwrap().service, service);
}

fn replacing_a_service_replaces_all_of_it(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let mut sip = Service::udp(address("10.96.0.17:5060"), Scheduler::SH).persistent(Duration::from_secs(300));
    sip.engine = Some(PersistenceEngine::SIP);
    sip.flags = ServiceFlags::PORT;
    ipvs.add_service(sip).unwrap();
    let plain = Service::new(sip.key, Scheduler::RR);
    ipvs.set_service(plain).unwrap();
    assert_eq!(ipvs.service(sip.key).unwrap().service, plain);
}

fn updating_keeps_what_was_not_meant(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    for mut service in services() {
        ipvs.add_service(service).unwrap();
        ipvs.update_service(service.key, |service| service.scheduler = Scheduler::LC).unwrap();
        service.scheduler = Scheduler::LC;
        assert_eq!(ipvs.service(service.key).unwrap().service, service);
    }
    for mut destination in destinations() {
        ipvs.add_destination(web().key, destination).unwrap();
        ipvs.update_destination(web().key, destination.address, |destination| destination.weight = 77).unwrap();
        destination.weight = 77;
        assert!(read_destinations(&mut ipvs, web().key).contains(&destination), "{destination:?}");
    }
}

fn an_update_cannot_change_the_key(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let destination = Destination::new(address("10.244.1.1:6443"));
    ipvs.add_service(web()).unwrap();
    ipvs.add_destination(web().key, destination).unwrap();
    let other = ServiceKey::udp(address("10.96.0.10:443"));
    assert!(ipvs.update_service(web().key, |service| service.key = other).unwrap_err().is_invalid_input());
    let update = ipvs.update_destination(web().key, destination.address, |server| server.address.set_port(1));
    assert!(update.unwrap_err().is_invalid_input());
    assert_eq!(ipvs.table().unwrap().len(), 1);
}

fn deleting_a_service_deletes_its_destinations(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.add_service(web()).unwrap();
    ipvs.add_destination(web().key, Destination::new(address("10.244.1.1:443"))).unwrap();
    ipvs.delete_service(web().key).unwrap();
    ipvs.add_service(web()).unwrap();
    assert!(ipvs.destinations(web().key).unwrap().is_empty());
}

fn flush_empties_the_table(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.batch(services().into_iter().map(Change::AddService)).unwrap();
    ipvs.clear().unwrap();
    assert!(ipvs.services().unwrap().is_empty());
    ipvs.clear().unwrap();
}

fn what_another_program_set_can_be_updated(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.add_service(web()).unwrap();
    let odd = Destination::new(address("10.244.1.1:8080")).forwarding(Forwarding::DirectRoute);
    assert!(ipvs.add_destination(web().key, odd).unwrap_err().is_invalid_input());
    Unchecked::connect(lab).change(Change::AddDestination(web().key, odd)).unwrap();
    ipvs.update_destination(web().key, odd.address, |server| server.weight = 0).unwrap();
    assert_eq!(read_destinations(&mut ipvs, web().key), HashSet::from([odd.weight(0)]));
    // The caller's edit is checked.
    let right = Destination::new(address("10.244.1.2:443"));
    ipvs.add_destination(web().key, right).unwrap();
    let update = ipvs.update_destination(web().key, right.address, |server| server.weight = u32::MAX).unwrap_err();
    assert!(update.is_invalid_input(), "{update}");
    assert!(update.operation().starts_with("update destination 10.244.1.2:443"), "{update}");

    // So it is if another value was not.
    let thresholds = Thresholds { upper: NonZeroU32::MAX, lower: None };
    let update = ipvs.update_destination(web().key, odd.address, |server| server.thresholds = Some(thresholds));
    assert!(update.unwrap_err().is_invalid_input());
    let mut odd = Service::tcp(address("10.96.0.9:80"), Scheduler::RR).flags(ServiceFlags::ONE_PACKET);
    assert!(ipvs.add_service(odd).unwrap_err().is_invalid_input());
    Unchecked::connect(lab).change(Change::AddService(odd)).unwrap();
    for persistence in [
        Persistence::new(Duration::from_millis(1500)),
        Persistence::new(Persistence::LONGEST + Duration::from_secs(1)),
        Persistence::new(Duration::from_secs(300)).netmask(Netmask::inet6(64).unwrap()),
    ] {
        let update = ipvs.update_service(odd.key, |service| service.persistence = Some(persistence)).unwrap_err();
        assert!(update.is_invalid_input() && update.to_string().contains("persistence"), "{update}");
    }
    odd.persistence = Some(Persistence::new(Duration::from_secs(300)));
    ipvs.update_service(odd.key, |service| service.persistence = odd.persistence).unwrap();
    assert_eq!(ipvs.service(odd.key).unwrap().service, odd);
}

fn timeouts_are_set_and_left_alone(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let before = ipvs.timeouts().unwrap();
    assert!(before.tcp.is_some() && before.tcp_fin.is_some() && before.udp.is_some(), "{before:?}");
    let mut timeouts = Timeouts { tcp: seconds(258), tcp_fin: None, udp: seconds(259) };
    ipvs.set_timeouts(&timeouts).unwrap();
    timeouts.tcp_fin = before.tcp_fin;
    assert_eq!(ipvs.timeouts().unwrap(), timeouts);
    let mut fin = Timeouts { tcp_fin: seconds(260), ..Timeouts::default() };
    ipvs.set_timeouts(&fin).unwrap();
    timeouts.tcp_fin = fin.tcp_fin;
    assert_eq!(ipvs.timeouts().unwrap(), timeouts);
    for wrong in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(1 << 32)] {
        fin.tcp_fin = Some(wrong);
        assert!(ipvs.set_timeouts(&fin).unwrap_err().is_invalid_input());
    }
    fin.tcp_fin = seconds(u32::MAX.into());
    assert_eq!(reason(&ipvs.set_timeouts(&fin).unwrap_err()), Some(Reason::Invalid));
    ipvs.set_timeouts(&Timeouts::default()).unwrap();
    assert_eq!(ipvs.timeouts().unwrap(), timeouts);
    ipvs.set_timeouts(&before).unwrap();
}

fn sync_daemons_start_and_stop(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    lab.add_interface();
    assert_eq!(ipvs.daemons().unwrap(), []);
    let near = Interface::new("near").unwrap();
    let master = SyncDaemon::new(SyncState::Master, near, 77);
    ipvs.start_daemon(&master).unwrap();
    let mut backup = SyncDaemon::new(SyncState::Backup, near, 0);
    backup.max_length = NonZeroU16::new(1400);
    backup.group = Some([224, 0, 1, 99].into());
    backup.port = NonZeroU16::new(258);
    backup.ttl = 7.try_into().ok();
    ipvs.start_daemon(&backup).unwrap();
    let running = ipvs.daemons().unwrap();
    assert_eq!(running[1], backup);
    assert_eq!((running[0].state, running[0].interface, running[0].sync_id), (SyncState::Master, near, 77));
    assert_eq!(running[0].port, NonZeroU16::new(8848));
    assert_eq!(running[0].group, Some([224, 0, 0, 81].into()));
    assert!(ipvs.start_daemon(&master).unwrap_err().is_already_exists());
    ipvs.stop_daemon(SyncState::Master).unwrap();
    assert_eq!(reason(&ipvs.stop_daemon(SyncState::Master).unwrap_err()), Some(Reason::DaemonNotFound));
    ipvs.stop_daemon(SyncState::Backup).unwrap();
    assert_eq!(ipvs.daemons().unwrap(), []);
    let nowhere = SyncDaemon::new(SyncState::Master, Interface::new("nowhere").unwrap(), 1);
    assert_eq!(reason(&ipvs.start_daemon(&nowhere).unwrap_err()), Some(Reason::InterfaceNotFound));
    backup.group = Some([10, 0, 0, 1].into());
    assert!(ipvs.start_daemon(&backup).unwrap_err().is_invalid_input());
    backup.group = Some("ff05::258".parse().unwrap());
    ipvs.start_daemon(&backup).unwrap();
    assert_eq!(ipvs.daemons().unwrap(), [backup]);
    ipvs.stop_daemon(SyncState::Backup).unwrap();
    for length in [65488, u16::MAX] {
        backup.max_length = NonZeroU16::new(length);
        assert!(ipvs.start_daemon(&backup).unwrap_err().is_invalid_input());
    }
    backup.max_length = NonZeroU16::new(65487);
    // One that has not begun is stopped without an answer of the kernel's own.
    for _ in 0..20 {
        ipvs.start_daemon(&backup).unwrap();
        ipvs.stop_daemon(SyncState::Backup).unwrap();
        ipvs.batch([Change::StartDaemon(backup), Change::StopDaemon(SyncState::Backup)]).unwrap();
    }
    assert_eq!(ipvs.daemons().unwrap(), []);
}
