//! A domain as libvirt describes it, for its driver libxl (<https://libvirt.org/formatdomain.html>).

use std::fmt::Write as _;

use crate::xl::XlConfig;

/// The XML of a paravirtualised domain.
pub(super) fn domain(config: &XlConfig) -> String {
    let mut text = String::from("<domain type='xen'>\n");
    let mut line = |indent: usize, name: &str, value: &str| {
        let _ = writeln!(text, "{:indent$}<{name}>{}</{name}>", "", escaped(value));
    };
    line(2, "name", &config.name);
    let _ = writeln!(
        text,
        "  <memory unit='MiB'>{}</memory>\n  <vcpu>1</vcpu>\n  <os>",
        config.memory_mib
    );
    text.push_str("    <type arch='x86_64' machine='xenpv'>linux</type>\n");
    let mut line = |indent: usize, name: &str, value: &str| {
        let _ = writeln!(text, "{:indent$}<{name}>{}</{name}>", "", escaped(value));
    };
    line(4, "kernel", &config.kernel.to_string_lossy());
    if let Some(ramdisk) = &config.ramdisk {
        line(4, "initrd", &ramdisk.to_string_lossy());
    }
    if !config.extra.is_empty() {
        line(4, "cmdline", &config.extra);
    }
    text.push_str("  </os>\n");
    let _ = writeln!(
        text,
        "  <on_poweroff>{}</on_poweroff>\n  <on_crash>{}</on_crash>\n  <devices>",
        config.on_poweroff.word(),
        config.on_crash.word()
    );
    if let Some(bridge) = &config.bridge {
        let _ = writeln!(
            text,
            "    <interface type='bridge'>\n      <source bridge='{}'/>\n    </interface>",
            escaped(bridge)
        );
    }
    text.push_str("    <console type='pty'>\n      <target type='xen' port='0'/>\n    </console>\n  </devices>\n</domain>\n");
    text
}

/// Fit for the content of an element and for an attribute in single quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&apos;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
