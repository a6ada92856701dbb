//! SenML in JSON (RFC 8428): a pack, or a record alone, in each line. Pure.

use stage::Timestamp;
use stage::senml::{Pack, pack_of_json};

use super::format::{BadLine, Sink};

/// The readings of a line, as far as they can be read.
pub fn pack(text: &[u8], now: Timestamp, emit: Sink<'_>) -> Result<(), BadLine> {
    let text = str::from_utf8(text).map_err(|_| BadLine::NotText)?;
    let in_pack = match text.starts_with('[') {
        true => text,
        false => &format!("[{text}]"),
    };
    let mut bytes = Vec::new();
    pack_of_json(in_pack, &mut bytes)?;
    let mut readings = Pack::new(&bytes).readings(now)?;
    while let Some(reading) = readings.next_reading()? {
        emit(&reading)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stage::time::NANOS_PER_SECOND;

    const NOW: Timestamp = Timestamp::from_nanos(2_000_000_000 * NANOS_PER_SECOND);

    fn read(line: &[u8]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let done = pack(line, NOW, &mut |reading| {
            let nanos = reading.time.nanos();
            found.push(format!("{} {:?} {nanos}", reading.name, reading.value));
            Ok(())
        });
        done.map(|()| found).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_a_pack_or_one_record() {
        let line = br#"[{"bn":"x:","bt":1320067464.5,"bv":20,"n":"a","v":1.5},{"n":"b","t":-1,"vb":true}]"#;
        let expected = [
            "x:a Number(21.5) 1320067464500000000",
            "x:b Boolean(true) 1320067463500000000",
        ];
        assert_eq!(read(line).unwrap(), expected);
        let line = br#"{"n":"a","t":-1.5,"v":1e2}"#;
        assert_eq!(read(line).unwrap(), ["a Number(100.0) 1999999998500000000"]);
        assert_eq!(read(b"[]").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_none_is_refused() {
        for (line, said) in [
            (&b"x"[..], "no JSON"),
            (b"[{},", "no JSON"),
            (br#"{"n":"a"}"#, "without a value"),
            (b"\xff", "UTF-8"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_much(line in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&line);
        }
    }
}
