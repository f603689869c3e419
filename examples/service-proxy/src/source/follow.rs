//! Objects of a file that changes, or of standard input as it is written.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::{fs, thread};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::file::{self, InvalidFile};
use super::{Known, Update, Updates};
use crate::objects::{Kind, Objects};

/// Sends the objects of a file, and sends them again whenever it was written or replaced, from a thread of its own.
///
/// # Errors
/// When the directory of the file cannot be watched.
pub fn file(path: PathBuf, mut known: Known, updates: Updates) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A program that replaces the file makes a new one: only the directory sees it.
    let written = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
    inotify.add_watch(directory, written)?;
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
            if update.is_some_and(|update| updates.send(update).is_err()) || inotify.read_events().is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn read(path: &Path, known: &mut Known) -> Result<Objects, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let objects = file::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    known.file(&objects).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(objects)
}

/// Refuses a list without any Service and slice.
fn accept(objects: &Objects, known: &mut Known) -> Result<(), &'static str> {
    let services = objects.services().map(|(name, _)| name.clone());
    let slices = objects.slices().map(|(_, slice)| slice.metadata.object_name());
    if known.list(services.chain(slices)) {
        return Ok(());
    }
    Err("no Service and no EndpointSlice, while services exist: nothing was changed; --allow-empty accepts it")
}

/// Sends the objects of a stream as they are read, until its end.
///
/// A list replaces the objects of the kinds that it has. An invalid value is reported, and changes nothing.
pub fn stream(input: impl Read, known: Known, updates: &Updates) {
    let mut stream = Stream { known, updates, number: 0, mixed: false };
    for value in serde_json::Deserializer::from_reader(input).into_iter::<Box<RawValue>>() {
        stream.number += 1;
        let taken = match value {
            Ok(value) => stream.take(value.get()),
            Err(error) => Err(format!("invalid JSON: {error}: the rest is not read")),
        };
        if let Err(fault) = taken {
            stream.send(Update::Line(format!("standard input, value {}: {fault}", stream.number)));
        }
    }
    stream.send(Update::End);
}

struct Stream<'a> {
    known: Known,
    updates: &'a Updates,
    number: usize,
    /// Whether a list had Services and slices.
    mixed: bool,
}

/// The fields that distinguish lists, objects and events.
#[derive(Deserialize)]
struct Outline<'a> {
    kind: Option<String>,
    #[serde(rename = "type", default)]
    event: Option<String>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
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
            (Some("ADDED" | "MODIFIED"), Some(object)) => self.put(parse(object.get())?),
            (Some("DELETED"), Some(object)) => {
                for object in parse(object.get())?.into_objects() {
                    self.known.delete(&object.name());
                    self.send(Update::Delete(object.kind(), object.name()));
                }
            }
            (Some("BOOKMARK"), Some(object)) => self.bookmark(object.get())?,
            _ => match outline.kind {
                Some(kind) if kind.ends_with("List") => self.list(parse(text)?, kind == "List")?,
                _ => self.put(parse(text)?),
            },
        }
        Ok(())
    }

    fn put(&mut self, objects: Objects) {
        for object in objects.into_objects() {
            self.known.put(object.name());
            self.send(Update::Put(object));
        }
    }

    /// Replaces the kinds that the list has. A list of mixed kinds may later have none of a kind, when the last object
    /// is deleted.
    fn list(&mut self, objects: Objects, mixed: bool) -> Result<(), String> {
        accept(&objects, &mut self.known)?;
        let has_both = objects.services().len() > 0 && objects.slice_count() > 0;
        self.mixed |= mixed && has_both;
        let both = self.mixed && mixed;
        let mut lists: [(Kind, Vec<_>); 3] = [Kind::Node, Kind::Service, Kind::Slice].map(|kind| (kind, Vec::new()));
        for object in objects.into_objects() {
            if let Some((_, list)) = lists.iter_mut().find(|(kind, _)| *kind == object.kind()) {
                list.push(object);
            }
        }
        for (kind, objects) in lists {
            if !objects.is_empty() || (both && kind != Kind::Node) {
                self.send(Update::List { kind, objects, kept: Vec::new() });
            }
        }
        Ok(())
    }

    /// The mark after the initial events makes the objects so far complete.
    fn bookmark(&self, text: &str) -> Result<(), String> {
        let bookmark: Bookmark = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let kind = match bookmark.kind.as_str() {
            "Service" => Kind::Service,
            "EndpointSlice" => Kind::Slice,
            _ => return Ok(()),
        };
        if bookmark.metadata.annotations.initial_end.is_some() {
            self.send(Update::Complete(kind));
        }
        Ok(())
    }

    fn send(&self, update: Update) {
        // Without a receiver the program ends.
        let _ = self.updates.send(update);
    }
}

fn parse(text: &str) -> Result<Objects, String> {
    file::parse(text.as_bytes()).map_err(|error: InvalidFile| error.to_string())
}
