//! Objects in a file, as `kubectl` and the API server write them.
//!
//! A file holds lists of mixed kinds, lists of one kind whose items have none, single objects one after another, and the events of a
//! watch. It is read as a whole or not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::model::ObjectName;
use crate::objects::{Kind, Object, Objects};

/// The first error of a file, with its place.
#[derive(Debug, Error)]
#[error("line {line}, byte {byte}: {problem}")]
pub struct InvalidFile {
    /// Line, from 1.
    pub line: usize,
    /// Position of the byte, from 0.
    pub byte: usize,
    /// The fault.
    pub problem: Problem,
}

/// The fault of a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// No JSON, or truncated JSON.
    #[error("invalid JSON: {0}")]
    Syntax(String),
    /// A value of a type that the API does not have there.
    #[error("{object}: {error}")]
    Object {
        /// Kind and name.
        object: String,
        /// The fault.
        error: String,
    },
    /// An API version that is no longer served.
    #[error("{object}: version {version} is not supported: list the slices of discovery.k8s.io/v1")]
    Version {
        /// Kind and name.
        object: String,
        /// Its version.
        version: String,
    },
    /// The watch failed.
    #[error("the API server answered with an error{status}")]
    Status {
        /// Code and message.
        status: Status,
    },
    /// One page of a list.
    #[error("{kind} is incomplete: its next page is missing (metadata.continue)")]
    Incomplete {
        /// Kind of the list.
        kind: String,
    },
    /// A JSON value that is neither an object of the API nor an event.
    #[error("neither an object of the API nor an event: `kind` and `type` are missing")]
    Shapeless,
    /// An event of a type that this program does not know.
    #[error("unknown event type {0:?}")]
    Event(String),
}

/// A `Status` object: code and message of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// HTTP status; 410 means that the list must be read again.
    pub code: Option<u16>,
    /// Message text.
    pub message: Option<String>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

/// The outermost fields of a value, borrowed from the text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    metadata: Option<OutlineMetadata>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
    #[serde(rename = "type", borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutlineMetadata {
    namespace: Option<Box<str>>,
    name: Option<Box<str>>,
    r#continue: Option<String>,
}

/// Kind and version that the items of a list have where they have none of their own.
#[derive(Clone, Copy, Default)]
struct Implied<'a> {
    kind: Option<&'a str>,
    version: Option<&'a str>,
}

/// An object that cannot be read, except for its kind and its name.
#[derive(Debug)]
pub struct Malformed {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub name: ObjectName,
    /// The fault.
    pub fault: InvalidFile,
}

/// Reads all objects of a text.
///
/// # Errors
/// The first fault of the text. A text without any JSON value is empty, not invalid.
pub fn parse(text: &[u8]) -> Result<Objects, InvalidFile> {
    read(text, None).map(|(objects, _)| objects)
}

/// Reads all objects of a text, and lists malformed ones.
///
/// # Errors
/// As [`parse`], except for malformed objects.
pub fn parse_each(text: &[u8]) -> Result<(Objects, Vec<Malformed>), InvalidFile> {
    read(text, Some(Vec::new()))
}

fn read(text: &[u8], malformed: Option<Vec<Malformed>>) -> Result<(Objects, Vec<Malformed>), InvalidFile> {
    let mut reader = Reader { text, objects: Objects::default(), malformed, continued: BTreeMap::new() };
    let values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    for value in values {
        let value = value.map_err(|error| reader.at_error(0, &error, Problem::Syntax))?;
        reader.value(value)?;
    }
    match reader.continued.pop_first() {
        Some((kind, byte)) => Err(reader.at(byte, Problem::Incomplete { kind })),
        None => Ok((reader.objects, reader.malformed.unwrap_or_default())),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    objects: Objects,
    /// The malformed objects; none if the first one is an error.
    malformed: Option<Vec<Malformed>>,
    /// Kind and place of each list whose next page is still missing.
    continued: BTreeMap<String, usize>,
}

impl Reader<'_> {
    /// A value at the top: an event, a list or an object.
    fn value(&mut self, raw: &RawValue) -> Result<(), InvalidFile> {
        let outline = self.outline(raw)?;
        let (Some(event), Some(object)) = (outline.event, outline.object) else {
            return self.list_or_object(raw, &outline, Implied::default());
        };
        match event.get().trim_matches('"') {
            "ADDED" | "MODIFIED" => {
                let outline = self.outline(object)?;
                self.list_or_object(object, &outline, Implied::default())
            }
            "DELETED" => {
                let outline = self.outline(object)?;
                if let Some(object) = self.object(object, &outline, Implied::default())? {
                    self.objects.delete(&object);
                }
                Ok(())
            }
            "BOOKMARK" => Ok(()),
            "ERROR" => Err(self.failed(object)),
            other => Err(self.at(self.offset(event.get()).start, Problem::Event(other.to_owned()))),
        }
    }

    fn list_or_object(
        &mut self,
        raw: &RawValue,
        outline: &Outline<'_>,
        implied: Implied<'_>,
    ) -> Result<(), InvalidFile> {
        if outline.kind.as_deref() == Some("Status") {
            return Err(self.failed(raw));
        }
        if let Some(list) = outline.kind.as_deref().and_then(|kind| kind.strip_suffix("List")) {
            return self.list(raw, outline, list);
        }
        if let Some(object) = self.object(raw, outline, implied)? {
            self.objects.put(object);
        }
        Ok(())
    }

    fn list(&mut self, raw: &RawValue, outline: &Outline<'_>, kind: &str) -> Result<(), InvalidFile> {
        // A `List` without a kind before it is of mixed kinds, and has a version of its own.
        let implied = if kind.is_empty() {
            Implied::default()
        } else {
            Implied { kind: Some(kind), version: outline.api_version.as_deref() }
        };
        for item in outline.items.iter().flatten() {
            let outline = self.outline(item)?;
            self.list_or_object(item, &outline, implied)?;
        }
        let next = outline.metadata.as_ref().and_then(|metadata| metadata.r#continue.as_ref());
        let next = next.is_some_and(|next| !next.is_empty());
        let kind = format!("{kind}List");
        if next {
            self.continued.insert(kind, self.offset(raw.get()).start);
        } else {
            self.continued.remove(&kind);
        }
        Ok(())
    }

    /// Reads one object; none if it is malformed, or of a kind that is ignored.
    fn object(
        &mut self,
        raw: &RawValue,
        outline: &Outline<'_>,
        implied: Implied<'_>,
    ) -> Result<Option<Object>, InvalidFile> {
        let start = self.offset(raw.get()).start;
        let Some(name) = outline.kind.as_deref().or(implied.kind) else {
            return Err(self.at(start, Problem::Shapeless));
        };
        let version = outline.api_version.as_deref().or(implied.version).unwrap_or_default();
        let about = || about(name, outline.metadata.as_ref());
        let (kind, read) = match (name, version) {
            ("Service", "v1" | "") => (Kind::Service, from_str(raw).map(Object::Service)),
            ("Node", "v1" | "") => (Kind::Node, from_str(raw).map(Object::Node)),
            ("EndpointSlice", "discovery.k8s.io/v1" | "") => (Kind::Slice, from_str(raw).map(Object::Slice)),
            ("EndpointSlice", _) if version.starts_with("discovery.k8s.io/") => {
                let fault = self.at(start, Problem::Version { object: about(), version: version.to_owned() });
                return self.malformed(Kind::Slice, outline, fault);
            }
            _ => {
                self.objects.ignore(name);
                return Ok(None);
            }
        };
        match read {
            Ok(object) => Ok(Some(object)),
            Err(error) => {
                let fault = self.at_error(start, &error, |error| Problem::Object { object: about(), error });
                self.malformed(kind, outline, fault)
            }
        }
    }

    /// Lists a malformed object. Without a name, or where none may be malformed, it is an error.
    fn malformed(
        &mut self,
        kind: Kind,
        outline: &Outline<'_>,
        fault: InvalidFile,
    ) -> Result<Option<Object>, InvalidFile> {
        let name = object_name(outline.metadata.as_ref());
        match &mut self.malformed {
            Some(malformed) if !name.name.is_empty() => malformed.push(Malformed { kind, name, fault }),
            _ => return Err(fault),
        }
        Ok(None)
    }

    fn outline<'a>(&self, raw: &'a RawValue) -> Result<Outline<'a>, InvalidFile> {
        let start = self.offset(raw.get()).start;
        if !raw.get().starts_with('{') {
            return Err(self.at(start, Problem::Shapeless));
        }
        serde_json::from_str(raw.get()).map_err(|error| self.at_error(start, &error, Problem::Syntax))
    }

    fn failed(&self, raw: &RawValue) -> InvalidFile {
        let status = serde_json::from_str(raw.get()).unwrap_or_default();
        self.at(self.offset(raw.get()).start, Problem::Status { status })
    }

    /// The range of a part of the text.
    fn offset(&self, part: &str) -> Range<usize> {
        let start = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        start..start + part.len()
    }

    fn at(&self, byte: usize, problem: Problem) -> InvalidFile {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        InvalidFile { line, byte, problem }
    }

    /// The place of an error in a value that starts at this byte.
    fn at_error(
        &self,
        start: usize,
        error: &serde_json::Error,
        problem: impl FnOnce(String) -> Problem,
    ) -> InvalidFile {
        let text = error.to_string();
        // The place in its text is one in the value.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        let rest = self.text.get(start..).unwrap_or_default();
        let lines = rest.split_inclusive(|byte| *byte == b'\n');
        let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
        let byte = (start + before + error.column().saturating_sub(1)).min(self.text.len());
        self.at(byte, problem(text.to_owned()))
    }
}

fn from_str<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> serde_json::Result<Box<T>> {
    serde_json::from_str(raw.get()).map(Box::new)
}

/// Kind and name of an object, for messages.
fn about(kind: &str, metadata: Option<&OutlineMetadata>) -> String {
    format!("{kind} {}", object_name(metadata))
}

fn object_name(metadata: Option<&OutlineMetadata>) -> ObjectName {
    let part = |of: fn(&OutlineMetadata) -> &Option<Box<str>>| metadata.and_then(|metadata| of(metadata).clone());
    let [namespace, name] = [part(|of| &of.namespace), part(|of| &of.name)].map(Option::unwrap_or_default);
    ObjectName { namespace, name }
}
