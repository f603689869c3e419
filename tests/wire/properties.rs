//! Properties of all values and all bytes.

use crate::values::*;

pub(crate) fn families() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Inet), Just(Family::Inet6)]
}

pub(crate) fn ip(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Inet => any::<Ipv4Addr>().prop_map(IpAddr::from).boxed(),
        Family::Inet6 => any::<Ipv6Addr>().prop_map(IpAddr::from).boxed(),
    }
}

pub(crate) fn addresses() -> impl Strategy<Value = SocketAddr> {
    (families().prop_flat_map(ip), any::<u16>()).prop_map(SocketAddr::from)
}

pub(crate) fn keys() -> BoxedStrategy<ServiceKey> {
    prop_oneof![
        2 => (any::<u16>(), addresses())
            .prop_map(|(protocol, address)| ServiceKey::Address { protocol: Protocol(protocol), address }),
        1 => (any::<NonZeroU32>(), families()).prop_map(|(mark, family)| ServiceKey::FirewallMark { mark, family }),
    ]
    .boxed()
}

pub(crate) fn name(longest: usize) -> impl Strategy<Value = String> {
    // Any text without a zero byte; those of more than a byte for each character are shorter.
    vec(prop_oneof![3 => b'!'..=b'~', 1 => 1..=127u8], 1..=longest).prop_map(|bytes| String::from_utf8(bytes).unwrap())
}

pub(crate) fn services() -> BoxedStrategy<Service> {
    keys()
        .prop_flat_map(|key| {
            let netmask = match key.family() {
                Family::Inet => any::<Ipv4Addr>().prop_map(Netmask::inet).boxed(),
                Family::Inet6 => (1..=128u8).prop_map(|prefix| Netmask::inet6(prefix).unwrap()).boxed(),
            };
            let netmask = prop_oneof![1 => Just(Netmask::HOST), 3 => netmask];
            let persistence = (any::<u32>(), netmask)
                .prop_map(|(timeout, netmask)| Persistence::new(Duration::from_secs(timeout.into())).netmask(netmask));
            let engine =
                prop::option::of(name(16)).prop_map(|name| name.map(|name| PersistenceEngine::new(&name).unwrap()));
            let scheduler = name(15).prop_map(|name| Scheduler::new(&name).unwrap());
            let flags = any::<u32>().prop_map(|bits| ServiceFlags::from_bits_retain(bits & !3));
            (scheduler, prop::option::of(persistence), engine, flags).prop_map(
                move |(scheduler, persistence, engine, flags)| {
                    let mut service = Service::new(key, scheduler);
                    (service.persistence, service.engine, service.flags) = (persistence, engine, flags);
                    service
                },
            )
        })
        .boxed()
}

pub(crate) fn tunnels() -> impl Strategy<Value = Tunnel> {
    let flags = || any::<u16>().prop_map(TunnelFlags::from_bits_retain);
    prop_oneof![
        Just(Tunnel::Ipip),
        (any::<NonZeroU16>(), flags()).prop_map(|(port, flags)| Tunnel::Gue { port, flags }),
        flags().prop_map(|flags| Tunnel::Gre { flags }),
        (3..=u8::MAX, any::<u16>(), flags()).prop_map(|(kind, port, flags)| Tunnel::Other { kind, port, flags }),
        flags().prop_map(|flags| Tunnel::Other { kind: 1, port: 0, flags }),
    ]
}

pub(crate) fn destinations() -> BoxedStrategy<Destination> {
    let forwarding = prop_oneof![
        1 => Just(Forwarding::Masquerade),
        1 => Just(Forwarding::Local),
        3 => tunnels().prop_map(Forwarding::Tunnel),
        1 => Just(Forwarding::DirectRoute),
        1 => Just(Forwarding::Bypass),
        1 => (5..=7u32).prop_map(Forwarding::Other),
    ];
    let lower = prop_oneof![Just(0), any::<u32>()];
    let thresholds =
        (any::<NonZeroU32>(), lower).prop_map(|(upper, lower)| Thresholds { upper, lower: NonZeroU32::new(lower) });
    (addresses(), forwarding, any::<u32>(), prop::option::of(thresholds))
        .prop_map(|(address, forwarding, weight, thresholds)| {
            let mut destination = Destination::new(address).weight(weight).forwarding(forwarding);
            destination.thresholds = thresholds;
            destination
        })
        .boxed()
}

pub(crate) fn states() -> impl Strategy<Value = SyncState> {
    prop_oneof![Just(SyncState::Master), Just(SyncState::Backup)]
}

pub(crate) fn daemons() -> BoxedStrategy<SyncDaemon> {
    let interface = name(15).prop_filter_map("no interface's name", |name| Interface::new(&name).ok());
    let group = prop::option::of(families().prop_flat_map(ip));
    let rest = (any::<u16>(), group, any::<u16>(), any::<u8>());
    (states(), interface, any::<u8>(), rest)
        .prop_map(|(state, interface, sync_id, (max_length, group, port, ttl))| {
            let mut daemon = SyncDaemon::new(state, interface, sync_id);
            daemon.max_length = NonZeroU16::new(max_length);
            daemon.group = group;
            daemon.port = NonZeroU16::new(port);
            daemon.ttl = NonZeroU8::new(ttl);
            daemon
        })
        .boxed()
}

pub(crate) fn some_timeouts() -> impl Strategy<Value = Timeouts> {
    let timeout = || prop::option::of((1..=u32::MAX).prop_map(u64::from));
    (timeout(), timeout(), timeout()).prop_map(|(tcp, tcp_fin, udp)| timeouts(tcp, tcp_fin, udp))
}

fn requests() -> BoxedStrategy<Message> {
    let changes = prop_oneof![
        3 => services().prop_map(Change::AddService),
        1 => services().prop_map(Change::SetService),
        1 => keys().prop_map(Change::DeleteService),
        3 => (keys(), destinations()).prop_map(|(key, destination)| Change::AddDestination(key, destination)),
        1 => (keys(), destinations()).prop_map(|(key, destination)| Change::SetDestination(key, destination)),
        1 => (keys(), addresses()).prop_map(|(key, address)| Change::DeleteDestination(key, address)),
        1 => keys().prop_map(Change::Zero),
        1 => Just(Change::ZeroAll),
        1 => prop_oneof![Just(Change::Clear), states().prop_map(Change::StopDaemon)],
    ];
    let queries = prop_oneof![
        keys().prop_map(Query::Service),
        Just(Query::Services),
        keys().prop_map(Query::Destinations),
        Just(Query::Version),
        Just(Query::Timeouts),
        Just(Query::Daemons),
    ];
    prop_oneof![3 => changes.prop_map(Message::from), 1 => queries.prop_map(Message::from)].boxed()
}

/// The bytes of an answer, and what they say.
fn answers() -> BoxedStrategy<(u8, Vec<u8>, Message)> {
    let read = |command, bytes: Vec<u8>| decode(command, &bytes).map(|message| (command, bytes, message)).unwrap();
    prop_oneof![
        (services(), any::<[u64; 10]>())
            .prop_map(move |(service, numbers)| read(NEW_SERVICE, service_answer(service, numbers))),
        (destinations(), any::<[u32; 3]>(), any::<[u64; 10]>()).prop_map(move |(destination, connections, numbers)| {
            read(NEW_DESTINATION, destination_answer(destination, connections, numbers))
        }),
        (0..1u32 << 24, any::<u32>()).prop_map(move |(version, size)| read(SET_INFO, info(version, size))),
        daemons().prop_map(move |daemon| read(NEW_DAEMON, encode(Change::StartDaemon(daemon)))),
        some_timeouts().prop_map(move |timeouts| read(SET_CONFIG, encode(Change::SetTimeouts(timeouts)))),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn requests_read_back(message in requests()) {
        prop_assert_eq!(back(message), Ok(message), "{}", hex(&encode(message)));
    }

    #[test]
    fn answers_about_services_are_read(service in services(), numbers in any::<[u64; 10]>()) {
        let bytes = service_answer(service, numbers);
        match decode(NEW_SERVICE, &bytes) {
            Ok(Message::Answer(Answer::Service(info))) => {
                prop_assert_eq!(info.service, service, "{}", hex(&bytes));
                prop_assert_eq!(info.stats, stats(numbers), "{}", hex(&bytes));
            }
            other => prop_assert!(false, "{} is {other:?}", hex(&bytes)),
        }
    }

    #[test]
    fn answers_about_destinations_are_read(
        destination in destinations(), connections in any::<[u32; 3]>(), numbers in any::<[u64; 10]>()
    ) {
        let bytes = destination_answer(destination, connections, numbers);
        match decode(NEW_DESTINATION, &bytes) {
            Ok(Message::Answer(Answer::Destination(info))) => {
                prop_assert_eq!(info.destination, destination, "{}", hex(&bytes));
                prop_assert_eq!(info.stats, stats(numbers), "{}", hex(&bytes));
                let read = [info.active_connections, info.inactive_connections, info.persistent_connections];
                prop_assert_eq!(read, connections, "{}", hex(&bytes));
            }
            other => prop_assert!(false, "{} is {other:?}", hex(&bytes)),
        }
    }

    #[test]
    fn answers_about_daemons_and_timeouts_are_read(daemon in daemons(), timeouts in some_timeouts()) {
        prop_assert_eq!(back(Change::StartDaemon(daemon)), Ok(Answer::Daemon(daemon).into()));
        prop_assert_eq!(back(Change::SetTimeouts(timeouts)), Ok(Answer::Timeouts(timeouts).into()));
    }

    #[test]
    fn answers_read_back((command, _, message) in answers()) {
        prop_assert_eq!(message.command(), command);
        prop_assert_eq!(back(message), Ok(message), "{}", hex(&encode(message)));
    }

    #[test]
    fn whatever_the_bytes_they_are_read_or_refused(command in 0..20u8, bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(command, &bytes);
    }

    #[test]
    fn any_attributes_are_read_or_refused_and_values_are_stable(
        command in 0..20u8,
        outer in 0..4u16,
        list in vec((0..18u16, vec(any::<u8>(), 0..20)), 0..12),
    ) {
        let nest = list.iter().flat_map(|(number, payload)| attribute(*number, payload)).collect::<Vec<_>>();
        for bytes in [attribute(outer, &nest), nest] {
            if let Ok(message) = decode(command, &bytes) {
                prop_assert_eq!(back(message), Ok(message), "{}", hex(&bytes));
            }
        }
    }

    #[test]
    fn damaged_messages_are_read_or_refused_and_values_are_stable(
        (command, mut bytes, _) in prop_oneof![
            answers(),
            requests().prop_map(|message| (message.command(), encode(message), message)),
        ],
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        command_then in prop_oneof![3 => Just(None), 1 => (0..20u8).prop_map(Some)],
    ) {
        for (at, value) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        if let Ok(message) = decode(command_then.unwrap_or(command), &bytes) {
            prop_assert_eq!(back(message), Ok(message), "{}", hex(&bytes));
        }
    }
}
