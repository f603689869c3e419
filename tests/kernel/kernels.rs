//! The tables of the documentation against what the kernel says of itself.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use lvs::ipvs::{Scheduler, Service};
use lvs::ready::{Part, load};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, Nla, NlaBuffer, NlasIterator};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use crate::lab::{Lab, Need, address, release, tests};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs];
        every_command_of_the_kernel_is_in_the_table,
        every_attribute_of_a_command_is_in_the_table,
        every_scheduler_of_the_table_is_there_as_it_says,
    )
}

/// The columns of the rows whose first one starts with this.
fn rows(prefix: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = include_str!("../../src/ipvs/kernels.md").lines();
    let columns = |line: &'static str| line.trim_matches('|').split('|').map(|column| column.trim().trim_matches('`'));
    let rows = lines.filter(|line| line.starts_with('|')).map(move |line| columns(line).collect::<Vec<_>>());
    rows.filter(move |row| row[0].starts_with(prefix))
}

/// Asks the controller of generic netlink about IPVS. Returns the attributes of each message, by number.
fn ask_controller(lab: &Lab, cmd: GenlCtrlCmd, flags: u16) -> Vec<Vec<(u16, Vec<u8>)>> {
    const DONE: u16 = 3;
    let socket = lab.run(|| Socket::new(NETLINK_GENERIC)).unwrap();
    let nlas = vec![GenlCtrlAttrs::FamilyName("IPVS".into())];
    let mut request = NetlinkMessage::from(GenlMessage::from_payload(GenlCtrl { cmd, nlas }));
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).unwrap();
    let mut messages = Vec::new();
    loop {
        let datagram = socket.recv_from_full().unwrap().0;
        let mut rest = &datagram[..];
        while rest.len() >= 20 {
            let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            if u16::from_ne_bytes(rest[4..6].try_into().unwrap()) == DONE {
                return messages;
            }
            messages.push(nested(&rest[20..length]));
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        if flags & NLM_F_DUMP == 0 {
            return messages;
        }
    }
}

fn nested(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let attribute = |nla: NlaBuffer<&[u8]>| (nla.kind(), nla.value().to_vec());
    NlasIterator::new(bytes).map(|nla| attribute(nla.unwrap())).collect()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes(bytes.try_into().unwrap())
}

/// The number of the IPVS family.
pub(crate) fn family(lab: &Lab) -> u16 {
    let reply = ask_controller(lab, GenlCtrlCmd::GetFamily, 0).remove(0);
    let (_, id) = reply.iter().find(|(kind, _)| *kind == GenlCtrlAttrs::FamilyId(0).kind()).unwrap();
    u16::from_ne_bytes(id[..].try_into().unwrap())
}

fn every_command_of_the_kernel_is_in_the_table(lab: &Lab) {
    let (id, flags) = (1, 2);
    let (admin, can_do, can_dump) = (1, 2, 4);
    let reply = ask_controller(lab, GenlCtrlCmd::GetFamily, 0).remove(0);
    let operations = reply.iter().find(|(kind, _)| *kind == GenlCtrlAttrs::Ops(Vec::new()).kind()).unwrap();
    let mut kernel = BTreeMap::new();
    for (_, operation) in nested(&operations.1) {
        let operation: BTreeMap<_, _> = nested(&operation).into_iter().collect();
        let flags = number(&operation[&flags]);
        assert_ne!(flags & admin, 0, "the table says that all need a capability");
        kernel.insert(number(&operation[&id]), (flags & can_do != 0, flags & can_dump != 0));
    }
    let mut table = BTreeMap::new();
    for row in rows("IPVS_CMD_").filter(|row| !row[0].starts_with("IPVS_CMD_ATTR_")) {
        let words: Vec<_> = row[2].split([',', ';']).map(str::trim).collect();
        if words.iter().any(|word| !word.starts_with("answers")) {
            table.insert(row[1].parse().unwrap(), (words.contains(&"do"), words.contains(&"dump")));
        }
    }
    assert_eq!(kernel, table);
    assert!(!reply.iter().any(|(kind, _)| *kind == GenlCtrlAttrs::McastGroups(Vec::new()).kind()));
}

fn every_attribute_of_a_command_is_in_the_table(lab: &Lab) {
    const POLICY: u16 = 8;
    const TYPE: u16 = 1;
    let (u32_type, nested_type) = (4, 13);
    let table: BTreeMap<u16, u32> = rows("IPVS_CMD_ATTR_")
        .map(|row| (row[1].parse().unwrap(), if row[2] == "nest" { nested_type } else { u32_type }))
        .collect();
    // Attributes inside the nests are not told.
    let reply = ask_controller(lab, GenlCtrlCmd::GetFamily, 0).remove(0);
    let (_, highest) = reply.iter().find(|(kind, _)| *kind == GenlCtrlAttrs::MaxAttr(0).kind()).unwrap();
    assert_eq!(Some(number(highest)), table.keys().last().map(|highest| u32::from(*highest)));
    let mut kernel = BTreeMap::new();
    let told = ask_controller(lab, GenlCtrlCmd::GetPolicy, NLM_F_DUMP).into_iter().flatten();
    for (_, policies) in told.filter(|(kind, _)| *kind == POLICY) {
        for (_, attributes) in nested(&policies) {
            for (attribute, policy) in nested(&attributes) {
                let policy: BTreeMap<_, _> = nested(&policy).into_iter().collect();
                kernel.insert(attribute, number(&policy[&TYPE]));
            }
        }
    }
    assert_eq!(kernel, table);
}

fn every_scheduler_of_the_table_is_there_as_it_says(lab: &Lab) {
    let column = [(6, 1), (6, 12)].iter().position(|line| *line == release()).map_or(4, |line| 2 + line);
    let schedulers = rows("").filter(|row| row.last().unwrap().starts_with("[`Scheduler::"));
    // Not by naming them first, while the namespace of an earlier test ends: see there.
    for scheduler in [Scheduler::LBLC, Scheduler::LBLCR] {
        load(Part::Scheduler(scheduler)).unwrap();
    }
    let mut ipvs = lab.ipvs();
    let mut tried = 0;
    for (row, port) in schedulers.zip(1..) {
        let word = row[column];
        let mut at = address("10.96.0.10:0");
        at.set_port(port);
        match ipvs.add_service(Service::tcp(at, Scheduler::new(row[0]).unwrap())) {
            Ok(()) => assert_eq!(word, "yes", "{row:?}"),
            Err(error) => assert!(error.is_unavailable() && word != "yes", "{error}"),
        }
        tried += 1;
    }
    assert_eq!(tried, 15);
}
