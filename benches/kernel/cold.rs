//! Cold starts: processes that do one thing.

use lvs::ipset::{HashIp, Ipset, NewSet, SetName};
use lvs::ipvs::Ipvs;

use crate::peers;
use crate::results::{Contestant, Plan, Results};

/// Processes of a round.
const PROCESSES: u32 = 20;
/// A static C program that does nothing, built by `cargo xtask bench`.
const NOTHING: &str = "nothing";

pub(crate) fn starts(_: &Plan, results: &mut Results) {
    // The module is loaded before.
    assert!(Ipvs::connect().unwrap().services().unwrap().is_empty());
    let name = SetName::new("cold").unwrap();
    Ipset::connect().unwrap().create(name, &NewSet::<HashIp>::ipv4()).unwrap();
    for (work, commands) in [
        ("cold list", [NOTHING, "ipvsadm-rs -Ln", "ipvsadm -Ln"]),
        ("cold add", [NOTHING, "ipset-rs -exist add cold 192.0.2.1", "ipset -exist add cold 192.0.2.1"]),
    ] {
        let contestant = |command: &'static str| -> Contestant<'_> {
            let program = command.split(' ').next().unwrap_or_default();
            let starts = move || ((0..PROCESSES).map(|_| peers::run(command, None)).sum(), PROCESSES);
            (program, Box::new(starts))
        };
        results.compare(work, PROCESSES, &mut commands.map(contestant));
    }
    Ipset::connect().unwrap().destroy(name).unwrap();
}
