//! Prints the services and destinations of IPVS with their counters and rates, as Prometheus reads them.
//!
//! ```text
//! $ cargo build --example exporter
//! $ sudo target/debug/examples/exporter > ipvs.prom            # for the textfile collector of node_exporter
//! # TYPE ipvs_service_connections_total counter
//! ipvs_service_connections_total{service="10.96.0.10:80/tcp"} 1204
//! ipvs_destination_weight{service="10.96.0.10:80/tcp",destination="10.0.1.1:8080"} 2
//! ```

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Write, stdout};

use lvs::ipvs::{DestinationInfo, Ipvs, ServiceInfo};

/// A metric: its name, its type, and its value in the information about an object.
type Metric<T> = (&'static str, &'static str, fn(&T) -> u64);

const OF_SERVICES: &[Metric<ServiceInfo>] = &[
    ("connections_total", "counter", |service| service.stats.connections),
    ("packets_in_total", "counter", |service| service.stats.packets_in),
    ("packets_out_total", "counter", |service| service.stats.packets_out),
    ("bytes_in_total", "counter", |service| service.stats.bytes_in),
    ("bytes_out_total", "counter", |service| service.stats.bytes_out),
    ("connections_per_second", "gauge", |service| service.stats.rates.connections),
    ("bytes_in_per_second", "gauge", |service| service.stats.rates.bytes_in),
    ("bytes_out_per_second", "gauge", |service| service.stats.rates.bytes_out),
];

const OF_DESTINATIONS: &[Metric<DestinationInfo>] = &[
    ("weight", "gauge", |server| server.destination.weight.into()),
    ("active_connections", "gauge", |server| server.active_connections.into()),
    ("inactive_connections", "gauge", |server| server.inactive_connections.into()),
    ("persistent_connections", "gauge", |server| server.persistent_connections.into()),
    ("connections_total", "counter", |server| server.stats.connections),
    ("bytes_in_total", "counter", |server| server.stats.bytes_in),
    ("bytes_out_total", "counter", |server| server.stats.bytes_out),
    ("connections_per_second", "gauge", |server| server.stats.rates.connections),
];

fn main() -> Result<(), Box<dyn Error>> {
    // The best listing, also while other programs change the table.
    let table = Ipvs::connect()?.table_best_effort()?.items;
    let mut text = String::new();
    for (name, kind, value) in OF_SERVICES {
        writeln!(text, "# TYPE ipvs_service_{name} {kind}")?;
        for (service, _) in &table {
            writeln!(text, "ipvs_service_{name}{{service=\"{}\"}} {}", service.key(), value(service))?;
        }
    }
    for (name, kind, value) in OF_DESTINATIONS {
        writeln!(text, "# TYPE ipvs_destination_{name} {kind}")?;
        let servers = table.iter().flat_map(|(service, servers)| servers.iter().map(|one| (service.key(), one)));
        for (key, server) in servers {
            let address = server.address();
            writeln!(text, "ipvs_destination_{name}{{service=\"{key}\",destination=\"{address}\"}} {}", value(server))?;
        }
    }
    Ok(stdout().write_all(text.as_bytes())?)
}
