//! vchan's checks over Xen's devices, with both ends in this process: `conformance DOMID PATH`, the domain that it runs in and a
//! place in xenstore. Ends with what is left behind.

use std::env;

use vchan_linux::block_on;
use vchan_linux::xen::Meeting;

#[path = "../../tests/held/mod.rs"]
mod held;

use held::Held;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let [domain, path] = &words[..] else {
        panic!("conformance DOMID PATH");
    };
    let meeting = Meeting::new(domain.parse().unwrap(), path).unwrap();
    let _alone = held::alone();
    let before = Held::now();
    let mut checks = 0;
    block_on(vchan::conformance::all(&meeting, &meeting, |name| {
        eprintln!("{name}");
        checks += 1;
    }));
    assert_eq!(Held::now(), before, "left behind");
    println!("{checks} checks passed");
}
