//! The files of `/proc/net`: each reader takes anything, and ends.

use lvs::ipvs::{Connections, CpuStats, Overview, ServiceKey, Status};

pub(crate) fn run(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').count();
    let mut count = 0;
    for connection in Connections::from_reader(data) {
        count += 1;
        assert!(count <= lines, "more connections than lines");
        let Ok(connection) = connection else { continue };
        let key = match connection.firewall_mark() {
            Some(mark) => {
                assert!(connection.is_template());
                let family = lvs::Family::of(connection.virtual_address.ip());
                ServiceKey::FirewallMark { mark, family }
            }
            None => ServiceKey::Address { protocol: connection.protocol, address: connection.virtual_address },
        };
        assert!(connection.belongs_to(key), "{connection:?}");
    }
    let rows = |service: &lvs::Result<lvs::ipvs::ServiceOverview>| {
        service.as_ref().map_or(1, |all| 1 + all.destinations.len())
    };
    assert!(
        Overview::from_reader(data).map(|service| rows(&service)).sum::<usize>() <= lines,
        "more services than lines"
    );
    // A title is more than a byte, and so is a CPU.
    if let Ok(stats) = CpuStats::from_reader(data) {
        assert!(stats.cpus.len() < lines);
    }
    let _ = Status::from_reader(data);
}
