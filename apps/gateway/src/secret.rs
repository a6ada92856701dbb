//! The module's file `secret`: user name and password as `USER:PASSWORD`, on one line.

use alloc::string::String;
use alloc::vec::Vec;

use stage::SetupError;

/// The longest user name or password that MQTT carries.
const LONGEST: usize = u16::MAX as usize;

/// Reads it. The message of an error shows nothing of it.
pub fn credentials(secret: &[u8]) -> Result<(String, Vec<u8>), SetupError> {
    let bad = |what| SetupError::Function(String::from("secret: ") + what);
    let line = secret.strip_suffix(b"\n").unwrap_or(secret);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let colon = line.iter().position(|byte| *byte == b':');
    let (user, password) = match colon {
        Some(colon) if !line.contains(&b'\n') => (&line[..colon], &line[colon + 1..]),
        _ => return Err(bad("is not USER:PASSWORD on one line")),
    };
    if user.len() > LONGEST || password.len() > LONGEST {
        return Err(bad(
            "the user name or the password is longer than 65535 bytes",
        ));
    }
    match core::str::from_utf8(user) {
        Ok(user) if !user.contains('\0') => Ok((user.into(), password.into())),
        _ => Err(bad("the user name is not UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_anything_but_a_line_end() {
        let read = |secret: &str| credentials(secret.as_bytes()).ok();
        let both = |user: &str, password: &str| Some((user.into(), password.into()));
        assert_eq!(read("me:secret"), both("me", "secret"));
        assert_eq!(read("me:se:cr et\r\n"), both("me", "se:cr et"));
        assert_eq!(read(":"), both("", ""));
        assert_eq!(read("me"), None);
        assert_eq!(read("me:secret\nyou:too\n"), None);
        assert!(credentials(b"\xff:x").is_err());
    }
}
