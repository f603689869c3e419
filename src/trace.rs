//! Spans and events of the feature `tracing`. Without the feature, every function here is empty.

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{Span, refused, retry};
#[cfg(feature = "tracing")]
pub(crate) use on::{Span, refused, retry};

#[cfg(feature = "tracing")]
mod on {
    use std::fmt;

    use crate::error::Refusal;

    /// Span of an operation.
    #[derive(Debug)]
    pub(crate) struct Span(tracing::Span);

    impl Span {
        /// Opens a span with the text of an operation.
        pub(crate) fn new(operation: &dyn fmt::Display) -> Self {
            Self(tracing::debug_span!(target: "lvs", "operation", text = %operation))
        }

        /// Returns a span that records nothing.
        pub(crate) const fn none() -> Self {
            Self(tracing::Span::none())
        }

        /// Returns the span of the caller.
        pub(crate) fn current() -> Self {
            Self(tracing::Span::current())
        }

        /// Enters the span, until the value is dropped.
        pub(crate) fn enter(&self) -> tracing::span::Entered<'_> {
            self.0.enter()
        }
    }

    /// Records a refusal of the request with this number in its datagram.
    #[cold]
    pub(crate) fn refused(request: usize, refusal: &Refusal) {
        tracing::debug!(target: "lvs", request, %refusal, "refused");
    }

    /// Records that an operation is tried again.
    #[cold]
    pub(crate) fn retry(reason: &str) {
        tracing::debug!(target: "lvs", reason, "retry");
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    use std::fmt;

    use crate::error::Refusal;

    /// Nothing.
    #[derive(Debug)]
    pub(crate) struct Span;

    impl Span {
        #[inline]
        pub(crate) fn new(_: &dyn fmt::Display) -> Self {
            Self
        }

        pub(crate) const fn none() -> Self {
            Self
        }

        #[inline]
        pub(crate) fn current() -> Self {
            Self
        }

        #[inline]
        pub(crate) fn enter(&self) -> Self {
            Self
        }
    }

    #[inline]
    pub(crate) fn refused(_: usize, _: &Refusal) {}

    #[inline]
    pub(crate) fn retry(_: &str) {}
}
