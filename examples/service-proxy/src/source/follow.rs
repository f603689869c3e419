//! Objects of a file that changes, or of standard input as it is written.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::{fs, thread};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::file::{self, Malformed};
use super::{Known, Update, Updates};
use crate::model::ObjectName;
use crate::objects::{Kind, Object, Objects};

/// Sends the objects of a file, and sends them again whenever it was written or replaced, from a thread of its own.
///
/// # Errors
/// When the directory of the file cannot be watched.
pub fn file(path: PathBuf, mut known: Known, updates: Updates) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    // A program that replaces the file makes a new one: only the directory sees it.
    let written = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
    inotify.add_watch(&directory, written)?;
    thread::spawn(move || {
        let mut failed = None;
        loop {
            let update = match read(&path, &mut known) {
                Ok(objects) => {
                    failed = None;
                    Some(Update::All(objects))
                }
                Err(text) if failed.as_ref() == Some(&text) => None,
                Err(text) => Some(Update::Line(failed.insert(text).clone())),
            };
            if update.is_some_and(|update| updates.send(update).is_err()) {
                return;
            }
            if let Err(error) = wait(&inotify) {
                let _ = updates.send(Update::Line(format!("watch {}: {error}", directory.display())));
                let _ = updates.send(Update::End(Vec::new()));
                return;
            }
        }
    });
    Ok(())
}

/// Waits for a change in the directory.
fn wait(inotify: &Inotify) -> io::Result<()> {
    let events = match inotify.read_events() {
        Err(Errno::EINTR) => return Ok(()),
        events => events?,
    };
    // The kernel ends a watch of a directory that is removed.
    let ended = events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED));
    if ended { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
}

fn read(path: &Path, known: &mut Known) -> Result<Objects, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let objects = file::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    known.file(&objects).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(objects)
}

/// Sends the objects of a stream as they are read, until its end.
///
/// A list replaces the objects of the kinds that it has. A malformed object keeps its last state. Another invalid value is reported,
/// and changes nothing.
pub fn stream(input: impl Read, known: Known, updates: &Updates) {
    let mut stream = Stream { known, updates, number: 0, mixed: false, pages: BTreeMap::new(), whole: true };
    for value in serde_json::Deserializer::from_reader(input).into_iter::<Box<RawValue>>() {
        stream.number += 1;
        let taken = match value {
            Ok(value) => stream.take(value.get()),
            Err(error) if error.is_io() => Err(format!("{error}: the rest is not read")),
            Err(error) => Err(format!("invalid JSON: {error}: the rest is not read")),
        };
        if let Err(fault) = taken {
            stream.gap(&fault);
        }
    }
    stream.end();
}

struct Stream<'a> {
    known: Known,
    updates: &'a Updates,
    number: usize,
    /// Whether a list had Services and slices.
    mixed: bool,
    /// The pages of each kind of list whose last page is awaited.
    pages: BTreeMap<String, String>,
    /// Whether no value was refused.
    whole: bool,
}

/// The fields that distinguish lists, objects and events.
#[derive(Deserialize)]
struct Outline<'a> {
    kind: Option<String>,
    #[serde(rename = "type", default)]
    event: Option<String>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(default)]
    metadata: Option<OutlineMetadata>,
}

#[derive(Deserialize)]
struct OutlineMetadata {
    /// Present on each page of a list but the last one.
    r#continue: Option<String>,
}

/// The fields of a bookmark.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Bookmark {
    kind: String,
    metadata: BookmarkMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BookmarkMetadata {
    annotations: BookmarkAnnotations,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BookmarkAnnotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_end: Option<String>,
}

impl Stream<'_> {
    fn take(&mut self, text: &str) -> Result<(), String> {
        let outline: Outline<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match (outline.event.as_deref(), outline.object) {
            (Some("ADDED" | "MODIFIED"), Some(object)) => self.put(object.get()),
            (Some("DELETED"), Some(object)) => self.delete(object.get()),
            (Some("BOOKMARK"), Some(object)) => self.bookmark(object.get()),
            _ => match outline.kind {
                Some(kind) if kind.ends_with("List") => {
                    let next = outline.metadata.and_then(|metadata| metadata.r#continue);
                    let pages = self.pages.entry(kind.clone()).or_default();
                    pages.push_str(text);
                    if next.is_some_and(|next| !next.is_empty()) {
                        return Ok(());
                    }
                    let pages = std::mem::take(pages);
                    self.pages.remove(&kind);
                    self.list(&pages, &kind)
                }
                _ => self.put(text),
            },
        }
    }

    fn put(&mut self, text: &str) -> Result<(), String> {
        let (objects, malformed) = parse(text)?;
        for malformed in malformed {
            self.malformed(&malformed);
            self.send(Update::Malformed(malformed.kind, malformed.name));
        }
        for object in objects.into_objects() {
            self.known.put(object.kind(), object.name());
            self.send(Update::Put(object));
        }
        Ok(())
    }

    fn delete(&mut self, text: &str) -> Result<(), String> {
        let (objects, malformed) = parse(text)?;
        let malformed = malformed.into_iter().map(|malformed| (malformed.kind, malformed.name));
        for (kind, name) in objects.into_objects().map(|object| (object.kind(), object.name())).chain(malformed) {
            self.known.delete(kind, &name);
            self.send(Update::Delete(kind, name));
        }
        Ok(())
    }

    /// Replaces the kinds that the list has. A list of mixed kinds that lacks one is an empty list of it, if an earlier one had both.
    fn list(&mut self, text: &str, kind: &str) -> Result<(), String> {
        let (objects, malformed) = parse(text)?;
        let is_empty = malformed.is_empty() && objects.is_empty() && objects.ignored().next().is_none();
        let mut lists: BTreeMap<Kind, (Vec<Object>, Vec<ObjectName>)> = BTreeMap::new();
        for malformed in malformed {
            self.malformed(&malformed);
            lists.entry(malformed.kind).or_default().1.push(malformed.name);
        }
        for object in objects.into_objects() {
            lists.entry(object.kind()).or_default().0.push(object);
        }
        let both = [Kind::Service, Kind::Slice];
        self.mixed |= kind == "List" && both.iter().all(|kind| lists.contains_key(kind));
        for of in both {
            if kind == format!("{of}List") || (kind == "List" && (is_empty || self.mixed)) {
                lists.entry(of).or_default();
            }
        }
        let mut taken = Ok(());
        for (kind, (objects, kept)) in lists {
            match self.known.list(kind, objects.iter().map(Object::name).chain(kept.iter().cloned())) {
                Ok(()) => self.send(Update::List { kind, objects, kept }),
                Err(empty) => taken = taken.and(Err(empty.to_string())),
            }
        }
        taken
    }

    /// The mark after the initial events makes the objects so far complete.
    fn bookmark(&mut self, text: &str) -> Result<(), String> {
        let bookmark: Bookmark = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let kind = match bookmark.kind.as_str() {
            "Service" => Kind::Service,
            "EndpointSlice" => Kind::Slice,
            _ => return Ok(()),
        };
        if bookmark.metadata.annotations.initial_end.is_some() {
            self.known.complete(kind).map_err(|empty| empty.to_string())?;
            self.send(Update::Complete(kind));
        }
        Ok(())
    }

    fn end(mut self) {
        if let Some((kind, _)) = self.pages.pop_first() {
            self.gap(&format!("{kind} is incomplete: its next page is missing"));
        }
        let complete =
            [Kind::Service, Kind::Slice].into_iter().filter(|kind| self.whole && self.known.is_complete(*kind));
        self.send(Update::End(complete.collect()));
    }

    fn malformed(&self, Malformed { kind, name, fault }: &Malformed) {
        self.line(&format!("{kind} {name} is malformed, its last state is kept: {fault}"));
    }

    /// Reports a value that is not taken.
    fn gap(&mut self, fault: &str) {
        self.whole = false;
        self.line(fault);
        self.send(Update::Gap);
    }

    fn line(&self, text: &str) {
        self.send(Update::Line(format!("standard input, value {}: {text}", self.number)));
    }

    fn send(&self, update: Update) {
        // Without a receiver the program ends.
        let _ = self.updates.send(update);
    }
}

fn parse(text: &str) -> Result<(Objects, Vec<Malformed>), String> {
    file::parse_each(text.as_bytes()).map_err(|error| error.to_string())
}
