//! Generated binders and virtual IPs, valid and invalid ones. Each that the library accepts reads back as asked, by the
//! library, by `ip` and by rtnetlink; unbinding removes it and nothing else. Each that the library refuses before sending is
//! added with `ip`: `ip` or the kernel refuses it, too, or stores something else, but for the [`EXCEPTIONS`].
//!
//! `LVS_SEED` and `LVS_ROUNDS` choose other and more of them.

mod bench;
mod made_up;
mod seen;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use libtest_mimic::Trial;
use lvs::Error;
use lvs::Outcome::Deleted;
use lvs::vip::Vip;

use self::bench::{Asked, Bench, expected};
use self::seen::{Shown, interfaces, labels_and_protocols, state};
use super::{foreign, listed};
use crate::lab::{Lab, Need, number, tests};
use crate::random::Random;

pub(super) fn tests() -> Vec<Trial> {
    tests!(&[Need::Dummy];
        virtual_ips,
        names_of_interfaces,
        labels,
        prefixes,
        protocol_numbers,
    )
}

/// A refusal of the library for objects that `ip` stores as asked.
struct Exception {
    /// The test that shows it.
    shown_by: &'static str,
    /// Part of the library's explanation.
    problem: &'static str,
    #[expect(dead_code, reason = "for the reader")]
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        shown_by: "virtual IPs",
        problem: "is reserved for the kernel or the administrator",
        reason: "a binder with this number would own the routes and addresses of the kernel or of `ip`",
    },
    Exception {
        shown_by: "virtual IPs",
        problem: "is not the address of one host",
        reason: "the kernel stores IPv6 routes to `::` and to multicast groups; no packet of a client arrives by them",
    },
    Exception {
        shown_by: "virtual IPs",
        problem: "is an IPv4 address written as IPv6",
        reason: "the kernel stores it; it stands for IPv4 in the API of sockets, and in no packet",
    },
    Exception {
        shown_by: "labels",
        problem: "is not an interface, a colon and at least one byte",
        reason: "the kernel takes any label: `eth0` is that of all other addresses of eth0, `eth0:` names nothing",
    },
    Exception {
        shown_by: "prefixes",
        problem: "/0 has an impossible prefix length",
        reason: "`local default` makes every address local, and the machine reaches no other",
    },
];

fn virtual_ips(lab: &Lab) {
    let (mut random, rounds) = (Random(number("LVS_SEED", 1)), number("LVS_ROUNDS", 1));
    let mut bench = Bench::new(lab, foreign);
    for round in 0..rounds {
        let low = u8::try_from(random.below(5)).unwrap();
        // Number 78 is that of `foreign`.
        let high = u8::try_from(79 + random.below(177)).unwrap();
        let binders = [
            Asked::Dummy(random.one(&[&b"vip0"[..], b"fifteen-letters", b"\xff\x7f\x01", b"dev"]).to_vec()),
            Asked::Routes(high),
            Asked::Label(random.one(&[&b"eth0:1"[..], b"caf\xe9:\xff/ \x01", b"thirteenbytes:%"]).to_vec(), high),
            Asked::Routes(low),
            Asked::Label(b"eth0:1".to_vec(), low),
        ];
        for asked in binders {
            let is_low = matches!(asked, Asked::Routes(protocol) | Asked::Label(_, protocol) if protocol == low);
            let mut all: Vec<_> = (0..20).map(|_| made_up::vip(&mut random)).collect();
            if round == 0 {
                all.extend(made_up::special());
            }
            all.truncate(if is_low { 10 } else { usize::MAX });
            all.sort();
            all.dedup();
            random.shuffle(&mut all);
            let binder = asked.binder().unwrap();
            all.retain(|vip| bench.judge(&asked, &binder, *vip));
            if !is_low {
                bench.sync(&binder, &all, &mut random);
            }
        }
    }
    bench.finish("virtual IPs");
}

/// A free address.
const FREE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

fn names_of_interfaces(lab: &Lab) {
    let (mut random, rounds) = (Random(number("LVS_SEED", 1)), number("LVS_ROUNDS", 1));
    let mut bench = Bench::new(lab, |_| ());
    for name in made_up::names(&mut random, 40 * rounds) {
        let asked = Asked::Dummy(name.clone());
        match asked.binder() {
            Ok(binder) => {
                let made = bench.judge(&asked, &binder, FREE.into());
                let added: Vec<_> = interfaces(lab).difference(&bench.interfaces).cloned().collect();
                bench.check(!made || added == [name], || format!("{asked:?} is made as {added:?}"));
                bench.vips.clear(&binder).unwrap();
            }
            Err(error) => bench.refused_interface(&name, &error),
        }
        assert_eq!(interfaces(lab), bench.interfaces, "{asked:?}");
    }
    bench.finish("names of interfaces");
}

fn labels(lab: &Lab) {
    let (mut random, rounds) = (Random(number("LVS_SEED", 1)), number("LVS_ROUNDS", 1));
    let mut bench = Bench::new(lab, |_| ());
    for label in made_up::labels(&mut random, 40 * rounds) {
        let asked = Asked::Label(label, u8::try_from(5 + random.below(251)).unwrap());
        match asked.binder() {
            // `interfaces` has the kernel's `all`, too.
            Ok(binder) if bench.interfaces.contains(asked.interface()) && asked.interface() != b"all" => {
                bench.judge(&asked, &binder, FREE.into());
            }
            Ok(binder) => bench.without_interface(&asked, &binder, FREE.into()),
            Err(error) => bench.refused_label(&asked, FREE.into(), &error),
        }
    }
    bench.finish("labels");
}

fn prefixes(lab: &Lab) {
    let (mut random, rounds) = (Random(number("LVS_SEED", 1)), number("LVS_ROUNDS", 1));
    let mut bench = Bench::new(lab, |_| ());
    for (address, length) in made_up::prefixes(&mut random, 60 * rounds) {
        let text = format!("{address}/{length}");
        let made = Vip::prefix(address, length);
        assert_eq!(made, text.parse());
        match made {
            Ok(vip) => {
                bench.count("accepted").accepted += 1;
                assert_eq!((vip.address(), vip.length()), (address, length));
                assert_eq!(vip.to_string().parse(), Ok(vip));
            }
            Err(error) => bench.try_ip(&Asked::Routes(77), (address, length), &error.to_string()),
        }
    }
    bench.finish("prefixes");
}

/// Binds with all numbers at the same time.
fn protocol_numbers(lab: &Lab) {
    let mut bench = Bench::new(lab, |_| ());
    let vips = |protocol| {
        [Ipv4Addr::new(10, 96, 0, protocol).into(), Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(protocol)).into()]
    };
    let label = |protocol| Asked::Label(format!("eth0:{protocol}").into_bytes(), protocol);
    for asked in [Asked::Routes, label as fn(u8) -> Asked] {
        for protocol in 0..=255 {
            let binder = asked(protocol).binder().unwrap();
            let bound = bench.vips.bind_all(&binder, vips(protocol));
            match bound {
                Ok(tally) => assert!(tally.bound == 2 && protocol > 4, "{binder}: {tally:?}"),
                Err(error) => assert!(protocol <= 4 && Error::from(error).is_invalid_input(), "{binder}"),
            }
        }
        let added: BTreeSet<_> = state(lab).difference(&bench.before).map(|line| Shown::read(line)).collect();
        let mut wanted = BTreeSet::new();
        let labels = labels_and_protocols(lab);
        for (asked, protocol) in (5..=255).map(|protocol| (asked(protocol), protocol)) {
            assert_eq!(listed(&mut bench.vips, &asked.binder().unwrap()), vips(protocol).into());
            for vip in vips(protocol) {
                let is_route = matches!(asked, Asked::Routes(_));
                assert!(is_route || labels[&vip.address()] == asked.label_and_protocol(vip), "{asked:?}");
                wanted.extend(expected(&asked, vip));
            }
        }
        assert_eq!(added, wanted);
        for protocol in 5..=255 {
            assert_eq!(bench.vips.clear(&asked(protocol).binder().unwrap()).unwrap(), Deleted);
        }
        bench.check_state("all are cleared");
    }
}
