//! Objects of an API server: lists and watches.
//!
//! [`kube`] lists, watches, resumes after a lost connection, and lists again after status 410. A list replaces the objects of its
//! kind when its last page was received. Errors change nothing.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::utils::{Backoff, StreamBackoff};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Config};
use thiserror::Error;

use super::{Known, Update, Updates};
use crate::model::{EndpointSlice, Node, ObjectName, Service};
use crate::objects::{Kind, Object};
use received::{Received, Watched};

mod received;

/// The objects that are watched.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Name of the Node object that is watched; none if its properties are given.
    pub node: Option<String>,
    /// The state before the first list.
    pub known: Known,
    /// First and longest time between two attempts.
    pub retry: (Duration, Duration),
}

/// The configuration of the API server is absent or invalid.
#[derive(Debug, Error)]
#[error("configuration of the API server: {0}")]
pub struct InvalidConfig(String);

/// Times between two attempts that spare an API server.
pub const RETRY: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(30));

/// A client of the API server that this file describes; without one, that of `$KUBECONFIG`, `~/.kube/config` or the service account of
/// the pod.
///
/// # Errors
/// When the configuration is absent or invalid. The server is not asked.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, InvalidConfig> {
    let config = match kubeconfig {
        None => Config::infer().await.map_err(|error| invalid(&error))?,
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| invalid(&error))?;
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
            config.map_err(|error| invalid(&error))?
        }
    };
    Client::try_from(config).map_err(|error| invalid(&error))
}

fn invalid(error: &dyn Error) -> InvalidConfig {
    InvalidConfig(chain(error))
}

impl Cluster {
    /// Sends the objects and their changes until the receiver is gone. A server that does not answer is asked again.
    pub async fn watch(self, client: &Client, updates: &Updates) {
        let all = watcher::Config::default();
        let node = self.node.as_ref().map(|name| all.clone().fields(&format!("metadata.name={name}")));
        let watch_node = async {
            if let Some(node) = node {
                // Without the object, node ports would end: no address of the node is known.
                watch::<Node>(client, node, self.known.clone(), self.retry, updates).await;
            }
        };
        let services = watch::<Service>(client, all.clone(), self.known.clone(), self.retry, updates);
        let slices = watch::<EndpointSlice>(client, all.clone(), self.known.clone(), self.retry, updates);
        tokio::join!(services, slices, watch_node);
    }
}

/// An error with its sources, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let source = error.to_string();
        if !text.contains(&source) {
            text = format!("{text}: {source}");
        }
        next = error.source();
    }
    text
}

/// The watch of one kind.
struct Watch<'a> {
    kind: Kind,
    known: Known,
    updates: &'a Updates,
    /// The list in progress.
    list: Vec<Object>,
    kept: Vec<ObjectName>,
    /// The error that was reported last.
    failed: Option<String>,
}

/// The reason for which a watch ends.
enum End {
    /// A list was refused: list again.
    Again,
    /// The receiver is gone.
    Gone,
}

/// Sends the objects of a kind until the receiver is gone.
async fn watch<T: Watched>(
    client: &Client,
    config: watcher::Config,
    known: Known,
    retry: (Duration, Duration),
    updates: &Updates,
) {
    let mut watch = Watch { kind: T::KIND, known, updates, list: Vec::new(), kept: Vec::new(), failed: None };
    let mut again = Retry::new(retry);
    loop {
        let stream = kube::runtime::watcher(Api::<Received<T>>::all(client.clone()), config.clone());
        let mut stream = pin!(StreamBackoff::new(stream, Retry::new(retry)));
        let end = loop {
            let taken = match stream.try_next().await {
                Ok(Some(event)) => watch.take(event),
                Ok(None) => Err(End::Again),
                Err(error) => watch.fail(chain(&error)),
            };
            if let Err(end) = taken {
                break end;
            }
        };
        match end {
            End::Again => tokio::time::sleep(again.next().unwrap_or(retry.1)).await,
            End::Gone => return,
        }
    }
}

impl Watch<'_> {
    fn take<T: Watched>(&mut self, event: Event<Received<T>>) -> Result<(), End> {
        match event {
            Event::Init => {
                self.list.clear();
                self.kept.clear();
                return Ok(());
            }
            Event::InitApply(received) => {
                match received.object {
                    Ok(object) => self.list.push(T::into_object(object)),
                    Err(fault) => {
                        self.malformed(&received.name, &fault)?;
                        self.kept.push(received.name);
                    }
                }
                return Ok(());
            }
            Event::InitDone => self.listed()?,
            Event::Apply(received) => match received.object {
                Ok(object) => {
                    self.known.put(self.kind, received.name);
                    self.send(Update::Put(T::into_object(object)))?;
                }
                Err(fault) => self.malformed(&received.name, &fault)?,
            },
            Event::Delete(received) => {
                self.known.delete(self.kind, &received.name);
                self.send(Update::Delete(self.kind, received.name))?;
            }
        }
        if self.failed.take().is_some() {
            let text = format!("watch of {}s: the API server answers again", self.kind);
            self.send(Update::Line(text))?;
        }
        Ok(())
    }

    /// A list is complete.
    fn listed(&mut self) -> Result<(), End> {
        let names = self.list.iter().map(Object::name).chain(self.kept.iter().cloned());
        if let Err(empty) = self.known.list(self.kind, names) {
            self.fail(empty.to_string())?;
            return Err(End::Again);
        }
        let (objects, kept) = (std::mem::take(&mut self.list), std::mem::take(&mut self.kept));
        self.send(Update::List { kind: self.kind, objects, kept })
    }

    fn malformed(&self, name: &ObjectName, fault: &str) -> Result<(), End> {
        self.send(Update::Line(format!("{} {name} is malformed, its last state is kept: {fault}", self.kind)))
    }

    /// Reports an error, once until the next success.
    fn fail(&mut self, text: String) -> Result<(), End> {
        self.list.clear();
        if self.failed.as_ref() != Some(&text) {
            self.send(Update::Line(format!("watch of {}s: {text}", self.kind)))?;
            self.failed = Some(text);
        }
        Ok(())
    }

    fn send(&self, update: Update) -> Result<(), End> {
        self.updates.send(update).map_err(|_| End::Gone)
    }
}

/// Times between attempts: doubled up to the longest, each shortened by up to a half so that nodes do not ask in the same moment.
struct Retry {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Retry {
    fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, next: first }
    }
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let time = self.next;
        self.next = (time * 2).min(self.longest);
        let random = RandomState::new().build_hasher().finish() % 512;
        Some(time.mul_f64(1.0 - f64::from(u16::try_from(random).unwrap_or(0)) / 1024.0))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.next = self.first;
    }
}
