//! The netlink state machine: one conversation with the kernel, without a socket and without a clock.
//!
//! An [`Exchange`] turns requests into datagrams and datagrams into replies. The owner of a socket drives it: this
//! crate's blocking clients, an asynchronous program, or a test in place of the kernel.
//!
//! - Queue one dump ([`Exchange::queue_dump`]), or any number of other requests ([`Exchange::queue`]) until
//!   [`Exchange::is_full`]. They are one datagram, whose requests the kernel carries out in order.
//!   A request of this crate is a [`Prepared`](crate::Prepared).
//! - Call [`Exchange::step`] and carry out the returned [`Step`], until [`Step::Finished`].
//!
//! The socket must have `NETLINK_CAP_ACK` and `NETLINK_EXT_ACK` enabled, and be read with `MSG_TRUNC`.
//!
//! Only the last request asks for an acknowledgement. The kernel answers a refused request in any case, so every
//! earlier request that was not refused was carried out. That requires that no reply is lost: [`Limits`] restricts the
//! number of requests in a datagram so that the refusals of all of them fit the socket's receive buffer (`SO_RCVBUF`).
//! Datagrams are received into the inbox of the exchange, another buffer.
//!
//! Replies are matched by sequence number and accepted from the kernel only. Replies to an abandoned request
//! ([`Exchange::abandon`]) are skipped, and never affect the next request.
//!
//! ```
//! use lvs::exchange::{Exchange, Limits, Step};
//!
//! let mut exchange = Exchange::new(Limits::default());
//! exchange.queue(33, 0, b"body").unwrap();
//! assert!(matches!(exchange.step(), Ok(Step::Send)));
//! let sent = exchange.outgoing().to_vec();
//! exchange.sent();
//! // The kernel's acknowledgement: an error message with the error number 0 and the request's header.
//! let mut ack = 36u32.to_ne_bytes().to_vec();
//! ack.extend(2u16.to_ne_bytes());
//! ack.extend(0u16.to_ne_bytes());
//! ack.extend(&sent[8..12]);
//! ack.extend([0; 4]);
//! ack.extend([0; 4]);
//! ack.extend(&sent[..16]);
//! assert!(matches!(exchange.step(), Ok(Step::Receive)));
//! exchange.inbox()[..36].copy_from_slice(&ack);
//! exchange.received(36, 0);
//! assert!(matches!(exchange.step(), Ok(Step::Finished)));
//! ```

use std::ops::Range;

use crate::error::{Cause, Refusal};
use crate::wire::Writer;
use crate::wire::message::{self, Content, HEADER, Incoming};

/// Bounds of one datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum number of requests in one datagram. The refusals of all of them must fit the socket's receive buffer
    /// (`SO_RCVBUF`). Answers are longer than refusals: a driver that queues many queries must allow for that.
    pub requests: usize,
    /// Number of bytes of requests above which a datagram is full.
    pub bytes: usize,
    /// Length of the inbox in bytes, at most 4 MiB. A longer datagram is truncated, which is an error.
    pub inbox: usize,
}

impl Limits {
    /// The largest limits that have an effect: no netlink socket sends or receives longer datagrams.
    pub const LARGEST: Self = Self { requests: 1 << 16, bytes: 4 << 20, inbox: 4 << 20 };

    /// Bytes that a refusal takes from a socket's receive buffer: the kernel counts its own bookkeeping, too.
    ///
    /// 768 on Linux 6.1 and 896 on 6.12 and 7.3 without a message text (measured). The longest message text doubles it.
    const REFUSAL: usize = 2048;

    /// Maximum number of bytes that are allocated for a buffer in advance, for any limits.
    const MOST: usize = 16 * 1024 * 1024;

    /// Returns the limits of a socket with buffers of this many bytes (`SO_RCVBUF` and `SO_SNDBUF` as the kernel
    /// reports them).
    ///
    /// ```
    /// # use lvs::exchange::Limits;
    /// assert_eq!(Limits::for_buffers(212_992, 212_992), Limits::default());
    /// ```
    pub fn for_buffers(receive: usize, send: usize) -> Self {
        let default = Self::default();
        Self {
            requests: (receive / Self::REFUSAL).clamp(1, 1024),
            // Half, since a datagram is full only once it is longer than this.
            bytes: default.bytes.min(send / 2),
            ..default
        }
    }
}

impl Default for Limits {
    /// Returns the limits of a socket with the kernel's default buffers.
    fn default() -> Self {
        // Less than half of the default send buffer, 208 KiB; the longest datagram of a dump has 32 KiB.
        Self { requests: 104, bytes: 96 * 1024, inbox: 64 * 1024 }
    }
}

/// Length from which allocators map memory instead of filling it with zeros.
const MAPPED: usize = 132 << 10;

/// Returns a receive buffer whose pages are not touched before a datagram reaches them, for the bars of cold starts.
fn zeros(length: usize) -> Vec<u8> {
    let mut zeros = vec![0; length.max(MAPPED)];
    zeros.truncate(length);
    zeros
}

/// Few requests are longer, in bytes.
const LONGEST_USUAL: usize = 1024;

/// Next step of the exchange.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// Send [`Exchange::outgoing`] to the kernel as one datagram, then call [`Exchange::sent`].
    Send,
    /// Receive one datagram into [`Exchange::inbox`], then call [`Exchange::received`].
    Receive,
    /// A message was received in reply to a request: its body is [`Exchange::message`].
    Message {
        /// Number of the request that it answers, counted from 0.
        request: usize,
        /// The message's type.
        kind: u16,
    },
    /// The kernel refused a request: its body may be [`Exchange::message`].
    Refused {
        /// Number of the request, counted from 0.
        request: usize,
        /// Error number and message text of the kernel.
        refusal: Refusal,
    },
    /// Every request is answered.
    Finished,
}

/// Next part of a dump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listed {
    /// A message: [`Exchange::message`].
    Message {
        /// Its type.
        kind: u16,
    },
    /// The dump has ended.
    End,
}

/// Reads the next message of the dump with this sequence number; `None` if it is not simply an item or the end.
#[inline]
fn usual_message(unread: &[u8], sequence: u32) -> Option<(Listed, Incoming<'_>)> {
    let incoming = message::read(unread).ok()?;
    if incoming.sequence != sequence || incoming.is_interrupted() {
        return None;
    }
    if !incoming.is_control() {
        Some((Listed::Message { kind: incoming.kind }, incoming))
    } else if incoming.kind == message::DONE && incoming.is_plain_success() {
        Some((Listed::End, incoming))
    } else {
        None
    }
}

/// The requests in flight.
#[derive(Debug)]
struct InFlight {
    /// The first request's sequence number; the others follow.
    first: u32,
    count: u32,
    dump: bool,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// More may be queued.
    Queued,
    /// The kernel has them.
    Sent,
    /// The kernel has them, and reported a change of its table during the dump.
    Interrupted,
}

/// One conversation with the kernel: see [the module](self).
#[derive(Debug)]
pub struct Exchange {
    limits: Limits,
    /// The sequence number of the next request.
    next: u32,
    outgoing: Vec<u8>,
    /// Start of the last queued message.
    last: usize,
    inbox: Vec<u8>,
    /// Range of the receive buffer that is received and not yet read.
    unread: Range<usize>,
    /// The length of a datagram that did not fit.
    truncated: Option<usize>,
    /// Range of the current message's body in the receive buffer.
    message: Range<usize>,
    in_flight: Option<InFlight>,
    /// Numbers of the requests in flight that were refused so far, in their order.
    refused: Vec<u32>,
    /// The sequence number of an abandoned dump whose end was not received. The kernel refuses another dump on this
    /// socket until then.
    open_dump: Option<u32>,
}

impl Exchange {
    /// Returns an exchange within these limits, and within [`Limits::LARGEST`].
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            requests: limits.requests.min(Limits::LARGEST.requests),
            bytes: limits.bytes.min(Limits::LARGEST.bytes),
            inbox: limits.inbox.min(Limits::LARGEST.inbox),
        };
        Self {
            limits,
            next: 1,
            // It is full only once it is longer.
            outgoing: Vec::with_capacity(limits.bytes.min(Limits::MOST) + LONGEST_USUAL),
            last: 0,
            inbox: zeros(limits.inbox.min(Limits::MOST)),
            unread: 0..0,
            truncated: None,
            message: 0..0,
            in_flight: None,
            refused: Vec::new(),
            open_dump: None,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Queues a request: a message of this type with these flags (`NLM_F_REQUEST` and `NLM_F_ACK` are added) and body.
    ///
    /// # Errors
    /// - [`Cause::TooLong`] if the body does not fit in a message.
    /// - [`Cause::InvalidInput`] behind a queued dump, and while requests are in flight: [`Exchange::abandon`] ends these.
    ///
    /// Then nothing was queued.
    pub fn queue(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(), Cause> {
        self.check_queue(false)?;
        self.queue_with(kind, flags, |out| out.raw(body))
    }

    /// Queues the request for a dump (`NLM_F_DUMP`), which must be alone in its datagram.
    ///
    /// # Errors
    /// As [`Exchange::queue`], and [`Cause::InvalidInput`] behind any queued request.
    pub fn queue_dump(&mut self, kind: u16, body: &[u8]) -> Result<(), Cause> {
        self.check_queue(true)?;
        self.queue_dump_with(kind, |out| out.raw(body))
    }

    /// Refuses a request that would drop others.
    pub(crate) fn check_queue(&self, dump: bool) -> Result<(), Cause> {
        match &self.in_flight {
            Some(in_flight) if in_flight.progress != Progress::Queued => {
                Err(Cause::InvalidInput("other requests are in flight: read their replies, or abandon them".into()))
            }
            Some(in_flight) if in_flight.dump || dump => {
                Err(Cause::InvalidInput("a dump must be alone in its datagram: send the queued requests before".into()))
            }
            _ => Ok(()),
        }
    }

    /// As [`Exchange::queue`]; abandons requests that are in flight, and a queued dump.
    pub(crate) fn queue_with(
        &mut self,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Writer<'_>),
    ) -> Result<(), Cause> {
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.progress != Progress::Queued || in_flight.dump) {
            self.abandon();
        }
        let start = self.outgoing.len();
        message::write(&mut self.outgoing, kind, flags | message::REQUEST, self.next, body)
            .map_err(|what| Cause::TooLong { what })?;
        self.last = start;
        let first = self.next;
        self.next = self.next.wrapping_add(1);
        if self.in_flight.is_none() {
            self.refused.clear();
        }
        let in_flight =
            self.in_flight.get_or_insert(InFlight { first, count: 0, dump: false, progress: Progress::Queued });
        in_flight.count += 1;
        Ok(())
    }

    /// As [`Exchange::queue_dump`]; abandons all other requests.
    #[inline]
    pub(crate) fn queue_dump_with(&mut self, kind: u16, body: impl FnOnce(&mut Writer<'_>)) -> Result<(), Cause> {
        self.abandon();
        self.queue_with(kind, message::DUMP, body)?;
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.dump = true;
        }
        Ok(())
    }

    /// Whether the queued requests should be sent before another one is queued.
    pub fn is_full(&self) -> bool {
        let count = self.in_flight.as_ref().map_or(0, |in_flight| in_flight.count);
        usize::try_from(count).unwrap_or(usize::MAX) >= self.limits.requests || self.outgoing.len() >= self.limits.bytes
    }

    /// Returns the next step of the exchange. After an error all requests are abandoned.
    ///
    /// # Errors
    /// [`Cause::Truncated`], [`Cause::Decode`], and [`Cause::Interrupted`] in place of [`Step::Finished`].
    #[inline]
    pub fn step(&mut self) -> Result<Step, Cause> {
        let step = self.advance();
        if step.is_err() {
            self.abandon();
        }
        step
    }

    /// Returns the datagram to send on [`Step::Send`].
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Reports that the datagram of [`Step::Send`] was sent.
    pub fn sent(&mut self) {
        self.outgoing.clear();
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.progress = Progress::Sent;
        }
    }

    /// Returns the receive buffer for the next datagram.
    pub fn inbox(&mut self) -> &mut [u8] {
        &mut self.inbox
    }

    /// Reports a received datagram: its whole length, even if it did not fit (`MSG_TRUNC`), and the port of its sender.
    /// The kernel's port is 0; datagrams from other processes are dropped.
    pub fn received(&mut self, length: usize, sender: u32) {
        if sender != 0 {
            return;
        }
        if self.is_last_acknowledgement(length) {
            (self.truncated, self.unread, self.in_flight) = (None, 0..0, None);
            return;
        }
        let fits = length <= self.inbox.len();
        self.truncated = (!fits).then_some(length);
        self.unread = 0..if fits { length } else { 0 };
    }

    /// Whether the received datagram begins with the acknowledgement of the last request. Then the exchange is
    /// finished. A shortcut for the bar of single adds.
    #[inline]
    fn is_last_acknowledgement(&self, length: usize) -> bool {
        let asked = |in_flight: &&InFlight| !in_flight.dump && in_flight.progress == Progress::Sent;
        let (Some(in_flight), None) = (self.in_flight.as_ref().filter(asked), self.open_dump) else {
            return false;
        };
        let last = in_flight.first.wrapping_add(in_flight.count).wrapping_sub(1);
        self.inbox.get(..length).is_some_and(|datagram| {
            message::read(datagram).is_ok_and(|incoming| {
                incoming.sequence == last && incoming.kind == message::ERROR && incoming.is_plain_success()
            })
        })
    }

    /// Continues a dump, as [`Exchange::step`] does. `None`, without effect, if the next message needs more. A shortcut
    /// for the bar of listings.
    #[inline]
    pub(crate) fn next_of_list(&mut self) -> Option<Listed> {
        let (unread, sequence) = self.usual_list()?;
        let (listed, Incoming { body, rest, .. }) = usual_message(unread, sequence)?;
        let (body, rest) = (body.len(), rest.len());
        match listed {
            Listed::Message { .. } => self.message = self.unread.start + HEADER..self.unread.start + HEADER + body,
            Listed::End => self.in_flight = None,
        }
        self.unread.start = self.unread.end - rest;
        Some(listed)
    }

    /// Takes the other items of the datagram, as [`Exchange::next_of_list`] does: `each` gets their bodies, and the number
    /// of bytes behind.
    #[inline]
    pub(crate) fn other_items(&mut self, mut each: impl FnMut(&[u8], usize)) {
        let Some((mut unread, sequence)) = self.usual_list() else { return };
        while let Some((Listed::Message { .. }, Incoming { body, rest, .. })) = usual_message(unread, sequence) {
            each(body, rest.len());
            unread = rest;
        }
        self.unread.start = self.unread.end - unread.len();
    }

    /// The unread messages of an undisturbed dump, and the dump's sequence number.
    #[inline]
    fn usual_list(&self) -> Option<(&[u8], u32)> {
        let sent = |in_flight: &&InFlight| in_flight.dump && in_flight.progress == Progress::Sent;
        let in_flight = self.in_flight.as_ref().filter(sent)?;
        let unread = self.inbox.get(self.unread.clone()).filter(|unread| !unread.is_empty())?;
        Some((unread, in_flight.first))
    }

    /// Returns the length of the datagram of the current message, and the number of bytes behind the message.
    pub(crate) fn datagram(&self) -> (usize, usize) {
        (self.unread.end, self.unread.len())
    }

    /// Returns the body of the message of the last [`Step::Message`]. After [`Step::Refused`] it is that of the refused
    /// request, if the kernel repeats it: ipset does, with the number of the refused entry.
    pub fn message(&self) -> &[u8] {
        self.inbox.get(self.message.clone()).unwrap_or_default()
    }

    /// Abandons the requests in flight. Replies that arrive for them later are skipped. Sent requests may have been
    /// carried out.
    pub fn abandon(&mut self) {
        self.outgoing.clear();
        self.truncated = None;
        if let Some(in_flight) = self.in_flight.take() {
            if in_flight.dump && in_flight.progress != Progress::Queued {
                self.open_dump = Some(in_flight.first);
            }
        }
    }

    /// Reports that the socket's receive queue is empty, so that no reply to an abandoned request will arrive. Queued
    /// requests are not affected.
    ///
    /// For [`Step::Receive`] while [`Exchange::outgoing`] is not sent yet: the next datagram of an abandoned dump
    /// exists as soon as the one before is received, so no wait is needed.
    pub fn drained(&mut self) {
        self.open_dump = None;
    }

    /// Abandons the requests in flight, when the socket's receive queue is empty and no reply will arrive.
    ///
    /// It is for a timeout, and for an overrun (`ENOBUFS`) once the queue has been emptied.
    ///
    /// ```
    /// # use lvs::exchange::{Exchange, Limits, Step};
    /// # let mut exchange = Exchange::new(Limits::default());
    /// exchange.queue(33, 0, b"body")?;
    /// exchange.sent();
    /// // It timed out.
    /// exchange.reset();
    /// assert!(matches!(exchange.step()?, Step::Finished));
    /// # Ok::<(), lvs::Cause>(())
    /// ```
    pub fn reset(&mut self) {
        self.abandon();
        self.drained();
        self.unread = 0..0;
    }

    #[inline]
    fn advance(&mut self) -> Result<Step, Cause> {
        if !self.is_read() {
            match self.next_of_list() {
                Some(Listed::Message { kind }) => return Ok(Step::Message { request: 0, kind }),
                Some(Listed::End) => {}
                None => {
                    if let Some(step) = self.look()? {
                        return Ok(step);
                    }
                }
            }
        }
        if self.may_send() {
            Ok(Step::Send)
        } else if self.in_flight.is_some() {
            Ok(Step::Receive)
        } else {
            Ok(Step::Finished)
        }
    }

    /// Whether a dump was sent and has not ended.
    #[inline]
    pub(crate) fn reads_dump(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|in_flight| in_flight.dump)
    }

    /// Whether [`Exchange::step`] would return [`Step::Receive`] without reading a message.
    #[inline]
    pub(crate) fn may_receive(&self) -> bool {
        let sent = |in_flight: &InFlight| in_flight.progress != Progress::Queued;
        self.is_read() && self.open_dump.is_none() && self.in_flight.as_ref().is_some_and(sent)
    }

    /// Whether [`Exchange::step`] would return [`Step::Send`] without reading a message; then the datagram is ready.
    #[inline]
    pub(crate) fn may_send(&mut self) -> bool {
        let Some(in_flight) = self.in_flight.as_ref().filter(|in_flight| in_flight.progress == Progress::Queued) else {
            return false;
        };
        // The kernel refuses a second dump, and continues to fill the receive buffer with the first: the refusals of
        // many requests would not fit.
        if !self.is_read() || (self.open_dump.is_some() && (in_flight.dump || in_flight.count > 1)) {
            return false;
        }
        if !in_flight.dump {
            message::ask_for_ack(&mut self.outgoing, self.last);
        }
        true
    }

    /// Whether [`Exchange::step`] would return [`Step::Finished`] without reading a message.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.in_flight.is_none() && self.is_read()
    }

    /// Whether all received messages were read.
    #[inline]
    fn is_read(&self) -> bool {
        self.truncated.is_none() && self.unread.is_empty()
    }

    /// Reads the received messages; `None` when none is left.
    fn look(&mut self) -> Result<Option<Step>, Cause> {
        loop {
            if let Some(length) = self.truncated.take() {
                // The sequence number of its first message names the request, if it fitted.
                match message::sequence(&self.inbox) {
                    Some(sequence) if !self.awaits(sequence) => {}
                    _ => return Err(Cause::Truncated { length, buffer: self.inbox.len() }),
                }
            }
            if self.unread.is_empty() {
                return Ok(None);
            }
            // Messages that arrived before the requests were sent do not answer them.
            let sent = self.in_flight.as_ref().is_some_and(|in_flight| in_flight.progress != Progress::Queued);
            match self.read_message() {
                Ok(Some(step)) => return Ok(Some(step)),
                Err(error) if sent => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Whether replies with this sequence number belong to a request in flight.
    fn awaits(&self, sequence: u32) -> bool {
        self.in_flight.as_ref().is_some_and(|in_flight| {
            in_flight.progress != Progress::Queued && sequence.wrapping_sub(in_flight.first) < in_flight.count
        })
    }

    /// Reads the next message of the datagram; `None` if it is skipped.
    #[inline]
    fn read_message(&mut self) -> Result<Option<Step>, Cause> {
        let unread = self.inbox.get(self.unread.clone()).unwrap_or_default();
        let incoming = message::read(unread).inspect_err(|_| self.unread = 0..0)?;
        let body = self.unread.start + HEADER;
        self.unread.start = self.unread.end - incoming.rest.len();

        if self.open_dump == Some(incoming.sequence) {
            if matches!(incoming.kind, message::DONE | message::ERROR) {
                self.open_dump = None;
            }
            return Ok(None);
        }
        let Some(in_flight) = &mut self.in_flight else {
            return Ok(None);
        };
        let offset = incoming.sequence.wrapping_sub(in_flight.first);
        if offset >= in_flight.count || in_flight.progress == Progress::Queued {
            return Ok(None);
        }
        let request = usize::try_from(offset).unwrap_or(usize::MAX);
        if in_flight.dump && incoming.is_interrupted() {
            in_flight.progress = Progress::Interrupted;
        }
        let last = offset + 1 == in_flight.count;
        let (ends, refusal) = if incoming.is_plain_success() {
            (if incoming.kind == message::DONE { in_flight.dump } else { last }, None)
        } else {
            match incoming.content().inspect_err(|_| self.unread = 0..0)? {
                Content::Data => {
                    self.message = body..body + incoming.body.len();
                    return Ok(Some(Step::Message { request, kind: incoming.kind }));
                }
                Content::Nothing => return Ok(None),
                Content::Answer(answer, repeated) => {
                    self.message = body + repeated.start..body + repeated.end;
                    (last, answer.err())
                }
                Content::Done(answer) => (in_flight.dump, answer.err()),
            }
        };
        // A request is refused once.
        let again = refusal.is_some()
            && match self.refused.binary_search(&offset) {
                Ok(_) => true,
                Err(place) => {
                    self.refused.insert(place, offset);
                    false
                }
            };
        if ends {
            let interrupted = in_flight.progress == Progress::Interrupted;
            self.in_flight = None;
            if interrupted && refusal.is_none() {
                return Err(Cause::Interrupted);
            }
        }
        Ok(refusal.filter(|_| !again).map(|refusal| Step::Refused { request, refusal }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(sequence: u32, errno: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let body = [&(-errno).to_ne_bytes()[..], &[0; 16]].concat();
        message::write(&mut bytes, 2, 0, sequence, |out| out.raw(&body)).unwrap();
        bytes
    }

    #[test]
    fn sequence_numbers_wrap_around() {
        let mut exchange = Exchange::new(Limits::default());
        exchange.next = u32::MAX - 1;
        for _ in 0..4 {
            exchange.queue(33, 0, b"").unwrap();
        }
        assert!(matches!(exchange.step(), Ok(Step::Send)));
        exchange.sent();
        assert!(matches!(exchange.step(), Ok(Step::Receive)));
        // The second (the last number there is), a stranger, and the last one (number 1).
        let datagram = [ack(u32::MAX, 17), ack(2, 5), ack(u32::MAX - 2, 5), ack(1, 0)].concat();
        exchange.inbox()[..datagram.len()].copy_from_slice(&datagram);
        exchange.received(datagram.len(), 0);
        assert!(matches!(exchange.step(), Ok(Step::Refused { request: 1, refusal: Refusal { errno: 17, .. } })));
        assert!(matches!(exchange.step(), Ok(Step::Finished)));
    }
}
