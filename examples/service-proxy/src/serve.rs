//! The HTTP servers: metrics and health of the proxy, health checks of load balancers.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch::{self, Receiver};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::run::status::{Probe, Status};
use crate::source::{Update, Updates};
use crate::translate::HealthPort;

/// Serves `/metrics`, `/healthz` and `/livez`, as kube-proxy does.
///
/// # Errors
/// None that is known: a failed connection ends only itself.
pub async fn metrics(listener: TcpListener, status: Arc<Status>) -> io::Result<()> {
    let probe = |probe| move |State(status): State<Arc<Status>>| async move { health(&status, probe) };
    let router = Router::new()
        .route("/metrics", get(text))
        .route("/healthz", get(probe(Probe::Health)))
        .route("/livez", get(probe(Probe::Live)));
    axum::serve(listener, router.with_state(status)).await
}

async fn text(State(status): State<Arc<Status>>) -> Response {
    match status.metrics() {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn health(status: &Status, probe: Probe) -> Response {
    let (health, passed) = status.probe(probe);
    let updated = health.last_updated.map_or_else(String::new, |time| time.to_string());
    let now = health.now.to_string();
    let body = json!({"lastUpdated": updated, "currentTime": now, "nodeEligible": health.node_eligible});
    (code(passed), HEADERS, body.to_string()).into_response()
}

const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("x-content-type-options", "nosniff")];

fn code(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// A health check that is served.
struct Check {
    port: watch::Sender<HealthPort>,
    server: JoinHandle<()>,
}

/// Time between two attempts to listen at a port that is in use.
pub const RETRY: Duration = Duration::from_secs(1);

/// Serves the health checks of load balancers as Services come and go, until the receiver of the updates is gone.
///
/// A port that cannot be used, such as one of a kube-proxy that still runs, is reported once and tried again.
pub async fn health_checks(status: Arc<Status>, updates: Updates) {
    let mut wanted = status.health_ports();
    let mut served: BTreeMap<u16, Check> = BTreeMap::new();
    // The ports that cannot be used, with the reported error.
    let mut failed: BTreeMap<u16, String> = BTreeMap::new();
    loop {
        let ports = wanted.borrow_and_update().clone();
        let is_wanted = |port: &u16| ports.iter().any(|wanted| wanted.port == *port);
        // A check that is dropped ends.
        served.retain(|port, _| is_wanted(port));
        failed.retain(|port, _| is_wanted(port));
        for port in ports {
            if let Some(check) = served.get(&port.port) {
                check.port.send_replace(port);
                continue;
            }
            let (number, about) = (port.port, format!("health check of {}", port.service));
            let line = match listen(number).await {
                Ok(listener) => {
                    served.insert(number, Check::start(listener, port, status.clone()));
                    failed.remove(&number).map(|_| format!("{about}: listens at port {number} now"))
                }
                Err(error) => {
                    let text = format!("{about}: listen at port {number}: {error}");
                    let is_known = failed.insert(number, text.clone()).as_ref() == Some(&text);
                    (!is_known).then_some(text)
                }
            };
            if line.is_some_and(|line| updates.send(Update::Line(line)).is_err()) {
                return;
            }
        }
        let changed = if failed.is_empty() {
            wanted.changed().await
        } else {
            timeout(RETRY, wanted.changed()).await.unwrap_or(Ok(()))
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Listens at all addresses of the node.
async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        // Without IPv6.
        Err(error) if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(EAFNOSUPPORT) => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        result => result,
    }
}

/// The kernel has no IPv6.
const EAFNOSUPPORT: i32 = 97;

impl Drop for Check {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Check {
    fn start(listener: TcpListener, port: HealthPort, status: Arc<Status>) -> Self {
        let (port, receiver) = watch::channel(port);
        let router = Router::new().fallback(check).with_state((receiver, status));
        let server = tokio::spawn(async move {
            // A failed connection ends only itself.
            let _ = axum::serve(listener, router).await;
        });
        Self { port, server }
    }
}

/// Answers as kube-proxy does: 200 with at least one local endpoint while the proxy is healthy.
async fn check(State((port, status)): State<(Receiver<HealthPort>, Arc<Status>)>) -> Response {
    let (service, local) = {
        let port = port.borrow();
        (port.service.clone(), port.local)
    };
    let healthy = status.health().good;
    let service = json!({"namespace": service.namespace, "name": service.name});
    let body = json!({"service": service, "localEndpoints": local, "serviceProxyHealthy": healthy});
    let weight = [("x-load-balancing-endpoint-weight", local.to_string())];
    (code(healthy && local > 0), HEADERS, weight, body.to_string()).into_response()
}
