//! An API server with answers that a test provides, request by request.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Time after which a test that waits has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const SERVICES: &str = "/api/v1/services";
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub(crate) const NODES: &str = "/api/v1/nodes";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Receiver<Request>,
    /// Requests of paths that were not asked for yet.
    waiting: RefCell<VecDeque<Request>>,
}

/// A request that waits for its answer.
pub(crate) struct Request {
    pub(crate) target: String,
    stream: TcpStream,
}

/// A watch that is open; dropped, the connection is cut.
pub(crate) struct Watch(TcpStream);

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.unwrap(), sender.clone());
                thread::spawn(move || {
                    let head = BufReader::new(&stream).lines().map_while(Result::ok);
                    let head: Vec<_> = head.take_while(|line| !line.is_empty()).collect();
                    let Some(line) = head.first() else { return };
                    let target = line.split(' ').nth(1).unwrap().to_owned();
                    let _ = sender.send(Request { target, stream });
                });
            }
        });
        Self { address, requests, waiting: RefCell::default() }
    }

    /// The next request of this path.
    pub(crate) fn next(&self, path: &str) -> Request {
        let mut waiting = self.waiting.borrow_mut();
        let is_wanted = |request: &Request| request.target.split('?').next() == Some(path);
        if let Some(position) = waiting.iter().position(is_wanted) {
            return waiting.remove(position).unwrap();
        }
        loop {
            let request = self.requests.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no request of {path}"));
            if is_wanted(&request) {
                return request;
            }
            waiting.push_back(request);
        }
    }

    /// Answers the next list of this path.
    pub(crate) fn list(&self, path: &str, version: &str, items: &[Value]) {
        let request = self.next(path);
        assert!(!request.is_watch(), "{}", request.target);
        request.list(json!({"resourceVersion": version}), items);
    }

    /// Accepts the next watch of this path, which must begin after this version.
    pub(crate) fn watch(&self, path: &str, version: &str) -> Watch {
        let request = self.next(path);
        assert!(request.is_watch(), "{}", request.target);
        let version = format!("resourceVersion={version}");
        assert!(request.target.split(['?', '&']).any(|parameter| parameter == version), "{}", request.target);
        request.watch()
    }
}

impl Request {
    pub(crate) fn is_watch(&self) -> bool {
        self.target.contains("watch=true")
    }

    /// Answers with a list as the API server writes it: items without kind and version.
    pub(crate) fn list(self, metadata: Value, items: &[Value]) {
        let items: Vec<_> = items.iter().cloned().map(bare).collect();
        let kind = if self.target.starts_with(SERVICES) { "ServiceList" } else { "EndpointSliceList" };
        self.answer(200, &json!({"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": items}));
    }

    pub(crate) fn answer(mut self, status: u16, body: &Value) {
        let body = body.to_string();
        let _ = write!(self.stream, "{}{body}", head(status, body.len()));
    }

    /// Answers with a `Status` object.
    pub(crate) fn refuse(self, status: u16, message: &str) {
        self.answer(status, &failure(status, message));
    }

    /// Sends the first half of an answer, and cuts the connection.
    pub(crate) fn cut(mut self, body: &Value) {
        let body = body.to_string();
        let _ = write!(self.stream, "{}{}", head(200, body.len()), &body[..body.len() / 2]);
    }

    /// Sends an answer byte by byte.
    pub(crate) fn slowly(mut self, body: &Value) {
        let body = body.to_string();
        write!(self.stream, "{}", head(200, body.len())).unwrap();
        for byte in body.bytes() {
            self.stream.write_all(&[byte]).unwrap();
            self.stream.flush().unwrap();
        }
    }

    fn watch(mut self) -> Watch {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes()).unwrap();
        Watch(self.stream)
    }
}

impl Watch {
    pub(crate) fn send(&mut self, event: &str, object: Value) {
        let line = json!({"type": event, "object": object}).to_string();
        self.raw(&format!("{line}\n"));
    }

    pub(crate) fn bookmark(&mut self, kind: &str, version: &str) {
        let metadata = json!({"resourceVersion": version, "creationTimestamp": null});
        let version = if kind == "Service" { "v1" } else { "discovery.k8s.io/v1" };
        self.send("BOOKMARK", json!({"kind": kind, "apiVersion": version, "metadata": metadata}));
    }

    /// An ERROR event.
    pub(crate) fn error(&mut self, code: u16, message: &str) {
        self.send("ERROR", failure(code, message));
    }

    pub(crate) fn raw(&mut self, text: &str) {
        write!(self.0, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    }

    /// Ends the watch, as the server does after some minutes.
    pub(crate) fn end(mut self) {
        self.0.write_all(b"0\r\n\r\n").unwrap();
    }
}

fn head(status: u16, length: usize) -> String {
    format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn failure(code: u16, message: &str) -> Value {
    let reason = if code == 410 { "Expired" } else { "InternalError" };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn bare(mut item: Value) -> Value {
    let fields = item.as_object_mut().unwrap();
    fields.remove("kind");
    fields.remove("apiVersion");
    item
}

/// The same object in this version.
pub(crate) fn version(mut object: Value, version: &str) -> Value {
    object["metadata"]["resourceVersion"] = version.into();
    object
}
