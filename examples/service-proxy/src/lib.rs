//! The services of a Kubernetes cluster on one node, as `kube-proxy --proxy-mode=ipvs` provides them.
//!
//! [`source`] reads [`objects`] of the [`model`], [`translate`] turns them into the [desired state](lvs::director::Desired) for a
//! [`node`], and [`lvs::director`] makes the kernel's state equal to it. [`rules`] are the constant rules of the packet filter.
#![forbid(unsafe_code)]

pub mod model;
pub mod node;
pub mod objects;
pub mod options;
pub mod report;
pub mod rules;
pub mod run;
pub mod serve;
pub mod source;
pub mod translate;
