//! Whether TCP/IP came into an image whose package did not ask for it.

use super::read::Image;

/// The crate of the network stack.
const STACK: &str = "smoltcp::";

/// What is wrong with an image that should hold no network stack: the first of its functions, and how many there are.
pub fn unasked(image: &Image<'_>) -> Vec<String> {
    let names = image.symbols.iter().map(|symbol| {
        let name = rustc_demangle::demangle(&symbol.name);
        format!("{name:#}")
    });
    let mut found = names.filter(|name| name.contains(STACK));
    let Some(first) = found.next() else {
        return Vec::new();
    };
    let more = found.count();
    vec![format!(
        "{first} and {more} more functions of the network stack are linked; ask for it in Cargo.toml, \
         unikernel = {{ features = [\"net\"] }}, or use nothing of unikernel::net"
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::read::Symbol;

    fn image(names: &[&str]) -> Image<'static> {
        let symbol = |name: &&str| Symbol {
            name: (*name).to_owned(),
            address: 0x32_0000,
            size: 16,
            undefined: false,
        };
        Image {
            symbols: names.iter().map(symbol).collect(),
            ..Image::default()
        }
    }

    #[test]
    fn a_function_of_the_stack_is_found_in_either_mangling() {
        for name in [
            "_ZN7smoltcp5iface9interface9Interface4poll17h0123456789abcdefE",
            "_RNvMNtNtCs1234_7smoltcp5iface9interfaceNtB2_9Interface4poll",
        ] {
            let wrong = unasked(&image(&["memcpy", name]));
            assert!(
                wrong.len() == 1 && wrong[0].contains("smoltcp::iface"),
                "{wrong:?}"
            );
        }
        assert_eq!(
            unasked(&image(&["_ZN6vchan4ring8Consumer4readE", "smoltcp"])),
            Vec::<String>::new()
        );
    }
}
