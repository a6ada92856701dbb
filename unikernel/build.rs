//! Images are linked by `link.ld`, of which cargo knows nothing by itself.

fn main() {
    println!("cargo::rerun-if-changed=link.ld");
}
