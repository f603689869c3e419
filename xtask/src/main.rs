//! `cargo xtask`: how this project is checked, tested and tried.
fn main() {}
