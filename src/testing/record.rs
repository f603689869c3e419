//! The record of requests.

use super::{conntrack, ipset, vip};
use crate::error::DecodeError;
use crate::ipset as sets;
use crate::ipset::numbers::command;
use crate::ipset::request::STRICT;
use crate::ipset::set::Parts;
use crate::ipvs::{Answer, Change, Message};
use crate::vip::message::{self, Route};
use crate::vip::{self as vips, Binder, Vip, link};
use crate::wire::nfnetlink;

/// Largest number of changes, and of queries. The older half is dropped when it is reached.
const MOST: usize = 1 << 17;

/// Requests that a kernel received, in their order: see [`Kernel::sent`](super::Kernel::sent).
///
/// Requests are texts, such as `add service 10.96.0.10:443/tcp`, `add 10.0.0.7 to set blocked` or
/// `bind 10.96.0.10 to vip0`: those of the modules' `Change` and `Query` values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Sent {
    /// Requests that change the kernel's state, also refused ones. Each entry of a batch of entries is one request.
    pub changes: Vec<String>,
    /// Requests that only read.
    pub queries: Vec<String>,
}

impl Sent {
    fn change(&mut self, text: impl ToString) {
        note(&mut self.changes, &text);
    }

    fn query(&mut self, text: impl ToString) {
        note(&mut self.queries, &text);
    }

    /// Records a request with this body.
    pub(crate) fn ipvs(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        match Message::decode(body)? {
            Message::Query(query) => self.query(query),
            Message::Change(change) => self.change(change),
            // These two requests have the bytes of answers.
            Message::Answer(Answer::Timeouts(timeouts)) => self.change(Change::SetTimeouts(timeouts)),
            Message::Answer(Answer::Daemon(daemon)) => self.change(Change::StartDaemon(daemon)),
            Message::Answer(_) => {}
        }
        Ok(())
    }

    /// Records a request of this type with these flags and this body.
    pub(crate) fn ipset(
        &mut self,
        model: &ipset::Model,
        kind: u16,
        flags: u16,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        use sets::{Change, Query};
        let [_, command] = kind.to_be_bytes();
        let attributes = nfnetlink::attributes(body)?;
        let parts = Parts::read(attributes)?;
        let second = parts.kind.and_then(|name| sets::SetName::any(name).ok());
        match (command, parts.name) {
            (command::PROTOCOL, _) => self.query(Query::Version),
            (command::TYPE, _) => self.query(format_args!("look up the type {}", parts.kind.unwrap_or_default())),
            (command::CREATE, Some(name)) => {
                self.change(format_args!("create set {name} ({})", parts.kind.unwrap_or_default()));
            }
            (command::DESTROY, None) => self.change(Change::DestroyAll),
            (command::DESTROY, Some(name)) => self.change(Change::Destroy(name)),
            (command::FLUSH, None) => self.change(Change::ClearAll),
            (command::FLUSH, Some(name)) => self.change(Change::Clear(name)),
            (command::RENAME, Some(name)) => second.into_iter().for_each(|to| self.change(Change::Rename(name, to))),
            (command::SWAP, Some(name)) => second.into_iter().for_each(|with| self.change(Change::Swap(name, with))),
            (command::HEADER, Some(name)) => self.query(Query::Header(name)),
            (command::GET_BYNAME, Some(name)) => self.query(Query::Index(name)),
            (command::GET_BYINDEX, _) => self.query(Query::NameOf(parts.index.unwrap_or_default())),
            (command::LIST, name) => self.query(ipset::listing(name, attributes)?),
            (command::ADD | command::DEL | command::TEST, Some(name)) => {
                let Some(set) = model.set(name) else {
                    self.change(format_args!("change set {name}, which does not exist"));
                    return Ok(());
                };
                for member in ipset::members_of(set.kind(), attributes)? {
                    match (command, flags & STRICT != 0) {
                        (command::ADD, true) => self.change(Change::Add(set, member)),
                        (command::ADD, false) => self.change(Change::Put(set, member)),
                        (command::DEL, true) => self.change(Change::Delete(set, member)),
                        (command::DEL, false) => self.change(Change::Remove(set, member)),
                        _ => self.query(Query::Test(set, member)),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Records a request of this type with this body.
    pub(crate) fn conntrack(&mut self, model: &conntrack::Model, kind: u16, body: &[u8]) -> Result<(), DecodeError> {
        match model.text(kind, body)? {
            (true, change) => self.change(change),
            (false, query) => self.query(query),
        }
        Ok(())
    }

    /// Records a request of this type with this body.
    pub(crate) fn vip(&mut self, model: &vip::Model, kind: u16, body: &[u8], dump: bool) -> Result<(), DecodeError> {
        let route = || message::read_route(message::NEW_ROUTE, body);
        let of_route = |Route { vip, protocol, .. }| (Binder::local_routes(protocol), vip);
        match kind {
            link::GET_LINK if dump => self.query("list interfaces"),
            link::GET_LINK => self.query(format_args!("look up interface {}", model.asked_name(body)?)),
            link::NEW_LINK => self.change(format_args!("create dummy interface {}", model.asked_name(body)?)),
            link::DELETE_LINK => self.change(format_args!("delete interface {}", model.asked_name(body)?)),
            message::GET_ROUTE if dump => self.query("list local routes"),
            message::GET_ROUTE => {
                self.query(format_args!("look up the route to {}", vip::requested_destination(body)?))
            }
            message::NEW_ROUTE => {
                route()?.map(of_route).into_iter().for_each(|(to, vip)| self.change(vips::Change::Bind(to, vip)));
            }
            message::DELETE_ROUTE => {
                route()?.map(of_route).into_iter().for_each(|(from, vip)| self.change(vips::Change::Unbind(from, vip)));
            }
            _ => {
                let asked = vip::Asked::read(body)?;
                let place = model.place_of(&asked);
                match (kind, asked.ip.map(Vip::from)) {
                    (message::NEW_ADDRESS, Some(vip)) => self.change(format_args!("bind {vip} to {place}")),
                    (message::DELETE_ADDRESS, Some(vip)) => self.change(format_args!("unbind {vip} from {place}")),
                    (message::GET_ADDRESS, _) => self.query(format_args!("list the addresses of {place}")),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn note(list: &mut Vec<String>, text: &impl ToString) {
    if list.len() >= MOST {
        list.drain(..MOST / 2);
    }
    list.push(text.to_string());
}
