//! The room `inventory`.
