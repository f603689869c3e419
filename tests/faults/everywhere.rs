//! One operation, one fault, every position: the client says what happened, and its next call works.

use std::fmt::Debug;

use lvs::testing::{Fault, Kernel};

/// Numbers of errors, as `errno(3)` has them.
pub(crate) mod errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const EINTR: i32 = 4;
    pub(crate) const EIO: i32 = 5;
    pub(crate) const EBADF: i32 = 9;
    pub(crate) const EAGAIN: i32 = 11;
    pub(crate) const ENOMEM: i32 = 12;
    pub(crate) const ENOBUFS: i32 = 105;
}
use errno::{EAGAIN, EBADF, EINTR, EIO, ENOBUFS, ENOENT, ENOMEM, EPERM};

/// A client, and the kernel that it is tried with.
pub(crate) trait Bench {
    type Client;
    /// A kernel that has something to tell.
    fn kernel() -> Kernel;
    fn connect(kernel: &Kernel) -> Self::Client;
    /// Everything that the client can see.
    fn state(client: &mut Self::Client) -> String;
    /// Makes a change that was not made before, and sees it.
    fn works(client: &mut Self::Client);
}

/// An operation. Returns its results line by line.
pub(crate) type Run<C> = fn(&mut C) -> lvs::Result<Vec<String>>;

#[derive(Clone, Copy)]
pub(crate) struct Operation<C> {
    /// How its errors begin; several ways with `|` between them.
    pub(crate) name: &'static str,
    pub(crate) nature: Nature,
    pub(crate) run: Run<C>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Nature {
    /// One request, at most one answer.
    One,
    /// A list that is read again when it was disturbed.
    List,
    /// A list, or several, that are given out as they come.
    Stream,
    /// Several requests: half of them may be done.
    Several,
    /// Several requests, some of which look whether a set exists and list it.
    Replacement,
}
use Nature::{List, One, Replacement, Several, Stream};

pub(crate) fn lines<T: Debug>(of: impl IntoIterator<Item = T>) -> Vec<String> {
    of.into_iter().map(|line| format!("{line:?}")).collect()
}

/// Result of an operation with a fault.
enum Told {
    /// The result without the fault.
    TheSame,
    /// The result without the fault, or an error that ends so.
    TheSameOr(&'static [&'static str]),
    /// An error that ends so.
    Error(&'static str),
    /// Any result or error.
    Anything,
}
use Told::{Anything, Error, TheSame, TheSameOr};

const SILENCE: &str = ": the kernel did not answer in time";
const OVERRUN: &str = ": the socket's receive buffer overran and replies were lost";
const INTERRUPTED: &str = ": the table changed while it was read";
const TRUNCATED: &str = " was truncated to 65536";
const CLOSED: &str = ": Bad file descriptor (os error 9)";
const NO_ANSWER: &str = ": the kernel acknowledged the request but sent no answer";

const FAULTS: [Fault; 21] = [
    Fault::Lost,
    Fault::Late,
    Fault::Twice,
    Fault::Swapped,
    Fault::Truncated,
    Fault::Cut(1),
    Fault::Cut(15),
    Fault::Cut(18),
    Fault::Forged,
    Fault::Stray,
    Fault::Interrupted,
    Fault::Ended(EIO),
    Fault::Ended(ENOENT),
    Fault::Ended(ENOMEM),
    Fault::Failing(ENOBUFS),
    Fault::Failing(EINTR),
    Fault::Failing(EAGAIN),
    Fault::Failing(EBADF),
    Fault::Refused(EPERM),
    Fault::Refused(ENOENT),
    Fault::Unsent(EBADF),
];

fn told(fault: Fault, nature: Nature) -> Told {
    match (fault, nature) {
        (Fault::Lost | Fault::Late | Fault::Failing(EAGAIN), _) => Error(SILENCE),
        (Fault::Forged | Fault::Stray | Fault::Failing(EINTR), _) => TheSame,
        // The parts of a list have no numbers: one that comes twice shows only where everything in it has an identity.
        (Fault::Twice, One | List | Several | Replacement) => TheSame,
        (Fault::Twice, Stream) => Anything,
        // An answer after its acknowledgement is none. Items after the end of a dump are lost without an error: netlink
        // never reorders them.
        (Fault::Swapped, One) => TheSameOr(&[NO_ANSWER, SILENCE]),
        (Fault::Swapped, _) => Anything,
        (Fault::Truncated, _) => Error(TRUNCATED),
        (Fault::Cut(_), _) => Error(" bytes before the end"),
        // Only lists are marked so; elsewhere the mark means nothing.
        (Fault::Interrupted, One | List | Several) => TheSame,
        (Fault::Interrupted, Replacement) => TheSameOr(&[INTERRUPTED]),
        (Fault::Interrupted, Stream) => Error(INTERRUPTED),
        (Fault::Ended(EIO), _) => Error("(EIO)"),
        (Fault::Ended(ENOMEM), _) => Error("(ENOMEM)"),
        // The answer to a look-up: the set does not exist.
        (Fault::Ended(ENOENT) | Fault::Refused(ENOENT), Replacement) => Anything,
        // A refusal with "not found" may be followed by another attempt.
        (Fault::Ended(_) | Fault::Refused(ENOENT), Several) => Error(""),
        (Fault::Ended(_) | Fault::Refused(ENOENT), _) => Error("(ENOENT)"),
        (Fault::Failing(ENOBUFS), _) => Error(OVERRUN),
        (Fault::Failing(_) | Fault::Unsent(_), _) => Error(CLOSED),
        (Fault::Refused(_), _) => Error("(EPERM)"),
        (fault, _) => panic!("what is to be told of {fault:?}?"),
    }
}

/// Result of an operation without faults, and the state before and after.
struct Normal {
    before: String,
    result: Result<Vec<String>, String>,
    after: String,
}

/// Tries every operation with every fault at every position; returns how many times that was. `except` are faults that
/// mean something else to this kernel.
pub(crate) fn all<B: Bench>(operations: &[Operation<B::Client>], except: &[Fault]) -> usize {
    let mut tried = 0;
    let mut wrong = Vec::new();
    for operation in operations {
        let kernel = B::kernel();
        let before = B::state(&mut B::connect(&kernel));
        let result = (operation.run)(&mut B::connect(&kernel)).map_err(|error| error.to_string());
        let normal = Normal { before, result, after: B::state(&mut B::connect(&kernel)) };
        for fault in FAULTS.into_iter().filter(|fault| !except.contains(fault)) {
            let mut position = 0;
            while let Some(result) = try_one::<B>(operation, &normal, fault, position) {
                wrong.extend(result.err());
                position += 1;
                tried += 1;
            }
            assert!(position > 0, "{}: {fault:?} never happened", operation.name);
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    tried
}

/// `None` if there was no such position.
fn try_one<B: Bench>(
    operation: &Operation<B::Client>,
    normal: &Normal,
    fault: Fault,
    position: usize,
) -> Option<Result<(), String>> {
    let kernel = B::kernel();
    let mut client = B::connect(&kernel);
    kernel.disturb(position, fault);
    let got = (operation.run)(&mut client).map_err(|error| error.to_string());
    let wrong = |what: &str| Some(Err(format!("{} with {fault:?} at {position}: {what}: {got:?}", operation.name)));
    if kernel.faults_left() > 0 {
        assert_eq!(got, normal.result, "{} without a fault", operation.name);
        return None;
    }
    let says = |end: &str| match &got {
        Ok(_) => false,
        Err(text) => operation.name.split('|').any(|name| text.starts_with(name)) && text.ends_with(end),
    };
    let (as_told, certain) = match told(fault, operation.nature) {
        TheSame => (got == normal.result, true),
        TheSameOr(ends) => (got == normal.result || ends.iter().any(|end| says(end)), true),
        Error(end) => (says(end), true),
        Anything => (true, false),
    };
    if !as_told {
        return wrong("it says");
    }
    // The next call works, and sees what there is.
    let seen = B::state(&mut client);
    if seen != B::state(&mut B::connect(&kernel)) {
        return wrong("afterwards it sees something else than there is");
    }
    if !matches!(operation.nature, Several | Replacement) && seen != normal.before && seen != normal.after {
        return wrong("it is half done");
    }
    if certain && got.is_ok() && seen != normal.after {
        return wrong("it is not done");
    }
    if matches!(fault, Fault::Refused(_) | Fault::Unsent(_))
        && !matches!(operation.nature, Several | Replacement)
        && seen != normal.before
    {
        return wrong("it is done all the same");
    }
    B::works(&mut client);
    Some(Ok(()))
}

/// Changes one byte, at each place of each answer in turn, under every operation.
///
/// The operation ends, with any result, and the next call works.
pub(crate) fn any_byte<B: Bench>(operations: &[Operation<B::Client>]) {
    for operation in operations {
        for position in 0.. {
            // From another place each time, so that every byte of a header has its turn somewhere.
            for (place, byte) in (position % 29..1100).step_by(29).zip([0, 1, 255, 16, 128].into_iter().cycle()) {
                let kernel = B::kernel();
                let mut client = B::connect(&kernel);
                kernel.disturb(position, Fault::Altered(place, byte));
                _ = (operation.run)(&mut client);
                if kernel.faults_left() > 0 {
                    break;
                }
                let seen = B::state(&mut client);
                assert_eq!(seen, B::state(&mut B::connect(&kernel)), "{} at {position}, {place}", operation.name);
                B::works(&mut client);
            }
            let kernel = B::kernel();
            let mut client = B::connect(&kernel);
            kernel.disturb(position, Fault::Lost);
            _ = (operation.run)(&mut client);
            if kernel.faults_left() > 0 {
                break;
            }
        }
    }
}
