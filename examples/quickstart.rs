//! Placeholder until the library exists.
fn main() {
    println!("quickstart");
}
