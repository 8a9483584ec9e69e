//! Keys at work.
