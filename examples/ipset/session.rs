//! Carrying out commands.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use lvs::ipset::{AnyType, Change, Entry, Ipset, Kind, NewSet, Set, SetName};
use lvs::{Cause, Protocol, Reason};

use crate::entry::{Reader, Typed};
use crate::failure::{Failure, NAME, complain, explain, refused};
use crate::names::Names;
use crate::options::{New, create, kind, set_name};
use crate::output::Printer;
use crate::syntax::{Command, Line, Mode, Settings, Word, parse};
use crate::texts::NO_SESSION;
use crate::values;

/// The connection to the kernel, opened by the first request: what needs no kernel works without one.
#[derive(Default)]
pub(crate) struct Connection(Option<Ipset>);

impl Connection {
    pub(crate) fn get(&mut self) -> Result<&mut Ipset, Failure> {
        match &mut self.0 {
            Some(ipset) => Ok(ipset),
            none => Ok(none.insert(Ipset::connect().map_err(|_| Failure::refused(NO_SESSION))?)),
        }
    }
}

/// The clients and options of a run.
pub(crate) struct Session {
    pub(crate) ipset: Connection,
    pub(crate) names: Names,
    pub(crate) settings: Settings,
    /// Sets that were looked up, by their names in lines.
    sets: BTreeMap<String, Set<AnyType>>,
    /// How the last list was written, and so are others for which nothing is said.
    mode: Option<Mode>,
    /// Whether a list was written to the file of the settings: the next one is appended.
    filed: bool,
}

/// A command that is right in itself.
pub(crate) enum Prepared<'a> {
    Create(SetName, Kind, New),
    /// Adds, deletes or tests an entry.
    Entry(Command, Set<AnyType>, Typed),
    Destroy(Option<SetName>),
    Flush(Option<SetName>),
    Rename(SetName, SetName),
    Swap(SetName, SetName),
    List(Command, Option<SetName>),
    Help(Option<&'a str>),
    Version,
    Nothing,
}

impl Session {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            ipset: Connection::default(),
            names: Names::default(),
            mode: settings.mode,
            settings,
            sets: BTreeMap::new(),
            filed: false,
        }
    }

    /// A session with this kernel and these names.
    #[cfg(any(all(test, feature = "testing"), fuzzing))]
    pub(crate) fn over(ipset: Ipset, names: Names, settings: Settings) -> Self {
        Self { ipset: Connection(Some(ipset)), names, ..Self::new(settings) }
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { names: &self.names, quiet: self.settings.quiet }
    }

    /// Reads one of many lines. Options of earlier lines stay, except for the output mode, which the next list uses.
    pub(crate) fn parse<'a>(&mut self, words: Vec<Word<'a>>) -> Result<Line<'a>, Failure> {
        self.settings.mode = None;
        parse(words, &mut self.settings)
    }

    /// Whether it matters not that an object exists already, or is absent already.
    pub(crate) fn exist(&self) -> bool {
        self.settings.exist
    }

    /// Carries out a command; what it lists goes to `out`.
    pub(crate) fn perform(
        &mut self,
        command: Command,
        words: &[Word<'_>],
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let prepared = self.prepare(command, words)?;
        self.finish(prepared, out)
    }

    /// Finds what is wrong with a command in itself.
    pub(crate) fn prepare<'a>(&mut self, command: Command, words: &'a [Word<'_>]) -> Result<Prepared<'a>, Failure> {
        let word = |at: usize| words.get(at).map(|word| &**word);
        let name = |at: usize| set_name(word(at).unwrap_or_default());
        let given = || word(0).map(set_name).transpose();
        Ok(match command {
            Command::Create => {
                self.prepare_create(name(0)?, word(1).unwrap_or_default(), words.get(2..).unwrap_or_default())?
            }
            Command::Add | Command::Del | Command::Test => {
                let (set, typed) = self.entry(command, words)?;
                Prepared::Entry(command, set, typed)
            }
            Command::Destroy => Prepared::Destroy(given()?),
            Command::Flush => Prepared::Flush(given()?),
            Command::Rename => Prepared::Rename(name(0)?, name(1)?),
            Command::Swap => Prepared::Swap(name(0)?, name(1)?),
            Command::List | Command::Save => Prepared::List(command, given()?),
            Command::Help => Prepared::Help(word(0)),
            Command::Version => Prepared::Version,
            Command::Restore | Command::Quit => Prepared::Nothing,
        })
    }

    /// Carries out what was prepared.
    pub(crate) fn finish(&mut self, prepared: Prepared<'_>, out: &mut impl Write) -> Result<(), Failure> {
        let explained = |command: Command| move |error| explain(command.name(), None, &error);
        match prepared {
            Prepared::Create(name, kind, new) => self.create(name, kind, new),
            Prepared::Entry(Command::Test, set, typed) => self.test(&set, &typed),
            Prepared::Entry(command, set, typed) => self.change(command, &set, &typed),
            Prepared::Destroy(name) => {
                self.sets.clear();
                let change = match name {
                    None => Change::DestroyAll,
                    Some(name) if self.exist() => Change::RemoveSet(name),
                    Some(name) => Change::Destroy(name),
                };
                self.ipset.get()?.change(change).map_err(explained(Command::Destroy))
            }
            Prepared::Flush(name) => {
                let done = match name {
                    None => self.ipset.get()?.clear_all(),
                    Some(name) => self.ipset.get()?.clear(name),
                };
                done.map_err(explained(Command::Flush))
            }
            Prepared::Rename(from, to) => {
                self.sets.clear();
                self.ipset.get()?.rename(from, to).map_err(explained(Command::Rename))
            }
            Prepared::Swap(one, other) => {
                self.sets.clear();
                self.ipset.get()?.swap(one, other).map_err(explained(Command::Swap))
            }
            Prepared::List(command, name) => self.list(command, name, out),
            Prepared::Help(type_name) => crate::help::write(out, type_name),
            Prepared::Version => writeln!(out, "{NAME}, protocol version: 7").map_err(|error| written(&error)),
            Prepared::Nothing => Ok(()),
        }
    }

    fn prepare_create<'a>(
        &mut self,
        name: SetName,
        type_name: &str,
        words: &[Word<'_>],
    ) -> Result<Prepared<'a>, Failure> {
        let kind = kind(type_name)?;
        let revisions = self.ipset.get()?.revisions(kind).map_err(|error| explain("type", Some(kind), &error))?;
        let new = create(kind, (*revisions.end()).min(kind.revision()), words, &self.reader())?;
        Ok(Prepared::Create(name, kind, new))
    }

    fn create(&mut self, name: SetName, kind: Kind, new: New) -> Result<(), Failure> {
        if let Some(number) = new.refusal {
            return Err(refused("create", Some(kind), number));
        }
        let exist = self.exist();
        let new_set = NewSet::<AnyType>::new(kind, new.options);
        let change = if exist { Change::PutSet(name, new_set) } else { Change::Create(name, new_set) };
        match self.ipset.get()?.change(change) {
            Ok(()) => {
                self.sets.remove(&*values::text(name.as_bytes()));
            }
            // A set of the other family exists; the kernel and the original do not compare families.
            Err(error)
                if exist && matches!(error.cause(), Cause::Precondition { reason: Reason::AlreadyExists, .. }) =>
            {
                self.sets.remove(&*values::text(name.as_bytes()));
            }
            Err(error) => return Err(explain("create", Some(kind), &error)),
        }
        if !self.settings.quiet && !new.warnings.is_empty() {
            complain(&values::bytes(&format!("Warning: {}\n", new.warnings.join("\n"))));
        }
        Ok(())
    }

    /// Reads an entry to be added, deleted or tested.
    pub(crate) fn entry(&mut self, command: Command, words: &[Word<'_>]) -> Result<(Set<AnyType>, Typed), Failure> {
        let [name, text, rest @ ..] = words else { return Err(Failure::Silent(2)) };
        let set = match self.sets.get(&**name) {
            Some(set) => *set,
            None => {
                let header = self.ipset.get()?.header(set_name(name)?);
                let set = header.map_err(|error| explain("header", None, &error))?;
                self.sets.insert(name.to_string(), set);
                set
            }
        };
        let typed = self.reader().entry(command, &set, text, rest)?;
        Ok((set, typed))
    }

    fn change(&mut self, command: Command, set: &Set<AnyType>, typed: &Typed) -> Result<(), Failure> {
        let kind = Some(set.kind());
        let (set, member) = (*set, typed.member.clone());
        let change = match (command, self.exist()) {
            (Command::Add, false) => Change::Add(set, member),
            (Command::Add, true) => Change::Put(set, member),
            (_, false) => Change::Delete(set, member),
            (_, true) => Change::Remove(set, member),
        };
        self.ipset.get()?.change(change).map_err(|error| explain(command.name(), kind, &error))
    }

    fn test(&mut self, set: &Set<AnyType>, typed: &Typed) -> Result<(), Failure> {
        let ports = match &typed.member.entry {
            Entry::IpPort(_, ports) | Entry::IpPortIp(_, ports, _) => Some(ports),
            _ => None,
        };
        // No set holds protocol 0; the library refuses it.
        let found = if ports.is_some_and(|ports| ports.protocol == Protocol(0)) {
            Ok(false)
        } else {
            self.ipset.get()?.test(set, &typed.member)
        };
        let found = found.map_err(|error| explain("test", Some(set.kind()), &error))?;
        if !self.settings.quiet {
            let (warning, is) = if found { ("Warning: ", "is") } else { ("", "is NOT") };
            let entry = typed.text(set.kind(), &self.names);
            let name = set.name();
            let set = values::text(name.as_bytes());
            complain(&values::bytes(&format!("{warning}{entry} {is} in set {set}.\n")));
        }
        if found { Ok(()) } else { Err(Failure::Silent(1)) }
    }

    fn list(&mut self, command: Command, name: Option<SetName>, out: &mut impl Write) -> Result<(), Failure> {
        let default = if command == Command::Save { Mode::Save } else { Mode::Plain };
        let mode = self.settings.mode.or(self.mode).unwrap_or(default);
        self.mode = Some(mode);
        match self.settings.file.clone() {
            None => self.list_to(command, mode, name, out),
            Some(path) => {
                let cannot = |error: io::Error| {
                    let reason = error.to_string();
                    let reason = reason.split(" (os error").next().unwrap_or_default();
                    Failure::refused(format!("Cannot open {path} for writing: {reason}"))
                };
                let file = File::options()
                    .write(true)
                    .create(true)
                    .truncate(!self.filed)
                    .append(self.filed)
                    .open(values::path(&path));
                let file = file.map_err(cannot)?;
                self.filed = true;
                self.list_to(command, mode, name, &mut BufWriter::new(file))
            }
        }
    }

    fn list_to(
        &mut self,
        command: Command,
        mode: Mode,
        name: Option<SetName>,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let mut settings = self.settings.clone();
        if mode == Mode::Save {
            (settings.names_only, settings.terse) = (false, false);
        }
        let failed = |error: &_| explain("list", None, error);
        let mut printer = Printer::new(out, mode, &settings, &self.names);
        if settings.names_only {
            let names = match name {
                None => self.ipset.get()?.names(),
                Some(name) => self.ipset.get()?.header(name).map(|_| vec![name]),
            };
            for name in names.map_err(|error| failed(&error))? {
                printer.name(name).map_err(|error| written(&error))?;
            }
        // A save of plain text or XML has its members all the same, only without a heading.
        } else if settings.terse && (command == Command::List || mode == Mode::Json) {
            let sets = match name {
                None => self.ipset.get()?.sets(),
                Some(name) => self.ipset.get()?.set(name).map(|info| vec![info]),
            };
            for info in sets.map_err(|error| failed(&error))? {
                printer.set(&info).map_err(|error| written(&error))?;
            }
        } else {
            for listed in self.ipset.get()?.stream_contents(name).map_err(|error| failed(&error))? {
                let listed = listed.map_err(|error| failed(&error))?;
                printer.line(&listed).map_err(|error| written(&error))?;
            }
        }
        printer.end().map_err(|error| written(&error))
    }
}

/// That something could not be written.
pub(crate) fn written(error: &io::Error) -> Failure {
    // The program that closed the pipe needs no message. The status is that of a program that was killed by SIGPIPE.
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::Silent(141);
    }
    Failure::refused(format!("cannot write: {error}"))
}
