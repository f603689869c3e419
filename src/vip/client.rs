//! The client: dummy interfaces and the addresses on them.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use super::message;
use crate::address::not_of_a_host;
use crate::error::{Cause, DecodeError, Error, Reason, Refusal, Refused, Result};
use crate::name::Interface;
use crate::netns;
use crate::transport::Options;
use crate::transport::blocking::{Connection, Reply};

/// Virtual IPs of a network namespace: that of the thread that connects, for as long as the client lives.
///
/// Changes need `CAP_NET_ADMIN` in the user namespace that owns the network namespace;
/// [`is_permission_denied`](Error::is_permission_denied) says so. Reading needs nothing.
#[derive(Debug)]
pub struct Vips {
    connection: Connection,
    namespace: Option<(u64, u64)>,
}

/// A dummy interface, as found or made by [`Vips::ensure_dummy`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dummy {
    name: Interface,
    index: u32,
    /// An index means another interface in each namespace.
    namespace: Option<(u64, u64)>,
}

impl Dummy {
    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its index in its network namespace.
    pub fn index(&self) -> u32 {
        self.index
    }
}

/// Whether there was something to do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// It is as was asked for, and was not before.
    Changed,
    /// It was as was asked for already.
    Unchanged,
}

impl Vips {
    /// Opens a socket.
    ///
    /// # Errors
    /// When the system has no room for another socket.
    pub fn connect() -> Result<Self> {
        Self::connect_with(&Options::default())
    }

    /// As [`Vips::connect`], with other buffers or another time-out.
    ///
    /// # Errors
    /// As [`Vips::connect`].
    pub fn connect_with(options: &Options) -> Result<Self> {
        let connection = Connection::open(NETLINK_ROUTE, options).and_then(|connection| {
            // Without it the kernel lists the addresses of all interfaces, whichever was asked for.
            connection.check_strictly()?;
            Ok(connection)
        });
        let connection = connection.map_err(|cause| Error::new("connect to rtnetlink", cause))?;
        Ok(Self { connection, namespace: netns::identity() })
    }

    /// Finds the dummy interface of this name, or makes it (`RTM_NEWLINK`). A new one is left down: addresses on it
    /// are local all the same.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input) when an interface cannot have this name;
    /// [`is_already_exists`](Error::is_already_exists) when an interface of another kind has it;
    /// [`is_unavailable`](Error::is_unavailable) when the kernel has no dummy interfaces.
    pub fn ensure_dummy(&mut self, name: &str) -> Result<Dummy> {
        let failed = |cause| Error::new(format_args!("ensure dummy interface {name}"), cause);
        let name = Interface::new(name).map_err(|wrong| failed(Cause::InvalidInput(wrong.to_string().into())))?;
        match self.link(name).map_err(failed)? {
            Some(link) => return self.dummy(name, link).map_err(failed),
            None => self.create(name).map_err(failed)?,
        }
        let link = self.link(name).map_err(failed)?;
        let gone =
            || Refused::new(Reason::InterfaceNotFound, "another process deleted it at once", refusal(Errno::ENODEV));
        self.dummy(name, link.ok_or_else(|| failed(gone().into()))?).map_err(failed)
    }

    /// Deletes a dummy interface and with it all of its addresses (`RTM_DELLINK`).
    ///
    /// # Errors
    /// See [`Vips`].
    pub fn delete_dummy(&mut self, dummy: &Dummy) -> Result<Outcome> {
        let operation = format!("delete dummy interface {}", dummy.name);
        self.check_namespace(dummy, &operation)?;
        self.change(&operation, &message::delete_link(dummy.index), 0, Errno::ENODEV)
    }

    /// Binds an address to the interface, as `/32` or `/128` (`RTM_NEWADDR`). IPv6 addresses can be used at once: no
    /// duplicate is looked for. An IPv6 address that the interface has with another prefix length counts as bound, though
    /// it is neither listed nor unbound here.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the interface is gone; [`is_invalid_input`](Error::is_invalid_input)
    /// when no host can have the address.
    pub fn bind(&mut self, dummy: &Dummy, address: IpAddr) -> Result<Outcome> {
        let operation = format!("bind {address} to {}", dummy.name);
        self.check_namespace(dummy, &operation)?;
        if let Some(problem) = not_of_a_host(address) {
            return Err(Error::new(operation, Cause::InvalidInput(problem.into())));
        }
        let request = message::new_address(dummy.index, address);
        self.change(&operation, &request, NLM_F_CREATE | NLM_F_EXCL, Errno::EEXIST)
    }

    /// Removes an address from the interface (`RTM_DELADDR`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the interface is gone.
    pub fn unbind(&mut self, dummy: &Dummy, address: IpAddr) -> Result<Outcome> {
        let operation = format!("unbind {address} from {}", dummy.name);
        self.check_namespace(dummy, &operation)?;
        self.change(&operation, &message::delete_address(dummy.index, address), 0, Errno::EADDRNOTAVAIL)
    }

    /// The addresses that are bound to the interface, in the kernel's order (`RTM_GETADDR`): those with the whole
    /// address as prefix.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the interface is gone; [`is_interrupted`](Error::is_interrupted)
    /// when addresses changed meanwhile.
    pub fn addresses(&mut self, dummy: &Dummy) -> Result<Vec<IpAddr>> {
        let operation = format!("list the addresses of {}", dummy.name);
        self.check_namespace(dummy, &operation)?;
        let mut addresses = Vec::new();
        let (kind, body) = message::encode(&message::get_addresses(dummy.index));
        let list = self.connection.queue_dump(kind, |out| out.raw(&body)).and_then(|()| {
            self.replies(|kind, body| {
                let found = message::read_address(kind, body)?;
                addresses.extend(found.filter(|(index, _)| *index == dummy.index).map(|(_, address)| address));
                Ok(())
            })
        });
        list.and_then(|refused| refused.map_or(Ok(()), |refusal| Err(explain(refusal).into())))
            .map_err(|cause| Error::new(operation, cause))?;
        Ok(addresses)
    }

    /// The interface called `name`, if there is one.
    fn link(&mut self, name: Interface) -> Result<Option<message::Link>, Cause> {
        let mut link = None;
        self.queue(&message::get_link(name.as_str()), 0)?;
        let refused = self.replies(|kind, body| {
            link = message::read_link(kind, body)?.or(link.take());
            Ok(())
        })?;
        match refused {
            None => Ok(link),
            Some(refusal) if refusal.errno == Errno::ENODEV as i32 => Ok(None),
            Some(refusal) => Err(explain(refusal).into()),
        }
    }

    /// Makes a dummy interface, unless there is an interface of this name by then.
    fn create(&mut self, name: Interface) -> Result<(), Cause> {
        self.queue(&message::new_dummy(name.as_str()), NLM_F_CREATE | NLM_F_EXCL)?;
        let Some(refusal) = self.replies(|_, _| Ok(()))? else {
            return Ok(());
        };
        match Errno::from_raw(refusal.errno) {
            // Loading the module makes a dummy0.
            Errno::EEXIST => Ok(()),
            Errno::EOPNOTSUPP => {
                let text = "this kernel has no dummy interfaces: the module dummy could not be loaded";
                Err(Refused::new(Reason::Unavailable, text, refusal).into())
            }
            _ => Err(explain(refusal).into()),
        }
    }

    fn dummy(&self, name: Interface, link: message::Link) -> Result<Dummy, Cause> {
        if link.kind.as_deref() == Some(message::DUMMY) {
            return Ok(Dummy { name, index: link.index, namespace: self.namespace });
        }
        let kind =
            link.kind.map_or("no kind of its own (hardware or loopback)".to_owned(), |kind| format!("kind {kind}"));
        let explanation = format!("an interface of this name exists and has {kind}");
        Err(Refused::new(Reason::AlreadyExists, explanation, refusal(Errno::EEXIST)).into())
    }

    fn check_namespace(&self, dummy: &Dummy, operation: &str) -> Result<()> {
        if dummy.namespace == self.namespace {
            return Ok(());
        }
        let problem = "the interface is in another network namespace than this client";
        Err(Error::new(operation, Cause::InvalidInput(problem.into())))
    }

    /// Sends a change; to be refused with `unchanged` means that there was nothing to do.
    fn change(
        &mut self,
        operation: &str,
        request: &RouteNetlinkMessage,
        flags: u16,
        unchanged: Errno,
    ) -> Result<Outcome> {
        let answer = self.queue(request, flags).and_then(|()| self.replies(|_, _| Ok(())));
        match answer.map_err(|cause| Error::new(operation, cause))? {
            None => Ok(Outcome::Changed),
            Some(refusal) if refusal.errno == unchanged as i32 => Ok(Outcome::Unchanged),
            Some(refusal) => Err(Error::new(operation, explain(refusal))),
        }
    }

    fn queue(&mut self, request: &RouteNetlinkMessage, flags: u16) -> Result<(), Cause> {
        let (kind, body) = message::encode(request);
        self.connection.queue(kind, flags, |out| out.raw(&body))
    }

    /// Gives every reply to `each`; returns what the kernel refused, if it did.
    fn replies(
        &mut self,
        mut each: impl FnMut(u16, &[u8]) -> Result<(), DecodeError>,
    ) -> Result<Option<Refusal>, Cause> {
        let mut refused = None;
        loop {
            match self.connection.reply()? {
                Reply::Finished => return Ok(refused),
                Reply::Refused(_, refusal) => refused = Some(refusal),
                Reply::Message(kind) => {
                    if let Err(error) = each(kind, self.connection.message()) {
                        self.connection.abandon();
                        return Err(error.into());
                    }
                }
            }
        }
    }
}

/// What the kernel would have said, had it been asked.
fn refusal(errno: Errno) -> Refusal {
    Refusal { errno: errno as i32, message: None, offset: None }
}

/// What an error number means for interfaces and addresses.
fn explain(refusal: Refusal) -> Refused {
    match Errno::from_raw(refusal.errno) {
        Errno::ENODEV => Refused::new(Reason::InterfaceNotFound, "no such interface", refusal),
        Errno::EACCES => Refused::new(Reason::Unsupported, "IPv6 is disabled on the interface", refusal),
        Errno::EPERM => {
            let text = "this needs CAP_NET_ADMIN in the user namespace that owns the network namespace";
            Refused::new(Reason::PermissionDenied, text, refusal)
        }
        _ => Refused::unexplained(refusal),
    }
}
