//! Values as text, and back.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use lvs::InvalidText;
use lvs::ipvs::{DestinationInfo, OverviewAddress, ServiceInfo};

use crate::properties::{daemons, destinations, families, keys, services, some_timeouts, states, tunnels};
use crate::values::*;

/// The value that the value's text is.
#[track_caller]
fn reads_back<T: Clone + Debug + Display + Eq + FromStr<Err: Debug>>(value: &T) {
    let text = value.to_string();
    assert_eq!(text.parse::<T>().as_ref().ok(), Some(value), "{text}");
}

/// No text makes it panic, and what is read is read again from its own text.
fn is_stable<T: Clone + Debug + Display + Eq + FromStr<Err: Debug>>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        reads_back(&value);
    }
}

fn all_are_stable(text: &str) {
    is_stable::<ServiceKey>(text);
    is_stable::<Protocol>(text);
    is_stable::<Family>(text);
    is_stable::<Forwarding>(text);
    is_stable::<Tunnel>(text);
    is_stable::<TunnelFlags>(text);
    is_stable::<ServiceFlags>(text);
    is_stable::<Netmask>(text);
    is_stable::<SyncState>(text);
    is_stable::<Timeouts>(text);
    is_stable::<Service>(text);
    is_stable::<Destination>(text);
    is_stable::<SyncDaemon>(text);
    is_stable::<OverviewAddress>(text);
}

/// Whether the name has a text: those with a blank, and those of address families, have none.
fn has_text(name: &str) -> bool {
    !name.contains(' ') && name.parse::<Family>().is_err()
}

/// Text that is nearly right: words, numbers and signs that some type knows.
fn likely() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "tcp",
        "udp",
        "sctp",
        "fwmark",
        "inet",
        "inet6",
        "masq",
        "route",
        "tunnel",
        "gue",
        "gre",
        "type",
        "port",
        "csum",
        "method",
        "ops",
        "flag-1",
        "none",
        "host",
        "10.0.0.1",
        "[::1]",
        "fin",
        "900s",
        "0x4",
        "7",
        "65536",
        "+1",
        " ",
        " ",
        ":",
        "/",
        ",",
        ", ",
        "-",
        "80",
        "rr",
        " persistent ",
        " mask ",
        " pe ",
        " weight ",
        " upper ",
        " lower ",
        "master",
        " mcast ",
        " syncid ",
        " maxlen ",
        " group ",
        " ttl ",
        "10.0.0.1:80/tcp ",
        "10.0.0.1:80",
        "fwmark 7 ",
        "master mcast lo syncid 7",
    ]);
    vec(words, 0..8).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn ipvs_values_read_back(
        key in keys(),
        protocol in any::<u16>(),
        family in families(),
        service in services(),
        tunnel in tunnels(),
        destination in destinations(),
        state in states(),
        timeouts in some_timeouts(),
    ) {
        reads_back(&key);
        reads_back(&Protocol(protocol));
        reads_back(&family);
        reads_back(&service.flags);
        reads_back(&service.persistence.map_or(Netmask::HOST, |persistence| persistence.netmask));
        reads_back(&tunnel);
        reads_back(&destination.forwarding);
        reads_back(&state);
        reads_back(&timeouts);
    }

    #[test]
    fn flags_read_back(service in any::<u32>(), tunnel in any::<u16>()) {
        reads_back(&ServiceFlags::from_bits_retain(service));
        reads_back(&TunnelFlags::from_bits_retain(tunnel));
    }

    #[test]
    fn no_text_panics(text in any::<String>(), likely in likely()) {
        all_are_stable(&text);
        all_are_stable(&likely);
    }

    #[test]
    fn every_spec_has_text(service in services(), destination in destinations(), daemon in daemons()) {
        prop_assert!(service.to_string().starts_with(&service.key.to_string()));
        prop_assert!(destination.to_string().starts_with(&destination.address.to_string()));
        prop_assert!(daemon.to_string().starts_with(&daemon.state.to_string()));
    }

    #[test]
    fn every_spec_reads_back(service in services(), destination in destinations(), daemon in daemons()) {
        reads_back(&destination);
        if has_text(&service.scheduler.to_string()) && service.engine.is_none_or(|engine| has_text(&engine.to_string())) {
            reads_back(&service);
        }
        if has_text(&daemon.interface.to_string()) {
            reads_back(&daemon);
        }
    }
}

#[test]
fn ipvs_speaks_as_ipvsadm_does() {
    let v6 = service(udp6());
    assert_eq!(service(tcp4()).to_string(), "10.1.2.3:443/tcp wrr persistent 258 mask 255.255.254.1 pe sip ops,flag-1");
    assert_eq!(v6.to_string(), "[2001:db8::1:2]:5353/udp wrr persistent 258 mask 64 pe sip ops,flag-1");
    assert_eq!(Service::new(mark(Family::Inet6), Scheduler::RR).to_string(), "fwmark 16909060 inet6 rr");
    let there = "10.1.2.4:8443 tunnel gue port 6080 csum weight 258 upper 16909060 lower 66051";
    assert_eq!(destination().to_string(), there);
    let counters = "conns 0 inpkts 0 outpkts 0 inbytes 0 outbytes 0";
    let info = DestinationInfo::new(destination()).to_string();
    assert_eq!(info, format!("{there}, active 0 inactive 0 persistent 0, {counters}"));
    assert_eq!(ServiceInfo::new(v6).to_string(), format!("{v6}, {counters}"));
    assert_eq!(Rates::default().to_string(), "cps 0 inpps 0 outpps 0 inbps 0 outbps 0");
    let daemon = daemon().to_string();
    assert_eq!(daemon, "backup mcast bond0.258 syncid 254 maxlen 1027 group 224.0.1.82 port 8851 ttl 3");
}

#[test]
fn other_spellings_are_refused() {
    fn refused<T: Debug + FromStr<Err = InvalidText>>(texts: &[&str]) {
        for text in texts {
            assert_eq!(text.parse::<T>().map_err(|error| error.text().to_owned()).unwrap_err(), *text);
        }
    }
    refused::<ServiceKey>(&[
        "",
        "10.0.0.1:80",
        "10.0.0.1/tcp",
        "10.0.0.1:80/TCP",
        "fwmark 0",
        "fwmark +1",
        "fwmark 1 6",
    ]);
    refused::<Protocol>(&["", "TCP", "+6", "65536", "-1"]);
    refused::<Forwarding>(&["", "Masq", "tunnel ", "tunnel gue", "tunnel gue port 0", "method", "method +1"]);
    refused::<Tunnel>(&["gre csum csum", "gue port 1  csum", "type 256 port 0", "ipip csum"]);
    refused::<ServiceFlags>(&["", "ops,", "0x", "0x+1", "0x100000000", "none,ops"]);
    refused::<TunnelFlags>(&["0x10000"]);
    refused::<Netmask>(&["", "0", "129", "+1", "255.255.255"]);
    refused::<Service>(&[
        "",
        "10.0.0.1:80/tcp",
        "10.0.0.1:80/tcp  rr",
        "fwmark 7 inet6",
        "fwmark 7 inet inet6",
        "10.0.0.1:80/tcp rr persistent",
        "10.0.0.1:80/tcp rr persistent 1.5s",
        "10.0.0.1:80/tcp rr persistent 1 persistent 2",
        "10.0.0.1:80/tcp rr mask 255.255.255.0",
        "10.0.0.1:80/tcp rr ops flag-1",
        "10.0.0.1:80/tcp rr ",
    ]);
    refused::<Destination>(&[
        "",
        "10.9.1.1",
        "10.9.1.1:80 ",
        "10.9.1.1:80 gate",
        "10.9.1.1:80 weight",
        "10.9.1.1:80 weight +1",
        "10.9.1.1:80 weight 1 masq",
        "10.9.1.1:80 weight 1 weight 1",
        "10.9.1.1:80 lower 5",
        "10.9.1.1:80 upper 0",
    ]);
    refused::<SyncDaemon>(&[
        "",
        "master",
        "mcast eth0 syncid 7",
        "master mcast eth0",
        "master syncid 7",
        "master mcast  syncid 7",
        "master mcast eth0 syncid 7 ttl 0",
        "master mcast eth0 syncid 256",
        "master mcast eth0 syncid 7 syncid 7",
    ]);
    refused::<Timeouts>(&["", "tcp 1", "tcp 1s, tcp 2s", "tcp 1.5s", "tcp 1s,udp 2s"]);
}

#[test]
fn parts_of_specs_may_be_absent_and_in_any_order() {
    let service: Service = "[2001:db8::1:2]:5353/udp wrr ops,flag-1 pe sip mask 64 persistent 258".parse().unwrap();
    assert_eq!(service, self::service(udp6()));
    assert_eq!("fwmark 16909060 inet rr none".parse(), Ok(Service::new(mark(Family::Inet), Scheduler::RR)));
    let bare = Destination::new("10.1.2.4:8443".parse().unwrap());
    assert_eq!("10.1.2.4:8443".parse(), Ok(bare));
    assert_eq!("10.1.2.4:8443 weight 0".parse(), Ok(bare.weight(0)));
    assert_eq!("10.1.2.4:8443 route".parse(), Ok(bare.forwarding(Forwarding::DirectRoute)));
    let there = "10.1.2.4:8443 tunnel gue port 6080 csum lower 66051 upper 16909060 weight 258";
    assert_eq!(there.parse(), Ok(destination()));
    let daemon = "backup ttl 3 port 8851 group 224.0.1.82 maxlen 1027 syncid 254 mcast bond0.258";
    assert_eq!(daemon.parse(), Ok(self::daemon()));
}

#[test]
fn keys_have_parts() {
    assert_eq!(tcp4().address(), Some("10.1.2.3:443".parse().unwrap()));
    assert_eq!((tcp4().protocol(), tcp4().fwmark()), (Some(Protocol::TCP), None));
    let mark = mark(Family::Inet6);
    assert_eq!((mark.address(), mark.protocol(), mark.fwmark()), (None, None, NonZeroU32::new(0x0102_0304)));
}
