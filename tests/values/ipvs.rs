//! Infos and requests of IPVS as JSON.

use std::time::Duration;

use lvs::Protocol;
use lvs::ipvs::{
    Change, Connection, ConnectionState, CpuStats, Destination, DestinationInfo, DestinationOverview, EngineData,
    Forwarding, Origin, Overview, OverviewAddress, PersistenceEngine, Query, Rates, Scheduler, Service, ServiceInfo,
    ServiceOverview, Stats, Status, SyncDaemon, SyncState, Timeouts, Version,
};

use crate::{golden, web};

fn stats() -> Stats {
    let mut stats = Stats::default();
    (stats.connections, stats.packets_in, stats.packets_out) = (2, 10, 8);
    (stats.bytes_in, stats.bytes_out, stats.rates.connections) = (600, 4000, 1);
    stats
}

#[test]
fn infos_are_json() {
    let rates = r#"{"cps":1,"inpps":0,"outpps":0,"inbps":0,"outbps":0}"#;
    let counters = format!(r#"{{"conns":2,"inpkts":10,"outpkts":8,"inbytes":600,"outbytes":4000,"rates":{rates}}}"#);
    golden(&stats(), &counters);
    golden(&stats().rates, rates);
    let mut service = ServiceInfo::new(Service::new(web(), Scheduler::WRR));
    service.stats = stats();
    golden(&service, &format!(r#"{{"service":"10.96.0.10:443/tcp","scheduler":"wrr","stats":{counters}}}"#));
    let mut pod = DestinationInfo::new(Destination::new("10.9.1.1:80".parse().unwrap()));
    (pod.active_connections, pod.inactive_connections, pod.persistent_connections) = (3, 4, 5);
    pod.stats = stats();
    let start =
        r#"{"address":"10.9.1.1:80","forwarding":"masq","weight":1,"activeconn":3,"inactconn":4,"persistconn":5"#;
    golden(&pod, &format!(r#"{start},"stats":{counters}}}"#));
}

#[test]
fn the_version_is_json() {
    let text = r#"{"version":"1.2.1","size":4096}"#;
    let version: Version = serde_json::from_str(text).unwrap();
    assert_eq!((version.release, version.connection_table_size), ((1, 2, 1), 4096));
    golden(&version, text);
    assert_eq!(version.to_string(), "1.2.1 (size=4096)");
    for wrong in ["1.2", "1.2.256", "1.2.+1", "1.2.1.0"] {
        let error = serde_json::from_str::<Version>(&text.replace("1.2.1", wrong)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("\"{wrong}\" is not a version such as 1.2.1")), "{error}");
    }
}

#[test]
fn files_are_json() {
    let counters = r#""conns":2,"inpkts":10,"outpkts":8,"inbytes":600,"outbytes":4000"#;
    let rates = r#"{"cps":1,"inpps":0,"outpps":0,"inbps":0,"outbps":0}"#;
    let cpus = format!(r#"{{"cpus":[{{"cpu":7,{counters}}}],"total":{{{counters},"rates":{rates}}}}}"#);
    let read: CpuStats = serde_json::from_str(&cpus).unwrap();
    assert_eq!((read.total, read.cpus[0].cpu, read.cpus[0].bytes_out), (stats(), 7, 4000));
    golden(&read, &cpus);

    let mut status = Status::default();
    (status.connections, status.estimator_threads) = (60, 2);
    (status.connection_table.buckets, status.connection_table.lengths) = (512, [452, 60, 0, 0, 0, 0, 0, 0]);
    (status.connection_table.bits, status.connection_table.load_factor) = (9, -4);
    golden(
        &status,
        concat!(
            r#"{"connections":60,"connection_table":{"buckets":512,"bits":9,"load_factor":-4,"#,
            r#""lengths":[452,60,0,0,0,0,0,0]},"services":0,"service_table":{"buckets":0,"bits":0,"load_factor":0,"#,
            r#""lengths":[0,0,0,0,0,0,0,0]},"estimator_threads":2,"estimator_threads_max":0,"estimator_chain_max":0,"#,
            r#""estimators_per_thread":0}"#
        ),
    );

    let file = "TCP  0A60000A:01BB wrr persistent 300 FFFFFFFF\n  -> 0A090101:0050      Masq    1      3          4\nFWM  00000007 rr ops\n";
    let services = Overview::from_reader(file.as_bytes()).collect::<Result<Vec<ServiceOverview>, _>>().unwrap();
    golden(
        &services,
        concat!(
            r#"[{"service":"10.96.0.10:443/tcp","scheduler":"wrr","ops":false,"persistent":true,"destinations":["#,
            r#"{"address":"10.9.1.1:80","forwarding":"masq","weight":1,"activeconn":3,"inactconn":4}]},"#,
            r#"{"service":"fwmark 7","scheduler":"rr","ops":true,"persistent":false,"destinations":[]}]"#
        ),
    );
}

#[test]
fn connections_are_json() {
    let [client, service, pod] = ["192.0.2.1:1024", "10.96.0.10:443", "10.9.1.1:80"].map(|text| text.parse().unwrap());
    let mut connection = Connection::new(Protocol::TCP, client, service, pod);
    (connection.state, connection.expires) = (ConnectionState::ESTABLISHED, Duration::from_secs(899));
    let text = concat!(
        r#"{"protocol":"tcp","source":"192.0.2.1:1024","virtual":"10.96.0.10:443","destination":"10.9.1.1:80","#,
        r#""state":"ESTABLISHED","expire":899}"#
    );
    golden(&connection, text);
    (connection.engine, connection.origin) = (Some(EngineData::new(PersistenceEngine::SIP, "a@b")), Some(Origin::Sync));
    golden(&connection, &text.replace('}', r#","pe":{"name":"sip","data":"a@b"},"origin":"sync"}"#));
    golden(&EngineData::new(PersistenceEngine::SIP, *b"a\xff"), r#"{"name":"sip","data":[97,255]}"#);
}

#[test]
fn requests_are_json() {
    let pod = Destination::new("10.9.1.1:80".parse().unwrap()).forwarding(Forwarding::DirectRoute);
    let start = SyncDaemon::new(SyncState::Master, "eth0".parse().unwrap(), 7);
    let changes = [
        (
            Change::AddService(Service::new(web(), Scheduler::WRR)),
            r#"{"add-service":{"service":"10.96.0.10:443/tcp","scheduler":"wrr"}}"#,
        ),
        (Change::DeleteService(web()), r#"{"delete-service":"10.96.0.10:443/tcp"}"#),
        (
            Change::AddDestination(web(), pod),
            r#"{"add-destination":{"service":"10.96.0.10:443/tcp","address":"10.9.1.1:80","forwarding":"route","weight":1}}"#,
        ),
        (
            Change::SetDestination(web(), pod.weight(0)),
            r#"{"set-destination":{"service":"10.96.0.10:443/tcp","address":"10.9.1.1:80","forwarding":"route","weight":0}}"#,
        ),
        (
            Change::DeleteDestination(web(), pod.address),
            r#"{"delete-destination":{"service":"10.96.0.10:443/tcp","address":"10.9.1.1:80"}}"#,
        ),
        (Change::ZeroAll, r#""zero-all""#),
        (Change::SetTimeouts(Timeouts::default().udp(Duration::from_secs(9))), r#"{"set-timeouts":{"udp":9}}"#),
        (Change::StartDaemon(start), r#"{"start-daemon":{"state":"master","interface":"eth0","syncid":7}}"#),
        (Change::StopDaemon(SyncState::Backup), r#"{"stop-daemon":"backup"}"#),
    ];
    for (change, text) in changes {
        golden(&change, text);
    }
    golden(&Query::Services, r#""services""#);
    golden(&Query::Destinations(web()), r#"{"destinations":"10.96.0.10:443/tcp"}"#);
}

#[test]
fn unknown_fields_are_accepted_and_counters_may_be_absent() {
    fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
        serde_json::from_str(text).unwrap()
    }
    let service: ServiceInfo =
        read(r#"{"service":"fwmark 7","scheduler":"rr","later":[1],"stats":{"conns":1,"later":1}}"#);
    assert_eq!((service.key().to_string().as_str(), service.stats.connections), ("fwmark 7", 1));
    let pod: DestinationInfo = read(r#"{"address":"10.9.1.1:80","later":{}}"#);
    assert_eq!(pod, DestinationInfo::new("10.9.1.1:80".parse::<std::net::SocketAddr>().unwrap().into()));
    assert_eq!(read::<Rates>(r#"{"later":null}"#), Rates::default());
    assert_eq!(read::<Version>(r#"{"version":"1.2.1","size":1,"later":1}"#).connection_table_size, 1);
    let change = r#"{"add-destination":{"service":"fwmark 7","address":"10.9.1.1:80","later":1}}"#;
    assert!(matches!(read(change), Change::AddDestination(_, to) if to == pod.destination));
    let change = r#"{"delete-destination":{"service":"fwmark 7","address":"10.9.1.1:80","later":1}}"#;
    assert!(matches!(read(change), Change::DeleteDestination(_, address) if address == pod.address()));
    assert_eq!(read::<CpuStats>(r#"{"later":1}"#), CpuStats::default());
    assert_eq!(read::<Status>(r#"{"later":1}"#), Status::default());
    let row: DestinationOverview = read(r#"{"address":"10.9.1.1:80","forwarding":"route","weight":1,"later":1}"#);
    assert_eq!(row.active_connections, 0);
    let row: ServiceOverview = read(r#"{"service":"fwmark 7","scheduler":"rr","later":1}"#);
    assert_eq!(row.address, "fwmark 7".parse::<OverviewAddress>().unwrap());
    let connection = r#"{"protocol":"udp","source":"[::1]:1","virtual":"[::1]:2","destination":"[::1]:3","state":"UDP","expire":1,"later":1}"#;
    assert_eq!(read::<Connection>(connection).state, ConnectionState::UDP);
}
