//~ error[E0596]
use std::sync::Arc;
use std::thread;

use lvs::ipvs::Ipvs;

fn main() -> lvs::Result<()> {
    // Write `Arc::new(Mutex::new(…))`, or connect in each thread.
    let ipvs = Arc::new(Ipvs::connect()?);
    let other = Arc::clone(&ipvs);
    thread::spawn(move || other.services());
    println!("{}", ipvs.services()?.len());
    Ok(())
}
