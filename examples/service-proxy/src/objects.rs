//! The objects that are known: filled from files or from the API server.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{EndpointSlice, Node, ObjectName, Service};

/// An object that is read.
#[derive(Clone, Debug)]
pub enum Object {
    /// A Service.
    Service(Box<Service>),
    /// An EndpointSlice.
    Slice(Box<EndpointSlice>),
    /// A Node.
    Node(Box<Node>),
}

/// The kinds of objects that are read.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Service.
    Service,
    /// EndpointSlice.
    Slice,
    /// Node.
    Node,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "Service",
            Self::Slice => "EndpointSlice",
            Self::Node => "Node",
        })
    }
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Slice(_) => Kind::Slice,
            Self::Node(_) => Kind::Node,
        }
    }

    /// Its namespace and name.
    pub fn name(&self) -> ObjectName {
        match self {
            Self::Service(service) => service.metadata.object_name(),
            Self::Slice(slice) => slice.metadata.object_name(),
            Self::Node(node) => node.metadata.object_name(),
        }
    }
}

/// The Services, EndpointSlices and Nodes that are known.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    services: BTreeMap<ObjectName, Service>,
    /// Slices by the name of their Service, then by their own.
    slices: BTreeMap<ObjectName, BTreeMap<Box<str>, EndpointSlice>>,
    /// The Service of each slice; the empty name for slices without one.
    owners: BTreeMap<ObjectName, Box<str>>,
    nodes: BTreeMap<Box<str>, Node>,
    ignored: BTreeMap<Box<str>, usize>,
}

/// The slices of a Service.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'a>(Option<&'a BTreeMap<Box<str>, EndpointSlice>>);

impl<'a> Slices<'a> {
    /// The slices, in the order of their names.
    pub fn iter(self) -> impl Iterator<Item = &'a EndpointSlice> {
        self.0.into_iter().flat_map(BTreeMap::values)
    }
}

impl Objects {
    /// Adds an object, or replaces the one of its kind and name.
    pub fn put(&mut self, object: Object) {
        match object {
            Object::Service(service) => _ = self.services.insert(service.metadata.object_name(), *service),
            Object::Slice(slice) => self.put_slice(*slice),
            Object::Node(node) => _ = self.nodes.insert(node.metadata.object_name().name, *node),
        }
    }

    /// Whether the object of this kind and name is known.
    pub fn contains(&self, kind: Kind, name: &ObjectName) -> bool {
        match kind {
            Kind::Service => self.services.contains_key(name),
            Kind::Slice => self.owners.contains_key(name),
            Kind::Node => self.nodes.contains_key(&name.name),
        }
    }

    /// Removes the object of this kind and name, if it is known.
    pub fn delete(&mut self, object: &Object) {
        self.remove(object.kind(), &object.name());
    }

    /// Removes the object of this kind and name, and returns it if it is known.
    pub fn remove(&mut self, kind: Kind, name: &ObjectName) -> Option<Object> {
        match kind {
            Kind::Service => self.services.remove(name).map(|service| Object::Service(service.into())),
            Kind::Slice => self.remove_slice(name).map(|slice| Object::Slice(slice.into())),
            Kind::Node => self.nodes.remove(&name.name).map(|node| Object::Node(node.into())),
        }
    }

    /// Replaces all objects of a kind by these, but keeps those that are named and known.
    pub fn replace(&mut self, kind: Kind, objects: impl IntoIterator<Item = Object>, kept: &[ObjectName]) {
        let kept: Vec<_> = kept.iter().filter_map(|name| self.remove(kind, name)).collect();
        match kind {
            Kind::Service => self.services.clear(),
            Kind::Slice => {
                self.slices.clear();
                self.owners.clear();
            }
            Kind::Node => self.nodes.clear(),
        }
        kept.into_iter().chain(objects).for_each(|object| self.put(object));
    }

    /// All objects.
    pub fn into_objects(self) -> impl Iterator<Item = Object> {
        let services = self.services.into_values().map(|service| Object::Service(service.into()));
        let slices = self.slices.into_values().flat_map(BTreeMap::into_values);
        let nodes = self.nodes.into_values().map(|node| Object::Node(node.into()));
        services.chain(slices.map(|slice| Object::Slice(slice.into()))).chain(nodes)
    }

    /// Counts an object of a kind that is not read.
    pub fn ignore(&mut self, kind: &str) {
        *self.ignored.entry(kind.into()).or_default() += 1;
    }

    /// The Services, in the order of their names.
    pub fn services(&self) -> impl ExactSizeIterator<Item = (&ObjectName, &Service)> {
        self.services.iter()
    }

    /// The Service of this name.
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name)
    }

    /// The Services, in the order of their names, each with its slices.
    pub fn services_with_slices(&self) -> impl Iterator<Item = (&ObjectName, &Service, Slices<'_>)> {
        let mut slices = self.slices.iter().peekable();
        self.services.iter().map(move |(name, service)| {
            while slices.next_if(|(of, _)| *of < name).is_some() {}
            let of = slices.next_if(|(of, _)| *of == name).map(|(_, slices)| slices);
            (name, service, Slices(of))
        })
    }

    /// All slices, in the order of their Services, each with the name of the Service. The name of a slice without one is empty.
    pub fn slices(&self) -> impl Iterator<Item = (&ObjectName, &EndpointSlice)> {
        self.slices.iter().flat_map(|(service, slices)| slices.values().map(move |slice| (service, slice)))
    }

    /// Number of slices.
    pub fn slice_count(&self) -> usize {
        self.owners.len()
    }

    /// The Node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Kinds of ignored objects, with the number of each.
    pub fn ignored(&self) -> impl Iterator<Item = (&str, usize)> {
        self.ignored.iter().map(|(kind, count)| (&**kind, *count))
    }

    /// Whether neither a Service nor a slice is known.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.owners.is_empty()
    }

    fn put_slice(&mut self, slice: EndpointSlice) {
        let name = slice.metadata.object_name();
        let service = slice.metadata.labels.service_name.clone().unwrap_or_default();
        if self.owners.get(&name).is_some_and(|owner| *owner != service) {
            self.remove_slice(&name);
        }
        let of = ObjectName::new(name.namespace.clone(), service.clone());
        self.slices.entry(of).or_default().insert(name.name.clone(), slice);
        self.owners.insert(name, service);
    }

    fn remove_slice(&mut self, name: &ObjectName) -> Option<EndpointSlice> {
        let service = self.owners.remove(name)?;
        let of = ObjectName::new(name.namespace.clone(), service);
        let slices = self.slices.get_mut(&of)?;
        let slice = slices.remove(&name.name);
        if slices.is_empty() {
            self.slices.remove(&of);
        }
        slice
    }
}
