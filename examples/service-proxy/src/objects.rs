//! The objects that are known: filled from files or from the API server.

use std::collections::BTreeMap;

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

    /// Removes the object of this kind and name, if it is known.
    pub fn delete(&mut self, object: &Object) {
        match object {
            Object::Service(service) => _ = self.services.remove(&service.metadata.object_name()),
            Object::Slice(slice) => self.delete_slice(&slice.metadata.object_name()),
            Object::Node(node) => _ = self.nodes.remove(&node.metadata.object_name().name),
        }
    }

    /// Replaces all Services by these.
    pub fn replace_services(&mut self, services: impl IntoIterator<Item = Service>) {
        self.services.clear();
        services.into_iter().for_each(|service| self.put(Object::Service(service.into())));
    }

    /// Replaces all slices by these.
    pub fn replace_slices(&mut self, slices: impl IntoIterator<Item = EndpointSlice>) {
        self.slices.clear();
        self.owners.clear();
        slices.into_iter().for_each(|slice| self.put_slice(slice));
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
            self.delete_slice(&name);
        }
        let of = ObjectName::new(name.namespace.clone(), service.clone());
        self.slices.entry(of).or_default().insert(name.name.clone(), slice);
        self.owners.insert(name, service);
    }

    fn delete_slice(&mut self, name: &ObjectName) {
        let Some(service) = self.owners.remove(name) else { return };
        let of = ObjectName::new(name.namespace.clone(), service);
        if let Some(slices) = self.slices.get_mut(&of) {
            slices.remove(&name.name);
            if slices.is_empty() {
                self.slices.remove(&of);
            }
        }
    }
}
