//! Objects as they are received: a malformed one does not cost the others.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::ClusterResourceScope;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use serde_json::Value;

use crate::model::{EndpointSlice, Node, ObjectName, Service};
use crate::objects::{Kind, Object};

/// A kind that is watched.
pub(super) trait Watched: DeserializeOwned + Clone + Debug + Send + 'static {
    const KIND: Kind;
    const GROUP: &'static str;
    const PLURAL: &'static str;

    fn into_object(object: Box<Self>) -> Object;
}

impl Watched for Service {
    const KIND: Kind = Kind::Service;
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "services";

    fn into_object(object: Box<Self>) -> Object {
        Object::Service(object)
    }
}

impl Watched for EndpointSlice {
    const KIND: Kind = Kind::Slice;
    const GROUP: &'static str = "discovery.k8s.io";
    const PLURAL: &'static str = "endpointslices";

    fn into_object(object: Box<Self>) -> Object {
        Object::Slice(object)
    }
}

impl Watched for Node {
    const KIND: Kind = Kind::Node;
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "nodes";

    fn into_object(object: Box<Self>) -> Object {
        Object::Node(object)
    }
}

/// An object, or its name and its fault.
#[derive(Clone, Debug)]
pub(super) struct Received<T> {
    /// Namespace, name and version.
    meta: ObjectMeta,
    pub(super) name: ObjectName,
    pub(super) object: Result<Box<T>, String>,
}

impl<'de, T: Watched> Deserialize<'de> for Received<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |field| value.pointer(field).and_then(Value::as_str).map(str::to_owned);
        let [namespace, name] = ["/metadata/namespace", "/metadata/name"].map(text);
        let Some(name) = name else { return Err(D::Error::custom(format!("{} without a name", T::KIND))) };
        let meta = ObjectMeta { resource_version: text("/metadata/resourceVersion"), ..ObjectMeta::default() };
        // Items of lists have no version of their own.
        let version = text("/apiVersion").filter(|version| *version != <Self as Resource>::api_version(&()));
        let object = match version {
            Some(version) => Err(format!("version {version} is not supported")),
            None => T::deserialize(value).map(Box::new).map_err(|error| error.to_string()),
        };
        Ok(Self { meta, name: ObjectName::new(namespace.unwrap_or_default(), name), object })
    }
}

impl<T: Watched> Resource for Received<T> {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        T::KIND.to_string().into()
    }

    fn group((): &()) -> Cow<'_, str> {
        T::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        T::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
