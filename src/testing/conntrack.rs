//! A small model of the connection tracker: see [`testing`](crate::testing).

use std::time::Duration;

use nix::libc::ENOENT;

use super::Denial;
use crate::conntrack::flow::{Flow, Tuple, read_key};
use crate::conntrack::request::{self, Change, Query};
use crate::error::DecodeError;
use crate::net::Family;
use crate::wire::Writer;
use crate::wire::nfnetlink;

/// The UDP flows, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Model {
    flows: Vec<Flow>,
    last_id: u32,
}

impl Model {
    /// Adds a flow of these tuples.
    pub(crate) fn add(&mut self, original: Tuple, reply: Tuple) -> Flow {
        self.last_id += 1;
        let flow = Flow { original, reply, id: self.last_id, mark: Some(0), timeout: Some(Duration::from_secs(30)) };
        self.flows.push(flow);
        flow
    }

    /// The type and the bodies of the answers to a request of this type with this body, or how it is refused.
    pub(crate) fn answer(&mut self, kind: u16, body: &[u8], dump: bool) -> Result<(u16, Vec<Vec<u8>>), Denial> {
        match (kind, dump) {
            (request::GET, true) => {
                let family = asked_family(body)?;
                let flows = self.flows.iter().filter(|flow| flow.family() == family);
                Ok((request::NEW, flows.map(entry).collect()))
            }
            (request::DELETE, false) => {
                let place = self.place(body)?.ok_or(ENOENT)?;
                self.flows.remove(place);
                Ok((kind, Vec::new()))
            }
            _ => Err(Denial::not_modelled("this message of the connection tracker")),
        }
    }

    /// The text of a request: whether it is a change, and the change or the query.
    pub(crate) fn text(&self, kind: u16, body: &[u8]) -> Result<(bool, String), DecodeError> {
        if kind == request::GET {
            return Ok((false, Query::Flows(asked_family(body)?).to_string()));
        }
        let flow = self.place(body)?.and_then(|place| self.flows.get(place));
        let text =
            flow.map_or_else(|| "delete a flow that has ended".to_owned(), |flow| Change::Delete(*flow).to_string());
        Ok((true, text))
    }

    /// Place of the flow that a request identifies.
    fn place(&self, body: &[u8]) -> Result<Option<usize>, DecodeError> {
        let key = read_key(nfnetlink::attributes(body)?)?;
        Ok(self.flows.iter().position(|flow| (flow.reply, flow.id) == key))
    }
}

fn asked_family(body: &[u8]) -> Result<Family, DecodeError> {
    let number = body.first().copied().unwrap_or_default();
    request::family(number).ok_or(DecodeError::Value { attribute: "nfgen_family", value: number.into() })
}

fn entry(flow: &Flow) -> Vec<u8> {
    let mut body = Vec::new();
    let mut out = Writer::new(&mut body);
    nfnetlink::write_header(&mut out, request::family_number(flow.family()));
    flow.write(&mut out);
    body
}
