//! The colours of both schemes, and the style that names them. Pure.

use std::fmt::Write as _;

use crate::compare::catalogue::Contestant;

/// A colour by its name in CSS, as `#rrggbb` on light and on dark ground.
pub struct Colour {
    /// Its name, after `--`.
    pub name: &'static str,
    /// On light ground.
    pub light: &'static str,
    /// On dark ground.
    pub dark: &'static str,
}

const fn colour(name: &'static str, light: &'static str, dark: &'static str) -> Colour {
    Colour { name, light, dark }
}

/// What is written on, and with.
pub const GROUND: [Colour; 9] = [
    colour("page", "#f6f7f9", "#0f1216"),
    colour("card", "#ffffff", "#171b21"),
    colour("text", "#14181d", "#e8ebef"),
    colour("muted", "#525c68", "#a3adb9"),
    colour("grid", "#e1e5ea", "#2b323b"),
    colour("link", "#0a58a5", "#7cb8f5"),
    colour("warn", "#b26a00", "#e0a93b"),
    colour("met", "#1a7f37", "#4cc273"),
    colour("missed", "#c0362c", "#ff8577"),
];

/// Those of contestants. What is one program in a guest and without Xen has one colour: they share no chart.
pub const SERIES: [Colour; 6] = [
    colour("a", "#0b57d0", "#5b8def"),
    colour("b", "#c2500a", "#ff6a45"),
    colour("c", "#07a371", "#2fd99a"),
    colour("d", "#a83fb0", "#d77fb8"),
    colour("e", "#1e313f", "#dce6ee"),
    colour("f", "#5a3a0c", "#f2c318"),
];

/// The index of a contestant's colour and mark.
pub fn series(contestant: Contestant) -> usize {
    match contestant {
        Contestant::UnikernelVchan | Contestant::NativeVchan => 0,
        Contestant::UnikernelTcp => 1,
        Contestant::LinuxVchan => 2,
        Contestant::LinuxLibxenvchan | Contestant::NativeLibxenvchan => 3,
        Contestant::LinuxTcp | Contestant::NativeMemcpy => 4,
        Contestant::LinuxUdp => 5,
    }
}

/// The variables of both schemes, and the style of what charts draw. `root` is where the variables are set.
pub fn style(root: &str) -> String {
    let mut style = String::new();
    let colours = || GROUND.iter().chain(&SERIES);
    let _ = write!(style, "{root}{{color-scheme:light dark");
    for colour in colours() {
        let _ = write!(style, ";--{}:{}", colour.name, colour.light);
    }
    let _ = write!(style, "}}\n@media (prefers-color-scheme:dark){{{root}{{");
    for (index, colour) in colours().enumerate() {
        let end = if index == 0 { "" } else { ";" };
        let _ = write!(style, "{end}--{}:{}", colour.name, colour.dark);
    }
    style.push_str("}}\n");
    style.push_str(include_str!("chart.css"));
    for colour in &SERIES {
        let name = colour.name;
        let _ = writeln!(style, ".{name}{{fill:var(--{name});stroke:var(--{name})}}");
    }
    style
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rgb = [f64; 3];

    fn linear(hex: &str) -> Rgb {
        [1, 3, 5].map(|at| {
            let part = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if part <= 0.040_45 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        })
    }

    /// WCAG 2.
    fn contrast(a: &str, b: &str) -> f64 {
        let luminance = |hex| {
            let [r, g, b] = linear(hex);
            0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
        };
        let (a, b) = (luminance(a), luminance(b));
        f64::max(a, b) / f64::min(a, b)
    }

    fn lab([r, g, b]: Rgb) -> Rgb {
        let f = |t: f64| {
            if t > 0.008_856 {
                t.cbrt()
            } else {
                7.787 * t + 16.0 / 116.0
            }
        };
        let x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.950_47);
        let y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
        let z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.088_83);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// Machado, Oliveira, Fernandes 2009: nothing, protanopia, deuteranopia, tritanopia.
    const EYES: [[Rgb; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ];

    fn seen(eye: &[Rgb; 3], hex: &str) -> Rgb {
        let rgb = linear(hex);
        lab(eye.map(|row| (0..3).map(|i| row[i] * rgb[i]).sum::<f64>().clamp(0.0, 1.0)))
    }

    fn of(name: &str) -> &'static Colour {
        GROUND.iter().find(|colour| colour.name == name).unwrap()
    }

    #[test]
    fn text_has_the_contrast_of_wcag_aa_on_both_grounds_in_both_schemes() {
        for ground in ["page", "card"] {
            for ink in ["text", "muted", "link", "met", "missed"] {
                let (ground, ink) = (of(ground), of(ink));
                assert!(
                    contrast(ground.light, ink.light) >= 4.5,
                    "{} {}",
                    ground.name,
                    ink.name
                );
                assert!(
                    contrast(ground.dark, ink.dark) >= 4.5,
                    "{} {}",
                    ground.name,
                    ink.name
                );
            }
        }
    }

    #[test]
    fn lines_have_the_contrast_of_graphics() {
        for series in &SERIES {
            assert!(
                contrast(of("card").light, series.light) >= 3.0,
                "{} light",
                series.name
            );
            assert!(
                contrast(of("card").dark, series.dark) >= 3.0,
                "{} dark",
                series.name
            );
        }
    }

    #[test]
    fn whatever_colours_an_eye_lacks_no_two_lines_look_alike() {
        for (kind, eye) in EYES.iter().enumerate() {
            for (index, a) in SERIES.iter().enumerate() {
                for b in &SERIES[index + 1..] {
                    for (scheme, a_hex, b_hex) in
                        [("light", a.light, b.light), ("dark", a.dark, b.dark)]
                    {
                        let (one, other) = (seen(eye, a_hex), seen(eye, b_hex));
                        let apart: f64 = (0..3).map(|i| (one[i] - other[i]).powi(2)).sum();
                        let apart = apart.sqrt();
                        assert!(
                            apart >= 15.0,
                            "{} {} {scheme}, eye {kind}: {apart:.1}",
                            a.name,
                            b.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn contestants_that_share_a_chart_share_no_colour() {
        for native in [true, false] {
            let all = Contestant::ALL
                .into_iter()
                .filter(|c| c.is_native() == native);
            let mut indexes: Vec<usize> = all.map(series).collect();
            let count = indexes.len();
            indexes.sort_unstable();
            indexes.dedup();
            assert_eq!(indexes.len(), count);
        }
    }
}
