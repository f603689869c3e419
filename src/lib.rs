//! Linux load balancing in the kernel.
#![forbid(unsafe_code)]
