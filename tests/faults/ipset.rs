use std::net::Ipv4Addr;
use std::ops::Range;

use lvs::Result;
use lvs::ipset::{BatchError, Change, HashIp, HashNet, Ipset, Kind, Listed, Member, Network, NewSet, Set, SetName};
use lvs::testing::{Fault, Kernel};

use crate::everywhere::Nature::{One, Replacement, Several, Stream};
use crate::everywhere::{Bench, Operation, all, any_byte, errno::*, lines};

struct Sets;

fn name(text: &str) -> SetName {
    text.parse().unwrap()
}

fn members(hosts: Range<u32>) -> impl Iterator<Item = Member<HashIp>> {
    hosts.map(|host| Member::new(Ipv4Addr::from_bits(0x0a00_0000 | host)))
}

fn member(host: u32) -> Member<HashIp> {
    members(host..host + 1).next().unwrap()
}

fn blocked(ipset: &mut Ipset) -> Result<Set<HashIp>> {
    ipset.open(name("blocked"))
}

impl Bench for Sets {
    type Client = Ipset;

    fn kernel() -> Kernel {
        let kernel = Kernel::new();
        let mut ipset = kernel.ipset();
        let blocked = ipset.create(name("blocked"), &NewSet::<HashIp>::ipv4().counters()).unwrap();
        ipset.add_all(&blocked, members(1..40)).unwrap();
        ipset.create(name("spare"), &NewSet::<HashIp>::ipv4()).unwrap();
        let nets = ipset.create(name("nets"), &NewSet::<HashNet>::ipv4()).unwrap();
        ipset.add(&nets, &Member::new("10.1.0.0/16".parse::<Network>().unwrap())).unwrap();
        kernel
    }

    fn connect(kernel: &Kernel) -> Ipset {
        kernel.ipset()
    }

    fn state(ipset: &mut Ipset) -> String {
        format!("{:?}", ipset.stream_contents(None).unwrap().collect::<Result<Vec<_>>>().unwrap())
    }

    fn works(ipset: &mut Ipset) {
        let new = ipset.create(name("new"), &NewSet::<HashIp>::ipv4()).unwrap();
        ipset.add(&new, &member(1)).unwrap();
        assert!(ipset.test(&new, &member(1)).unwrap());
    }
}

fn done(result: Result<()>) -> Result<Vec<String>> {
    result.map(|()| Vec::new())
}

fn filled<T>(result: Result<T, BatchError>) -> Result<Vec<String>> {
    done(result.map(drop).map_err(lvs::Error::from))
}

/// A handle without asking.
fn handle(ipset: &mut Ipset) -> Set<HashIp> {
    blocked(ipset).unwrap()
}

const OPERATIONS: [Operation<Ipset>; 22] = [
    Operation { name: "read the version of ipset", nature: One, run: |ipset| ipset.version().map(|v| lines([v])) },
    Operation {
        name: "look up the type hash:mac",
        nature: One,
        run: |ipset| ipset.revisions(Kind::HashMac).map(|v| lines([v])),
    },
    Operation {
        name: "create set other (hash:ip)",
        nature: One,
        run: |ipset| ipset.create(name("other"), &NewSet::<HashIp>::ipv4()).map(|set| lines([set])),
    },
    Operation {
        name: "create set spare (hash:ip)",
        nature: One,
        run: |ipset| ipset.put_set(name("spare"), &NewSet::<HashIp>::ipv4()).map(|set| lines([set])),
    },
    Operation { name: "destroy set spare", nature: One, run: |ipset| done(ipset.destroy(name("spare"))) },
    Operation { name: "destroy all sets", nature: One, run: |ipset| done(ipset.destroy_all()) },
    Operation { name: "clear set blocked", nature: One, run: |ipset| done(ipset.clear(name("blocked"))) },
    Operation { name: "clear all sets", nature: One, run: |ipset| done(ipset.clear_all()) },
    Operation {
        name: "rename set spare to other",
        nature: One,
        run: |ipset| done(ipset.rename(name("spare"), name("other"))),
    },
    Operation {
        name: "swap sets spare and blocked",
        nature: One,
        run: |ipset| done(ipset.swap(name("spare"), name("blocked"))),
    },
    Operation {
        name: "look up set nets",
        nature: One,
        run: |ipset| ipset.header(name("nets")).map(|set| lines([set])),
    },
    Operation {
        name: "look up the index of set nets",
        nature: One,
        run: |ipset| ipset.index(name("nets")).map(|set| lines([set])),
    },
    Operation { name: "look up set number 1", nature: One, run: |ipset| ipset.name_of(1).map(|set| lines([set])) },
    Operation { name: "list the names of all sets", nature: Stream, run: |ipset| ipset.names().map(lines) },
    Operation { name: "list all sets", nature: Stream, run: |ipset| ipset.sets().map(lines) },
    Operation { name: "list set nets", nature: Stream, run: |ipset| ipset.set(name("nets")).map(|set| lines([set])) },
    Operation {
        name: "list all sets",
        nature: Stream,
        run: |ipset| ipset.stream_contents(None)?.collect::<Result<Vec<Listed>>>().map(lines),
    },
    Operation {
        name: "list set blocked",
        nature: Stream,
        run: |ipset| ipset.stream_contents(Some(name("blocked")))?.collect::<Result<Vec<Listed>>>().map(lines),
    },
    Operation {
        name: "look up set blocked|add 10.0.3.231 to set blocked|test 10.0.0.7 in set blocked",
        nature: Several,
        run: |ipset| {
            let set = blocked(ipset)?;
            done(ipset.add(&set, &member(999)))?;
            ipset.test(&set, &member(7)).map(|inside| lines([inside]))
        },
    },
    Operation {
        name: "look up set blocked|delete 10.0.0.7 from set blocked|delete entries from set blocked",
        nature: Several,
        run: |ipset| {
            let set = blocked(ipset)?;
            done(ipset.delete(&set, &member(7)))?;
            filled(ipset.delete_all(&set, members(20..30)))
        },
    },
    Operation {
        name: "look up set blocked|add entries to set blocked",
        nature: Several,
        run: |ipset| {
            let set = blocked(ipset)?;
            filled(ipset.add_all(&set, members(1000..3000)))
        },
    },
    Operation {
        name: "replace set blocked",
        nature: Replacement,
        run: |ipset| {
            let new = NewSet::<HashIp>::ipv4().counters();
            let replaced = ipset.replace(name("blocked"), &new, members(500..600));
            replaced.map(|set| lines([set])).map_err(lvs::Error::from)
        },
    },
];

#[test]
fn every_fault_is_reported_and_the_next_call_works() {
    let tried = all::<Sets>(&OPERATIONS, &[]);
    assert!(tried > 1000, "{tried}");
}

#[test]
fn whichever_byte_is_wrong_the_next_call_works() {
    any_byte::<Sets>(&OPERATIONS);
}

/// The set is as it was or as it should be, and the next replacement leaves nothing over.
#[test]
fn a_replacement_that_is_disturbed_leaves_the_set_whole() {
    let new = NewSet::<HashIp>::ipv4().counters();
    let of = |ipset: &mut Ipset| -> Vec<_> {
        let set = handle(ipset);
        ipset.stream_members(&set).unwrap().map(|member| member.unwrap().entry).collect()
    };
    let kernel = Sets::kernel();
    let before = of(&mut kernel.ipset());
    kernel.ipset().replace(name("blocked"), &new, members(500..600)).unwrap();
    let after = of(&mut kernel.ipset());
    for fault in [
        Fault::Lost,
        Fault::Late,
        Fault::Truncated,
        Fault::Cut(18),
        Fault::Ended(EIO),
        Fault::Failing(ENOBUFS),
        Fault::Failing(EBADF),
        Fault::Unsent(EBADF),
        Fault::Refused(ENOMEM),
    ] {
        for position in 0.. {
            let kernel = Sets::kernel();
            let mut ipset = kernel.ipset();
            kernel.disturb(position, fault);
            let replaced = ipset.replace(name("blocked"), &new, members(500..600));
            if kernel.faults_left() > 0 {
                assert!(position > 3);
                break;
            }
            assert!(replaced.is_err(), "{fault:?} at {position}");
            let there = of(&mut ipset);
            assert!(there == before || there == after, "{fault:?} at {position}");
            ipset.replace(name("blocked"), &new, members(500..600)).unwrap();
            assert_eq!(of(&mut ipset), after, "{fault:?} at {position}");
            assert_eq!(ipset.names().unwrap().len(), 3, "{fault:?} at {position}");
        }
    }
}

/// The request that the kernel repeats has the position of the refused entry.
#[test]
fn the_entry_that_fails_is_named_and_those_before_it_are_in() {
    let kernel = Sets::kernel();
    let mut ipset = kernel.ipset();
    let set = handle(&mut ipset);
    let error = ipset.add_all(&set, members(1000..1010).chain([member(7)]).chain(members(1010..1020)));
    let error = error.unwrap_err();
    assert_eq!((error.done, error.unknown.clone(), error.failures.len()), (10, 0..0, 1));
    assert_eq!(error.failures[0].change, Change::Add(set.any(), member(7).any()));
    assert_eq!(
        error.to_string(),
        "add 10.0.0.7 to set blocked: the entry is in the set already (IPSET_ERR_EXIST) (change 10)"
    );
    assert_eq!(ipset.set(name("blocked")).unwrap().entries, 49);
    // Without an answer, any of them may be in.
    kernel.disturb(0, Fault::Lost);
    let error = ipset.add_all(&set, members(2000..2010)).unwrap_err();
    assert_eq!((error.done, error.unknown.clone(), error.failures.len()), (0, 0..10, 0));
    let text = "interrupted: add entries to set blocked: the kernel did not answer in time";
    assert_eq!(error.to_string(), text);
    let change = Change::Add(set.any(), member(2000).any());
    assert_eq!(ipset.batch([change.clone()]).unwrap_err().failures[0].change, change);
}

/// Positions of a synchronisation are those of the desired members, whatever the order in which it sends them.
#[test]
fn a_failed_synchronisation_has_the_positions_of_the_desired_members() {
    let timeout = |member: Member<HashIp>| member.timeout(std::time::Duration::from_secs(1));
    let kernel = Sets::kernel();
    let mut ipset = kernel.ipset();
    let set = handle(&mut ipset);
    for position in [0, 20, 40, 41] {
        let mut desired: Vec<_> = members(1..40).chain(members(100..102)).collect();
        desired.insert(position, timeout(member(200)));
        let error = ipset.sync(&set, desired).unwrap_err();
        assert_eq!((error.failures[0].position(), error.unknown), (Some(position), 0..0));
    }
    // A member that exists stays as it is, with or without a timeout.
    ipset.sync(&set, members(1..40).map(timeout)).unwrap();
    for datagram in 0.. {
        let kernel = Sets::kernel();
        let mut ipset = kernel.ipset();
        let set = handle(&mut ipset);
        kernel.disturb(datagram, Fault::Lost);
        let ended = ipset.sync(&set, members(30..50));
        if kernel.faults_left() > 0 {
            assert!(datagram > 3);
            break;
        }
        let error = ended.unwrap_err();
        assert!(error.unknown.is_empty() && error.failures.is_empty() && error.interruption.is_some(), "{error}");
        ipset.sync(&set, members(30..50)).unwrap();
        assert_eq!(ipset.set(name("blocked")).unwrap().entries, 20);
    }
}

/// Whichever name the staged set of the killed replacement had.
#[test]
fn every_replacement_removes_what_a_killed_one_left() {
    let new = NewSet::<HashIp>::ipv4().counters();
    let replace = |ipset: &mut Ipset, staged: Option<&str>| match staged {
        None => ipset.replace(name("blocked"), &new, members(500..600)),
        Some(staged) => ipset.replace_through(name("blocked"), name(staged), &new, members(500..600)),
    };
    let ways = [None, Some("blocked.new"), Some("blocked.other")];
    for (killed, next) in ways.iter().flat_map(|killed| ways.map(|next| (*killed, next))) {
        for datagrams in 0.. {
            let kernel = Sets::kernel();
            kernel.cut(datagrams);
            let _ = replace(&mut kernel.ipset(), killed);
            if !kernel.mend() {
                assert!(datagrams > 3);
                break;
            }
            let mut ipset = kernel.ipset();
            for staged in [next, killed] {
                replace(&mut ipset, staged).unwrap();
                assert_eq!(ipset.names().unwrap().len(), 3, "{killed:?} after {datagrams}, then {next:?}");
            }
        }
    }
}
