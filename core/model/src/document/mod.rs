//! Documents (being written).
