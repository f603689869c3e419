//! Metrics, health, and the health checks of load balancers, asked over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use service_proxy::objects::Kind;
use service_proxy::serve;
use service_proxy::source::Update;

use crate::lab::{balanced, objects, ready, service, slice};
use crate::proxy::Lab;

/// Status, headers in lower case, and body.
fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: node-a\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// Runs the servers of a lab; returns the address of the metrics.
fn serve(lab: &Lab) -> (SocketAddr, mpsc::Receiver<Update>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (address, status) = (listener.local_addr().unwrap(), lab.status.clone());
    let (updates, received) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let checks = serve::health_checks(status.clone(), updates);
            let _ = tokio::join!(serve::metrics(listener, status.clone()), checks);
        });
    });
    (address, received)
}

/// Lists objects and applies them.
fn apply(lab: &mut Lab, values: impl IntoIterator<Item = Value>) {
    lab.proxy.take(Update::All(objects(values)), lab.now);
    assert!(lab.apply());
}

/// A port that nothing listens at.
fn free_port() -> u16 {
    TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

/// A load balancer of `shop/web` whose health is asked for at this port.
fn checked(port: u16) -> Value {
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port});
    balanced(service(spec), json!({"ip": "203.0.113.10"}))
}

#[test]
fn health_follows_the_applies() {
    let mut lab = Lab::new();
    let (address, _updates) = serve(&lab);
    for path in ["/healthz", "/livez"] {
        assert_eq!(get(address, path).0, 503, "before the first apply");
    }
    apply(&mut lab, [service(json!({})), slice(json!([ready("10.244.1.11", "node-a")]))]);
    for path in ["/healthz", "/livez"] {
        let (status, head, body) = get(address, path);
        assert_eq!(status, 200);
        assert!(head.contains("content-type: application/json"), "{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["lastUpdated"], body["currentTime"]);
        assert!(body["currentTime"].as_str().unwrap().ends_with('Z'), "{body}");
    }
    let (_, _, metrics) = get(address, "/metrics");
    assert!(metrics.contains("\nkubeproxy_proxy_healthz_total{code=\"200\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nkubeproxy_proxy_livez_total{code=\"503\"} 1\n"), "{metrics}");
}

#[test]
fn a_node_that_is_about_to_be_deleted_is_not_eligible() {
    let mut lab = Lab::new();
    let (address, _updates) = serve(&lab);
    let node = |taints: Value| json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-a"}, "spec": {"taints": taints}});
    let mut eligible = |taints| {
        apply(&mut lab, [service(json!({})), slice(json!([ready("10.244.1.11", "node-a")])), node(taints)]);
        let [health, live] = ["/healthz", "/livez"].map(|path| get(address, path));
        assert_eq!(live.0, 200);
        let body: Value = serde_json::from_str(&health.2).unwrap();
        (health.0, body["nodeEligible"].as_bool())
    };
    assert_eq!(eligible(json!([{"key": "other", "effect": "NoSchedule"}])), (200, Some(true)));
    let taint = json!([{"key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule"}]);
    assert_eq!(eligible(taint), (503, Some(false)));
}

#[test]
fn metrics_have_the_names_and_figures_of_kube_proxy() {
    let mut lab = Lab::new();
    let (address, _updates) = serve(&lab);
    let spec = json!({"internalTrafficPolicy": "Local"});
    let mut slice = slice(json!([ready("10.244.1.11", "node-b")]));
    slice["metadata"]["annotations"] =
        json!({"endpoints.kubernetes.io/last-change-trigger-time": "2100-01-01T00:00:00Z"});
    for value in [service(spec), slice] {
        let object = objects([value]).into_objects().next().unwrap();
        lab.proxy.take(Update::Put(object), lab.now);
    }
    let line = |text: &str| {
        let (status, _, metrics) = get(address, "/metrics");
        assert_eq!(status, 200);
        assert!(metrics.lines().any(|line| line == text), "{text}: {metrics}");
    };
    let sync = "kubeproxy_sync_proxy_rules";
    line(&format!("{sync}_endpoint_changes_pending 1"));
    line(&format!("{sync}_service_changes_pending 1"));
    line(&format!("{sync}_last_timestamp_seconds 0"));
    for kind in [Kind::Service, Kind::Slice] {
        lab.proxy.take(Update::Complete(kind), lab.now);
    }
    assert!(lab.apply());
    line(&format!("{sync}_endpoint_changes_pending 0"));
    line(&format!("{sync}_endpoint_changes_total 1"));
    line(&format!("{sync}_service_changes_total 1"));
    line(&format!("{sync}_duration_seconds_count 1"));
    line(&format!("{sync}_duration_seconds_bucket{{le=\"+Inf\"}} 1"));
    line(&format!("{sync}_no_local_endpoints_total{{traffic_policy=\"internal\"}} 1"));
    line("kubeproxy_network_programming_duration_seconds_count 1");
    line("# TYPE kubeproxy_network_programming_duration_seconds histogram");
    line("service_proxy_apply_failures_total 0");
}

/// Asks a health check until it answers with this status: it is opened after the apply.
fn check(port: u16, status: u16) -> Option<(String, Value)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    loop {
        let Ok(stream) = TcpStream::connect(address) else {
            if status == 0 {
                return None;
            }
            thread::yield_now();
            continue;
        };
        drop(stream);
        if status == 0 {
            continue;
        }
        let (found, head, body) = get(address, "/");
        if found == status {
            return Some((head, serde_json::from_str(&body).unwrap()));
        }
    }
}

#[test]
fn health_checks_are_served_as_services_come_and_go() {
    let mut lab = Lab::new();
    let (_, _updates) = serve(&lab);
    let port = free_port();
    // One address with two ports counts once.
    let endpoints = [ready("10.244.1.11", "node-a"), ready("10.244.1.12", "node-a"), ready("10.244.1.12", "node-a")];
    apply(&mut lab, [checked(port), slice(json!(endpoints))]);
    let (head, body) = check(port, 200).unwrap();
    assert!(head.contains("x-load-balancing-endpoint-weight: 2"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let service_name = json!({"namespace": "shop", "name": "web"});
    assert_eq!(body, json!({"service": service_name, "localEndpoints": 2, "serviceProxyHealthy": true}));

    apply(&mut lab, [checked(port), slice(json!([ready("10.244.1.11", "node-b")]))]);
    let (head, body) = check(port, 503).unwrap();
    assert!(head.contains("x-load-balancing-endpoint-weight: 0"), "{head}");
    assert_eq!(body["localEndpoints"], 0);

    apply(&mut lab, [service(json!({})), slice(json!([]))]);
    assert!(check(port, 0).is_none());
}

#[test]
fn a_port_in_use_is_one_line_and_is_served_when_it_is_free() {
    let mut lab = Lab::new();
    let (address, updates) = serve(&lab);
    let used = TcpListener::bind("[::]:0").unwrap();
    let port = used.local_addr().unwrap().port();
    apply(&mut lab, [checked(port), slice(json!([ready("10.244.1.11", "node-a")]))]);
    lab.take_until(&updates, &format!("health check of shop/web: listen at port {port}: "));
    assert_eq!(get(address, "/healthz").0, 200);
    // More attempts, and other changes, print nothing.
    apply(&mut lab, [checked(port), slice(json!([ready("10.244.1.12", "node-a")]))]);
    assert!(updates.recv_timeout(serve::RETRY * 2).is_err());
    // Nothing of the list changes.
    drop(used);
    lab.take_until(&updates, &format!("health check of shop/web: listens at port {port} now"));
    assert!(check(port, 200).is_some());
    assert_eq!(lab.count("health check of"), 2, "{}", lab.text());
}
