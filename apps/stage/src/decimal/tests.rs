use super::*;
use proptest::prelude::*;
use std::format;
use std::string::{String, ToString};

/// What `core` reads, as bits; all NaNs are one.
fn expected(text: &str) -> Option<u64> {
    text.parse::<f64>().ok().map(bits)
}

fn bits(number: f64) -> u64 {
    if number.is_nan() { f64::NAN } else { number }.to_bits()
}

fn check(text: &str) {
    assert_eq!(parse(text.as_bytes()).map(bits), expected(text), "{text}");
}

#[test]
fn every_form_is_read_as_core_reads_it() {
    for text in [
        "0",
        "-0",
        "+0",
        "00012",
        "1.5",
        "-1.5e-3",
        ".5",
        "5.",
        "1e5",
        "1E+5",
        "1e-5",
        "inf",
        "-INF",
        "+infinity",
        "NaN",
        "-nan",
        "",
        "-",
        "+",
        ".",
        "e5",
        ".e5",
        "1e",
        "1e+",
        "1.2.3",
        "1 ",
        " 1",
        "1_0",
        "0x10",
        "--1",
        "1e5.5",
        "1e--5",
        "infin",
        "1e99999999999999999999",
        "0e999999999999",
        "1e-99999999999999999999",
        "9007199254740993",
        "9007199254740992e22",
        "1e23",
        "8.5e22",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
    ] {
        check(text);
    }
}

#[test]
fn the_edges_of_the_format_are_exact() {
    for text in [
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "1e308",
        "1e309",
        "2.2250738585072014e-308",
        "2.2250738585072011e-308",
        "4.9406564584124654e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "2.5e-324",
        "1e-324",
        "1e-330",
        "5e-324",
    ] {
        check(text);
    }
    // With more digits than are kept.
    for tail in ["", "5", "50000", "500001", "49999"] {
        check(&format!("9007199254740993.{}{tail}", "0".repeat(900)));
        check(&format!("0.{}{tail}", "0".repeat(400)));
        check(&format!("{}{tail}e-400", "3".repeat(1000)));
        check(&format!("{}.{tail}e-900", "7".repeat(1000)));
    }
}

#[test]
fn texts_are_the_shortest() {
    for (number, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-24.0, "-24"),
        (100.59, "100.59"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (9.5e-8, "9.5e-8"),
        (1e16, "10000000000000000"),
        (1e17, "1e17"),
        (1.5e300, "1.5e300"),
        (f64::MAX, "1.7976931348623157e308"),
        (5e-324, "5e-324"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (9007199254740993.0, "9007199254740992"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(Shortest(number).to_string(), text);
    }
}

/// The digits alone, and the power of ten of the first.
fn digits_of(text: &str) -> (String, i32) {
    let (digits, exponent) = text.split_once('e').unwrap();
    (digits.replace('.', ""), exponent.parse().unwrap())
}

fn ours(number: f64) -> (String, i32) {
    let text = Shortest(number).to_string();
    match text.split_once('e') {
        Some(_) => digits_of(&text),
        None => {
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            let all = format!("{whole}{fraction}");
            let digits = all.trim_start_matches('0');
            let zeros = all.len() - digits.len();
            let exponent = whole.len() as i32 - 1 - zeros as i32;
            (digits.trim_end_matches('0').into(), exponent)
        }
    }
}

#[test]
fn texts_in_the_middle_between_two_floats_count_for_the_even_one() {
    for number in [
        1e23,
        8.41e21,
        9.5e21,
        5.764607523034235e39,
        1.152921504606847e40,
        2.305843009213694e40,
        9007199254740996.0 * 1e7,
    ] {
        assert_eq!(ours(number), digits_of(&format!("{number:e}")));
    }
}

proptest! {
    #[test]
    fn floats_read_back(number in any::<u64>()) {
        let number = f64::from_bits(number);
        prop_assert_eq!(parse(Shortest(number).to_string().as_bytes()).map(bits), Some(bits(number)));
        for text in [format!("{number}"), format!("{number:e}"), format!("{number:.20e}")] {
            prop_assert_eq!(parse(text.as_bytes()).map(bits), expected(&text));
        }
    }

    #[test]
    fn digits_are_those_of_core(number in any::<u64>(), small in -100_000_000i64..100_000_000) {
        for number in [f64::from_bits(number).abs(), small.abs() as f64 / 1000.0, f64::from_bits(number & 0x7FF << 52)] {
            prop_assume!(number.is_finite() && number > 0.0);
            prop_assert_eq!(ours(number), digits_of(&format!("{number:e}")));
        }
    }

    #[test]
    fn decimals_are_those_of_core(text in "[+-]?[0-9]{0,30}\\.?[0-9]{0,30}([eE][+-]?[0-9]{1,3})?") {
        prop_assert_eq!(parse(text.as_bytes()).map(bits), expected(&text));
    }

    #[test]
    fn ties_round_to_even(number in (1u128 << 53)..(1 << 54), shift in 0u32..31, tail in "(0{0,900}1)?") {
        // Odd numbers of 54 bits stand in the middle between two floats, at every power of two.
        let tie = number | 1;
        for text in [format!("{}.{tail}", tie << shift), format!("{}e-{shift}", tie * 5u128.pow(shift))] {
            prop_assert_eq!(parse(text.as_bytes()).map(bits), expected(&text));
        }
    }

    #[test]
    fn scaled_is_the_text(mantissa in any::<i64>(), exponent in -400i32..400) {
        let text = format!("{mantissa}e{exponent}");
        let expected: f64 = text.parse().unwrap();
        let expected = if mantissa == 0 { 0.0 } else { expected };
        prop_assert_eq!(scaled(mantissa, exponent).to_bits(), expected.to_bits());
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
        let text = core::str::from_utf8(&bytes);
        prop_assert_eq!(parse(&bytes).map(self::bits), text.ok().and_then(expected));
    }
}
